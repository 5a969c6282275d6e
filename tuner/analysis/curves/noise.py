"""How sure mean gains are: their covariance over λs, by seeds and by rows.

The errors of the T − 1 differences to λ = 0 are not independent: all share the baseline's error,
and neighbours share more.
"""

from collections.abc import Sequence

import numpy as np

from tuner.analysis.curves.observations import Observations
from tuner.typing import Floats, Mask

_ROUGHNESS = (0.005, 0.05, 0.2)
_DRIFTS = (0.0, 0.5, 2.0, 8.0, 32.0)


def _seed_shape(units: Floats, roughness: float, drift: float) -> Floats:
    """Covariance over λs of one replicate's paired gain, up to a factor. Shape (n, n).

    A replicate's score is taken to vary with u as a rough stationary process (an
    Ornstein-Uhlenbeck process: chaotic training, hence nearly independent at different λs, but
    the same at the same λ) plus a slow drift that grows with u (a Brownian motion). The gain
    subtracts its value at u = 0, which all λs therefore share.
    """
    rough = np.exp(-np.abs(units[:, None] - units) / roughness)
    baseline = np.exp(-units / roughness)
    paired = rough - baseline[:, None] - baseline + 1
    return paired + drift * np.minimum(units[:, None], units) + 0.05 * np.eye(units.size)


def seed_covariance(units: Floats, gains: Floats) -> Floats:
    """Covariance over λs of one replicate's paired gain, estimated across replicates.

    S replicates show S − 1 directions of an n × n covariance, so it is not taken from them as it
    is: a family of shapes (see `_seed_shape`) is averaged by marginal likelihood of the
    deviations between replicates, the factor integrated out under Jeffreys' prior. A λ whose
    replicates disagree far beyond the others (one of them diverged) says nothing on that family,
    and gets the variance it shows.

    Args:
        units: Shape (n,).
        gains: Shape (n, S).

    Returns:
        Shape (n, n).
    """
    from scipy.linalg import solve_triangular

    replicates = gains.shape[1]
    spread = np.atleast_2d(np.cov(gains))
    seen = np.diag(spread)
    calm = seen <= 25 * np.median(seen)
    if not np.any(seen[calm] > 0):
        return spread
    deviations = (gains - gains.mean(axis=1, keepdims=True))[calm]
    log_weights, covariances = [], []
    freedom = (replicates - 1) * int(calm.sum())
    for roughness in _ROUGHNESS:
        for drift in _DRIFTS:
            shape = _seed_shape(units, roughness, drift)
            within = shape[np.ix_(calm, calm)]
            root = np.linalg.cholesky(within)
            squares = np.sum(solve_triangular(root, deviations, lower=True) ** 2)
            factor = squares / freedom
            log_determinant = 2 * np.log(np.diag(root)).sum()
            log_weights.append(-((replicates - 1) * log_determinant + freedom * np.log(factor)) / 2)
            covariances.append(factor * shape)
    weights = np.exp(np.array(log_weights) - max(log_weights))
    covariance = np.average(covariances, axis=0, weights=weights)
    lacking = np.where(calm, 0, np.maximum(seen - np.diag(covariance), 0))
    widened: Floats = covariance + np.diag(lacking)
    return widened


def row_covariance(observations: Observations, tried: Mask) -> Floats:
    """Covariance over λs of the mean gain when rows are resampled. Shape (n, n).

    The seed noise holds each replicate's own response to the rows too, so that part is counted
    twice, unlike in the interval of a gain (see `tuner.analysis.gains.gain`): the curve's band is a
    little wide for it, and the interval of λ* covers peaks near λ_max too seldom as it is. The
    curve takes a covariance as known, so that of few groups of rows is enlarged until a normal
    interval of 95 % reaches as far as Student's. No gain has less variance than one row
    of every seed makes. Of folds it is what the seed noise lacks: see `beside_the_seeds`.
    """
    if observations.resampled is None:
        return np.zeros((int(tried.sum()),) * 2)
    replicates = observations.scores.shape[1]
    seeds = [np.arange(replicates)[fold.replicates].size for fold in observations.folds]
    baseline = observations.resampled[:, ~tried].mean(axis=1, keepdims=True)
    gains = observations.resampled[:, tried] - baseline
    covariance: Floats = np.atleast_2d(np.cov(gains, rowvar=False)) * beside_the_seeds(seeds)
    least = sum(observations.resolution**2 / count for count in seeds)
    covariance = covariance + np.diag(np.maximum(least - np.diag(covariance), 0))
    if observations.grouping is None:
        return covariance
    enlarged: Floats = student_inflation(observations.grouping.freedom) * covariance
    return enlarged


def beside_the_seeds(counts: Sequence[int]) -> float:
    """How much of the variance over rows is not in that between replicates.

    Replicates of K equal folds, S_k of each, have rows of their own: with σ² the variance over the
    rows of one fold their mean varies by q σ², q = Σ S_k² / S². Between replicates there is, in
    s² / S, (1 - q) σ² / (S - 1) of it, and resampled rows of all folds show σ² / K. The former
    lacks K (q S - 1) / (S - 1) of the latter: all of it where there is one fold, and none where
    each replicate has one of its own.

    Args:
        counts: S_k.
    """
    total = sum(counts)
    share = sum(count**2 for count in counts) / total**2
    return len(counts) * (share * total - 1) / (total - 1)


def student_inflation(freedom: float) -> float:
    """How much larger the variance of a normal interval has to be to be Student's, at 95 %."""
    from scipy import special

    return float(special.stdtrit(freedom, 0.975) / special.ndtri(0.975)) ** 2
