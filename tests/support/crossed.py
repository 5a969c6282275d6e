"""Gains of predictions by crossed seeds and rows, whose mean is known."""

from collections.abc import Iterator

import numpy as np

from tuner.analysis.gains.gain import CrossedVariance, Gain, paired_gain
from tuner.models.evaluation.resampling import Resamples
from tuner.typing import Floats, Indices

SEEDS, ROWS = 12, 300
# Variance of the mean of so many by seeds, by rows and by the residual.
MIXTURES = {
    "seeds alone": (1.0, 0.0, 0.0),
    "rows alone": (0.0, 1.0, 0.0),
    "residual alone": (0.0, 0.0, 1.0),
    "seeds and rows": (1.0, 1.0, 0.0),
    "all alike": (1.0, 1.0, 1.0),
}
RESAMPLES = 400


def gains(
    rng: np.random.Generator, mixture: str, seeds: int, group: Indices, repeats: int
) -> Iterator[tuple[Gain, CrossedVariance]]:
    """Measured gains whose true value is 0, and the variances they were measured with.

    Args:
        rng: Where all is drawn from.
        mixture: One of `MIXTURES`.
        seeds: Number of replicates.
        group: (rows,) groups of rows, whose effects take the place of the rows'; of as many
            groups as there are rows, rows are resampled one by one.
        repeats: How many.
    """
    seed, row, residual = (np.sqrt(part) for part in MIXTURES[mixture])
    rows, groups = len(group), int(group.max()) + 1
    if groups == rows:
        resamples = Resamples.of_rows(rows, RESAMPLES, 0)
    else:
        resamples = Resamples.of_groups(group, RESAMPLES, 0)
    weights = resamples.weights / resamples.weights.sum(axis=1, keepdims=True)
    grouping = resamples.grouping
    freedom = len(weights) - 1 if grouping is None else grouping.freedom
    for _ in range(repeats):
        shared = np.sqrt(ROWS * groups / rows) * row * rng.standard_normal(groups)
        own = residual * np.sqrt(SEEDS * ROWS) * rng.standard_normal((rows, seeds))
        by_seed = seed * np.sqrt(SEEDS) * rng.standard_normal(seeds)
        each = shared[group][:, None] + own + by_seed  # (rows, seeds)
        resampled = weights @ each
        center = resampled.mean(axis=0)
        resampled = center + resamples.stretch * (resampled - center)
        mean = each.mean(axis=0)
        gain = paired_gain(mean, np.zeros(seeds), resampled, grouping)
        yield gain, CrossedVariance.estimate(mean, resampled, freedom)


def counted_twice(variance: CrossedVariance) -> float:
    """Half the width of the interval that counts the residual with seeds and with rows."""
    seeds, rows = (
        CrossedVariance(
            seeds=by_seeds,
            rows=by_rows,
            residual=0.0,
            seed_freedom=variance.seed_freedom,
            row_freedom=variance.row_freedom,
        ).half_width
        for by_seeds, by_rows in ((variance.seeds, 0.0), (0.0, variance.rows))
    )
    half: Floats = np.hypot(seeds, rows)
    return float(half)
