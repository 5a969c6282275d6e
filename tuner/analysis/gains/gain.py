"""A gain over λ = 0 with its interval, over seeds and rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from tuner.analysis.gains.looks import ERROR
from tuner.models.evaluation.resampling import Grouping
from tuner.study.scoring.targets import UNDIVIDED, FoldShare, Target, TargetScorer
from tuner.typing import Array, Floats


@dataclass(frozen=True, kw_only=True)
class CrossedVariance:
    """Variance of a mean gain over S seeds and n rows, which are crossed random effects.

    One prediction gains μ + seed + row + residual. Its mean varies by σ²_seed/S + σ²_row/n +
    σ²_residual/(Sn); both the variance over seeds and that over rows hold the last part.

    Where rows are divided into K folds of n/K, and seeds with them, S/K see each row: the mean
    varies by σ²_seed/S + σ²_row/n + K σ²_residual/(Sn), and seeds are compared within their fold.

    Attributes:
        seeds: σ²_seed/S + σ²_residual/(Sn), what differs between seeds.
        rows: σ²_row/n + σ²_residual/(Sn), what differs between resampled rows, or groups.
        residual: σ²_residual/(Sn).
        seed_freedom: Degrees of freedom of `seeds`.
        row_freedom: The same of `rows`.
        error: How often an interval misses: see `tuner.analysis.gains.looks.level`.
        folds: K, 1 where all seeds see all rows.
    """

    seeds: float
    rows: float
    residual: float
    seed_freedom: float
    row_freedom: float
    error: float = ERROR
    folds: int = 1

    @classmethod
    def estimate(
        cls,
        gains: Floats,
        resampled: Floats | None,
        freedom: float = 1.0,
        resolution: float = 0.0,
        error: float = ERROR,
        folds: Sequence[FoldShare] = UNDIVIDED,
    ) -> Self:
        """Estimate from gains of S seeds (S,), and these under resampled rows (B, S).

        The residual is what is left of the latter without their means over either. Of folds the
        variance over seeds is Σ share² var / seeds, with what resamples make of a fold's share.

        Args:
            gains: Shape (S,), at least 2 a fold.
            resampled: Shape (B, S), B at least 2: of folds, times their share. None takes the rows
                as given.
            freedom: Degrees of freedom of the variance over rows.
            resolution: What one row changes: there is at least the variance that one row of every
                seed makes. See `TargetScorer.resolution`.
            error: How often the interval misses.
            folds: Which gains are of which fold.
        """
        each = [(fold.share, gains[fold.replicates]) for fold in folds]
        seeds = sum(share**2 * float(g.var(ddof=1)) / g.size for share, g in each)
        rows = residual = 0.0
        if resampled is not None:
            parts = [resampled[:, fold.replicates] for fold in folds]
            mean = np.sum([part.mean(axis=1) for part in parts], axis=0)
            one_row = resolution**2 * sum(1 / g.size for _, g in each)
            rows = max(float(mean.var(ddof=1)), one_row)
            residual = sum(map(_residual, parts))
        return cls(
            seeds=seeds,
            rows=rows,
            residual=residual,
            seed_freedom=gains.size - len(each),
            row_freedom=freedom,
            error=error,
            folds=len(each),
        )

    @property
    def total(self) -> float:
        """Variance of the mean gain: the residual once."""
        return max(self.seeds + self.rows - self.residual, self.seeds, self.rows)

    def scaled(self, *, seeds: float, rows: float, error: float = ERROR) -> Self:
        """The same with so many times as many seeds and rows (or groups), at another error."""
        residual = self.residual / (seeds * rows)
        return type(self)(
            seeds=max(self.seeds - self.residual, 0.0) / seeds + residual,
            rows=max(self.rows - self.residual, 0.0) / rows + residual,
            residual=residual,
            seed_freedom=(self.seed_freedom + self.folds) * seeds - self.folds,
            row_freedom=(self.row_freedom + 1) * rows - 1,
            error=error,
            folds=self.folds,
        )

    def in_folds(self, folds: int) -> Self:
        """The same seeds and rows, of which each fold has as many: see above."""
        more = (folds - self.folds) / self.folds * self.residual
        return replace(
            self,
            seeds=self.seeds + more,
            rows=self.rows + more,
            residual=self.residual + more,
            seed_freedom=self.seed_freedom + self.folds - folds,
            folds=folds,
        )

    def reach_of_more(self, *, seeds: float) -> float:
        """Within what of it the mean over so many times as many seeds is, with 99 %; same rows."""
        return _student(self.seed_freedom, 0.01) * float(np.sqrt(self.seeds * (1 - 1 / seeds)))

    @property
    def half_width(self) -> float:
        """Half the width of the interval of the gain.

        √(t²_{S−1} seeds + t²_{n−1} rows − t²_{(S−1)(n−1)} residual), each part with Student's t
        of its own degrees of freedom, and never less than either of the first two alone (after
        Howe 1974, Graybill and Wang 1980). It keeps its level for every number of seeds and every
        mixture of the three; Satterthwaite's approximation does not with two or three seeds.
        """
        both = self.seed_freedom * self.row_freedom
        seeds = _student(self.seed_freedom, self.error) ** 2 * self.seeds
        rows = _student(self.row_freedom, self.error) ** 2 * self.rows
        residual = _student(both, self.error) ** 2 * self.residual
        return float(np.sqrt(max(seeds + rows - residual, seeds, rows)))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A gain over λ = 0, in units of the score, with its interval, of 95 % at the first look.

    Attributes:
        value: The gain.
        low: Lower end of the interval; infinite, like `high`, if groups are too few for one.
        high: Its upper end.
        groups: Over how many groups of rows the interval is; None where rows are independent.
        variance: What the interval is made of; None where it comes from a model.

    Raises:
        ValueError: If the interval does not hold the value.
    """

    value: float
    low: float
    high: float
    groups: int | None = None
    variance: CrossedVariance | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"need low ≤ value ≤ high, not {self.low}, {self.value}, {self.high}")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The two ends; None if groups are too few for an interval."""
        return (self.low, self.high) if np.isfinite([self.low, self.high]).all() else None


def measured_gain(
    scorer: TargetScorer,
    treated: Mapping[str, Array],
    baseline: Mapping[str, Array],
    target: Target,
    error: float = ERROR,
) -> Gain:
    """Mean gain of predictions with alignment over those without, by the same seeds.

    Args:
        scorer: Of the rows that were predicted.
        treated: What trainings with alignment tell, by name, (replicates, rows).
        baseline: The same without.
        target: What is scored.
        error: How often the interval misses.
    """
    sign = scorer.sign(target)
    ours, theirs = (_resampled(scorer, each, target) for each in (treated, baseline))
    return paired_gain(
        sign * scorer.scores(treated, target),
        sign * scorer.scores(baseline, target),
        None if ours is None or theirs is None else sign * (ours - theirs),
        scorer.grouping_of(baseline),
        scorer.resolution(baseline, target),
        error,
        scorer.folds(baseline),
    )


def _residual(resampled: Floats) -> float:
    """What seeds and rows make together of the variance of a mean: (B, S), S at least 2."""
    seeds, means = resampled.shape[1], resampled.mean(axis=1)
    left = resampled - means[:, None] - resampled.mean(axis=0) + means.mean()
    residual: float = float(np.sum(left**2)) / (len(left) - 1) / (seeds - 1) / seeds
    return residual


def _resampled(
    scorer: TargetScorer, predictions: Mapping[str, Array], target: Target
) -> Floats | None:
    """Score of each replicate under each resample of the rows, (resamples, replicates)."""
    replicates = range(len(next(iter(predictions.values()))))
    each = (
        scorer.resampled({side: told[r : r + 1] for side, told in predictions.items()}, target)
        for r in replicates
    )
    known = [scores for scores in each if scores is not None]
    return np.stack(known, axis=1) if len(known) == len(replicates) else None


def paired_gain(
    treated: Floats,
    baseline: Floats,
    resampled: Floats | None,
    grouping: Grouping | None = None,
    resolution: float = 0.0,
    error: float = ERROR,
    folds: Sequence[FoldShare] = UNDIVIDED,
) -> Gain:
    """Mean gain of the treated replicates, for other seeds and other rows than these.

    Where groups were resampled their degrees of freedom take the place of B − 1 (see
    `Resamples.of_groups`). How wide the interval is: see `CrossedVariance`.

    Args:
        treated: Scores with alignment, higher is better. Shape (S,), S at least 2.
        baseline: Scores without, of the same seeds. Shape (S,).
        resampled: Gain of each replicate under bootstrap resamples of the rows. Shape (B, S), B
            at least 2. None takes the rows as given.
        grouping: The groups that were resampled, if groups were; with these, None for `resampled`
            means that they are too few for an interval.
        resolution: What one row changes of a score: no interval is narrower for rows that happen
            to be predicted alike.
        error: How often the interval misses.
        folds: Which replicates were tested on which rows: see `CrossedVariance.estimate`.

    Raises:
        ValueError: If a shape is not as said, or a number is not finite.
    """
    if treated.ndim != 1 or treated.size < 2 or treated.shape != baseline.shape:
        raise ValueError(f"need two alike (at least 2,), not {treated.shape}, {baseline.shape}")
    if resampled is not None and (resampled.shape[1:] != treated.shape or len(resampled) < 2):
        shape = resampled.shape
        raise ValueError(f"resampled must be (at least 2, {treated.size}), not {shape}")
    gains = treated - baseline
    freedom = 1.0 if resampled is None else len(resampled) - 1.0
    if grouping is not None:
        freedom = max(grouping.freedom, 1.0)
    variance = CrossedVariance.estimate(gains, resampled, freedom, resolution, error, folds)
    value = float(sum(fold.share * gains[fold.replicates].mean() for fold in folds))
    half = variance.half_width
    if not np.isfinite(half):
        raise ValueError("scores must be finite")
    if grouping is not None and resampled is None:
        half = np.inf
    groups = None if grouping is None else grouping.count
    ends = {"low": value - half, "high": value + half}
    return Gain(value=value, **ends, groups=groups, variance=variance)


def reach(sample: Floats, freedom: float) -> float:
    """Half the width of the 95 % interval of one draw, by Student's t."""
    return _student(freedom, ERROR) * float(sample.std(ddof=1))


def _student(freedom: float, error: float) -> float:
    from scipy import special

    return float(special.stdtrit(freedom, 1 - error / 2))


def signed(change: float) -> str:
    """Write a change of a score with its sign, to three digits."""
    return f"{change:+.3g}".replace("-", "\N{MINUS SIGN}")
