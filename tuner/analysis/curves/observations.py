"""What the search saw on validation rows, as the model of the curve takes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.models.evaluation.resampling import Grouping
from tuner.models.outcome import TrainingOutcome
from tuner.study.scoring.targets import UNDIVIDED, FoldShare, Target, TargetScorer
from tuner.typing import Floats

_LARGEST = 1e150  # so that squares are finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What the search saw on validation rows; higher scores are better.

    Attributes:
        lambdas: The λs tried, ascending, the first of them 0. Shape (T,), T at least 2.
        scores: One score a λ and replicate; a column is one seed at every λ. Shape (T, S), S at
            least 2.
        resampled: The mean over replicates of the score at each λ, under bootstrap resamples of
            the evaluation rows, each resample the same at every λ. Shape (B, T). None takes the
            rows as given: the answer then holds for these rows only.
        grouping: The groups that were resampled; None where rows are independent. With groups but
            nothing resampled there are too few of them to say anything of others.
        resolution: What one row changes of a score: see `TargetScorer.resolution`.
        folds: Which replicates were evaluated on which rows.

    Raises:
        ValueError: If a shape, an order or a number is not as said above.
    """

    lambdas: Floats
    scores: Floats
    resampled: Floats | None = None
    grouping: Grouping | None = None
    resolution: float = 0.0
    folds: Sequence[FoldShare] = UNDIVIDED

    def __post_init__(self) -> None:
        if self.lambdas.ndim != 1 or self.lambdas.size < 2:
            raise ValueError(f"need λ = 0 and at least one more, not shape {self.lambdas.shape}")
        if self.lambdas[0] != 0 or np.any(np.diff(self.lambdas) < 0):
            raise ValueError("lambdas must ascend from 0")
        trials = self.lambdas.size
        if self.scores.ndim != 2 or self.scores.shape[0] != trials or self.scores.shape[1] < 2:
            raise ValueError(f"scores must be ({trials}, at least 2), not {self.scores.shape}")
        rows = self.resampled
        if rows is not None and (rows.ndim != 2 or rows.shape[1] != trials or len(rows) < 2):
            raise ValueError(f"resampled must be (at least 2, {trials}), not {rows.shape}")
        for name in ("lambdas", "scores", "resampled"):
            numbers = getattr(self, name)
            if numbers is not None and not np.all(np.abs(numbers) < _LARGEST):
                raise ValueError(f"{name} must be finite, and below {_LARGEST} in size")
        if np.all(self.lambdas == 0):
            raise ValueError("need a λ above 0")

    @property
    def too_few_groups(self) -> bool:
        """Whether nothing can be said of other groups of rows than these."""
        return self.grouping is not None and self.resampled is None


def observe(
    scorer: TargetScorer, outcomes: Sequence[TrainingOutcome], target: Target
) -> Observations:
    """Gather validation utilities (higher is better) of a target, in the order of λ.

    Args:
        scorer: Scores validation rows.
        outcomes: One a λ, trained with the same seeds each, λ = 0 among them.
        target: What is scored.
    """
    ordered = sorted(outcomes, key=lambda outcome: outcome.strength)
    sign = scorer.sign(target)
    scores = [scorer.scores(outcome.predictions, target) for outcome in ordered]
    resampled = [scorer.resampled(outcome.predictions, target) for outcome in ordered]
    return Observations(
        lambdas=np.array([outcome.strength for outcome in ordered]),
        scores=sign * np.stack(scores),
        resampled=_stacked(sign, resampled),
        grouping=scorer.grouping_of(ordered[0].predictions),
        resolution=scorer.resolution(ordered[0].predictions, target),
        folds=scorer.folds(ordered[0].predictions),
    )


def _stacked(sign: int, resampled: Sequence[Floats | None]) -> Floats | None:
    known = [scores for scores in resampled if scores is not None]
    return sign * np.stack(known, axis=1) if len(known) == len(resampled) else None
