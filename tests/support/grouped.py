"""Predictions of rows that come in groups, whose true gain is known."""

from dataclasses import replace

import numpy as np

from tuner.analysis.gains.gain import Gain, measured_gain
from tuner.data import PairedDataset, from_arrays
from tuner.models.evaluation.metrics import METRICS
from tuner.models.evaluation.resampling import Resamples
from tuner.study.scoring.scores import Scorer
from tuner.typing import Array, Floats, Indices

RESAMPLES = 400
_RIGHT = 0.6  # of the predictions without alignment; far from 1, so that gains are what is planted
_SEEDS = 0.01  # standard deviation of the gain over seeds


def predictions(
    rng: np.random.Generator,
    group: Indices,
    *,
    spread: float,
    replicates: int = 12,
    strengths: int = 1,
    gain: float = 0.0,
) -> Floats:
    """Predictions at λ = 0 and at some λs above: whether each is wrong, 0 or 1.

    Each row is of some difficulty, which seeds share in part. Alignment moves the share of right
    predictions by `gain`, by what each group has of its own, and by what each seed has.

    Args:
        rng: Where all of it is drawn from.
        group: (rows,) numbers from 0 on.
        spread: Standard deviation over groups of the gain at the largest λ; it grows as √λ.
        replicates: Seeds.
        strengths: λs above 0, equally far apart.
        gain: True mean gain at every λ above 0.

    Returns:
        (1 + strengths, replicates, rows).
    """
    row = rng.random(len(group))
    own = rng.random((replicates, len(group)))
    # Of each prediction, half of the time the row decides, else row and seed: uniform as a whole.
    luck = np.where(rng.random((replicates, len(group))) < 0.5, row, own)
    shares = [np.full((replicates, len(group)), _RIGHT)]
    of_groups, of_seeds = np.zeros(group.max() + 1), np.zeros((replicates, 1))
    for _ in range(strengths):
        of_groups = of_groups + rng.normal(0, spread / np.sqrt(strengths), len(of_groups))
        of_seeds = of_seeds + rng.normal(0, _SEEDS / np.sqrt(strengths), of_seeds.shape)
        shares.append(_RIGHT + gain + of_groups[group] + of_seeds)
    wrong: Floats = (luck >= np.stack(shares)).astype(np.float64)
    return wrong


def gains(
    group: Indices, *, spread: float, studies: int, seed: int = 0, gain: float = 0.0
) -> dict[str, list[Gain]]:
    """Gains of many studies, with rows resampled one by one and by group."""
    rng = np.random.default_rng(seed)
    known = {name: scorer(group, name) for name in ("rows", "groups")}
    found: dict[str, list[Gain]] = {name: [] for name in known}
    for _ in range(studies):
        without, aligned = predictions(rng, group, spread=spread, gain=gain)
        for name, each in known.items():
            # Anew, because a scorer keeps all that it ever scored.
            one = measured_gain(replace(each), both(aligned), both(without), "a")
            found[name].append(one)
    return found


def scorer(group: Indices, resampled: str) -> Scorer:
    """What scores these rows by accuracy, taking them for independent `rows`, or by `groups`."""
    if resampled == "groups":
        resamples = Resamples.of_groups(group, RESAMPLES, 0)
    else:
        resamples = Resamples.of_rows(len(group), RESAMPLES, 0)
    return Scorer(metric=METRICS["accuracy"], truth=np.zeros(len(group)), resamples=resamples)


def both(wrong: Array) -> dict[str, Array]:
    """The same predictions for A and for B."""
    return {"a": wrong, "b": wrong}


def groups_by_chance(groups: int, rows: int, seed: int) -> PairedDataset:
    """Either modality shows the group of a row, and half of the groups have either label."""
    rng = np.random.default_rng([seed, groups])
    group = np.repeat(np.arange(groups), rows)
    views = rng.normal(size=(2, groups, 6))[:, group] + 0.3 * rng.normal(size=(2, len(group), 6))
    a, b = views.astype(np.float32)
    y = rng.permutation(np.arange(groups) % 2)[group]
    return from_arrays({"a": a, "b": b, "y": y, "group": group}, name="groups", seed=seed)
