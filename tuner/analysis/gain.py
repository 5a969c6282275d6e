"""A gain over λ = 0 with its interval, over seeds and rows."""

from dataclasses import dataclass

import numpy as np

from tuner.models.evaluation.resampling import Grouping
from tuner.study.scores import Scorer, Target
from tuner.typing import Array, Floats


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A gain over λ = 0, in units of the score, with its 95 % interval.

    Attributes:
        value: The gain.
        low: Lower end of the interval; infinite, like `high`, if groups are too few for one.
        high: Its upper end.
        groups: Over how many groups of rows the interval is; None where rows are independent.

    Raises:
        ValueError: If the interval does not hold the value.
    """

    value: float
    low: float
    high: float
    groups: int | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"need low ≤ value ≤ high, not {self.low}, {self.value}, {self.high}")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The two ends; None if groups are too few for an interval."""
        return (self.low, self.high) if np.isfinite([self.low, self.high]).all() else None


def measured_gain(
    scorer: Scorer, treated: dict[str, Array], baseline: dict[str, Array], target: Target
) -> Gain:
    """Mean gain of predictions with alignment over those without, by the same seeds.

    Args:
        scorer: Of the rows that were predicted.
        treated: Predictions with alignment of each modality, (replicates, rows).
        baseline: The same without.
        target: What is scored.
    """
    sign = scorer.metric.sign
    ours, theirs = (scorer.resampled(each, target) for each in (treated, baseline))
    return paired_gain(
        sign * scorer.scores(treated, target),
        sign * scorer.scores(baseline, target),
        None if ours is None or theirs is None else sign * (ours - theirs),
        scorer.grouping,
    )


def paired_gain(
    treated: Floats,
    baseline: Floats,
    resampled: Floats | None,
    grouping: Grouping | None = None,
) -> Gain:
    """Mean gain of the treated replicates, for other seeds and other rows than these.

    Seeds and rows are crossed random effects, so Var = Var_seeds / S + Var_rows. Each part has its
    own degrees of freedom; half the interval's width is √(t²_{S−1} Var_seeds / S + t²_{B−1}
    Var_rows) (after Howe 1974, Graybill and Wang 1980), which keeps at least its level for every
    mixture of the two. Satterthwaite's approximation does not: with two or three replicates it
    found false gains twice as often as it should. The variance over rows holds what the rows do to
    each replicate, which Var_seeds holds too: the interval is a little wide for it. Where groups
    were resampled their degrees of freedom take the place of B − 1 (see `Resamples.of_groups`).

    Args:
        treated: Scores with alignment, higher is better. Shape (S,), S at least 2.
        baseline: Scores without, of the same seeds. Shape (S,).
        resampled: Mean gain over replicates under bootstrap resamples of the rows. Shape (B,), B
            at least 2. None takes the rows as given.
        grouping: The groups that were resampled, if groups were; with these, None for `resampled`
            means that they are too few for an interval.

    Raises:
        ValueError: If a shape is not as said, or a number is not finite.
    """
    if treated.ndim != 1 or treated.size < 2 or treated.shape != baseline.shape:
        raise ValueError(f"need two alike (at least 2,), not {treated.shape}, {baseline.shape}")
    if resampled is not None and (resampled.ndim != 1 or resampled.size < 2):
        raise ValueError(f"resampled must be (at least 2,), not {resampled.shape}")
    gains = treated - baseline
    square = np.square(reach(gains, gains.size - 1)) / gains.size
    if resampled is not None:
        freedom = resampled.size - 1 if grouping is None else grouping.freedom
        square += np.square(reach(resampled, freedom))
    value, half = float(gains.mean()), float(np.sqrt(square))
    if not np.isfinite(half):
        raise ValueError("scores must be finite")
    if grouping is not None and resampled is None:
        half = np.inf
    groups = None if grouping is None else grouping.count
    return Gain(value=value, low=value - half, high=value + half, groups=groups)


def reach(sample: Floats, freedom: float) -> float:
    """Half the width of the 95 % interval of one draw, by Student's t."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.975) * sample.std(ddof=1))
