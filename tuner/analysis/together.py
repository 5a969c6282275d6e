"""What encoders of both modalities do together, against λ = 0: told beside the verdicts.

No verdict rests on it. Alignment makes the modalities find each other whether or not either encoder
becomes better on its own.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tuner.analysis.confirmed import Confirmed
from tuner.analysis.gains.gain import measured_gain
from tuner.models.evaluation.crossmodal import FUSED, RECALL_NAMES, ZERO_SHOT, gallery_size
from tuner.models.evaluation.metrics import MEAN
from tuner.study.answer import TestScores
from tuner.study.result import Together
from tuner.study.scoring.scores import Scorer
from tuner.study.scoring.targets import mean_score
from tuner.typing import Array

_NAMES = (*RECALL_NAMES, *ZERO_SHOT.values(), FUSED)


def together(confirmed: Confirmed, test: Scorer, strength: float) -> Together | None:
    """Compare the pair of encoders at a λ that was confirmed with that of λ = 0, by the same seeds.

    Args:
        confirmed: The trainings with fresh seeds.
        test: Scores test rows.
        strength: λ.

    Returns:
        None where it was not measured.
    """
    baseline, best = confirmed.baseline.pair, confirmed.outcomes.get(strength)
    if not baseline:
        return None
    aligned = {} if best is None else best.pair
    of_rows = replace(test, metric=MEAN)
    measured = {
        name: _compared(
            of_rows if name in RECALL_NAMES else test, name, aligned, baseline, confirmed.error
        )
        for name in _NAMES
        if name in baseline
    }
    return Together(strength=strength, gallery=_gallery(baseline), measured=measured)


def _compared(
    scorer: Scorer,
    name: str,
    aligned: Mapping[str, Array],
    baseline: Mapping[str, Array],
    error: float,
) -> TestScores:
    theirs = {name: baseline[name]}
    at_zero = mean_score(scorer, theirs, name)
    if name not in aligned:
        return TestScores(baseline=at_zero, best=None, gain=None, gain_interval=None)
    ours = {name: aligned[name]}
    gain = measured_gain(scorer, ours, theirs, name, error)
    best = mean_score(scorer, ours, name)
    return TestScores(baseline=at_zero, best=best, gain=gain.value, gain_interval=gain.interval)


def _gallery(baseline: Mapping[str, Array]) -> int:
    """Rows of the largest gallery; of folds each has its own, and what is not told is NaN."""
    told = np.count_nonzero(~np.isnan(baseline[next(iter(RECALL_NAMES))]), axis=1)
    return gallery_size(int(told.max()))
