"""How alike two representations of the same rows are; arXiv 2511.12121 measures these three.

All are 1 for a representation and itself, do not change when either is rotated, shifted or scaled
by one factor, and need rows in the same order.
"""

import numpy as np

from tuner.models.typing import Floats, Ints, Mask

NEIGHBOURS = 10
FEWEST_ROWS = 4
_KEPT_VARIANCE = 0.99
_ROWS = 512


def similarities(x: Floats, y: Floats) -> dict[str, float]:
    """Compare representations (rows, d_x) and (rows, d_y) by every measure of this module.

    Uses at most 512 rows, evenly spread, because the cost grows with their square.
    """
    rows = spread_rows(len(x))
    x, y = x[rows].astype(np.float64), y[rows].astype(np.float64)
    return {"cka": cka(x, y), "svcca": svcca(x, y), "mutual_knn": mutual_knn(x, y)}


def spread_rows(count: int) -> Ints:
    """Return which of so many rows are compared, ascending."""
    rows = np.linspace(0, count - 1, min(count, _ROWS)).round()
    return np.unique(rows).astype(np.int64)


def cka(x: Floats, y: Floats) -> float:
    """Linear centered kernel alignment, debiased.

    HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)) (Kornblith et al., arXiv 1905.00414) with the unbiased
    estimator of HSIC (Song et al., JMLR 13 (2012) 1393, equation 5): near 0 on independent
    data, where the plain one grows with the ratio of features to rows. It can be slightly
    negative.

    Args:
        x: (rows, d_x), at least `FEWEST_ROWS`.
        y: (rows, d_y).

    Returns:
        At most 1; 0 if either representation is constant.
    """
    k, m = _hollow_gram(x), _hollow_gram(y)
    scale = _unbiased_hsic(k, k) * _unbiased_hsic(m, m)
    return float(_unbiased_hsic(k, m) / np.sqrt(scale)) if scale > 0 else 0.0


def svcca(x: Floats, y: Floats) -> float:
    """Mean canonical correlation of the directions that hold 99 % of each one's variance.

    Raghu et al., arXiv 1706.05806. Independent data have about √(d / rows), not 0.

    Args:
        x: (rows, d_x).
        y: (rows, d_y).

    Returns:
        Between 0 and 1; 0 if either representation is constant.
    """
    left, right = _leading_directions(x), _leading_directions(y)
    if not (left.size and right.size):
        return 0.0
    correlations = np.linalg.svd(left.T @ right, compute_uv=False)
    return float(np.minimum(correlations, 1).mean())


def mutual_knn(x: Floats, y: Floats, *, neighbours: int = NEIGHBOURS) -> float:
    """Share of a row's nearest neighbours that both representations agree on.

    Huh et al., arXiv 2405.07987: neighbours by cosine, here of centered representations.
    Independent data have k / (rows - 1).

    Args:
        x: (rows, d_x).
        y: (rows, d_y).
        neighbours: k; at most rows - 1 are used.

    Returns:
        Between 0 and 1.
    """
    count = min(neighbours, len(x) - 1)
    near_x, near_y = _neighbours(x, count), _neighbours(y, count)
    return float((near_x & near_y).sum() / (len(x) * count))


def _hollow_gram(x: Floats) -> Floats:
    """Inner products of centered rows, without those of a row with itself."""
    centered = x - x.mean(0)
    gram: Floats = centered @ centered.T
    np.fill_diagonal(gram, 0)
    return gram


def _unbiased_hsic(k: Floats, m: Floats) -> float:
    """Song et al., equation 5, but for a factor 1 / (n (n - 3)), which cancels in CKA."""
    n = len(k)
    together = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(together - 2 / (n - 2) * (k.sum(0) @ m.sum(0)))


def _leading_directions(x: Floats) -> Floats:
    """Orthonormal basis (rows, kept) of the directions that hold most of the variance."""
    left, singular, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    held = np.cumsum(singular**2)
    if held[-1] <= (len(x) * np.finfo(x.dtype).eps * np.abs(x).max(initial=0)) ** 2:
        return left[:, :0]
    return left[:, : int(np.searchsorted(held, _KEPT_VARIANCE * held[-1])) + 1]


def _neighbours(x: Floats, count: int) -> Mask:
    """(rows, rows), True where the column is one of the row's nearest neighbours."""
    centered = x - x.mean(0)
    unit = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-300)
    closeness = unit @ unit.T
    np.fill_diagonal(closeness, -np.inf)
    near = np.zeros(closeness.shape, dtype=bool)
    chosen = np.argpartition(-closeness, count - 1, axis=1)[:, :count]
    np.put_along_axis(near, chosen, values=True, axis=1)
    return near
