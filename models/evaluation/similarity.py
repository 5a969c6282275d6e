"""How alike two representations of the same rows are; arXiv 2511.12121 measures these three.

All are 1 for a representation and itself, do not change when either is rotated, shifted or scaled
by one factor, and need rows in the same order. What independent representations have grows with
their width and falls with the number of rows, so each comes with its null: the same measure when
the rows of one are permuted (Gröger, Wen and Brbić, arXiv 2602.14486).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tuner.models.typing import Floats, Ints, Mask

NEIGHBOURS = 10
FEWEST_ROWS = 4
PERMUTATIONS = 200
_KEPT_VARIANCE = 0.99
_ROWS = 512
_LEVEL = 0.95
_ROUNDING = 1e-6  # of a null that is kept in single precision
# What a gathered entry of a Gram matrix costs, in multiplications of a matrix product.
_GATHERING = 40


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a similarity is beyond chance.

    Attributes:
        value: (s - m) / (1 - m), with m the median of the null: 0 is chance, 1 the greatest that
            there is. The paper subtracts a quantile instead and cuts off at 0, so that nothing
            but what is significant remains; from the median on, differences stay visible.
        quantile: The 95 % quantile of the null: a greater similarity has p < .05.
        p: Share of permutations that are as similar or more, the identity among them; at least
            1 / (permutations + 1).
    """

    value: float
    quantile: float
    p: float

    @classmethod
    def of(cls, measured: Floats, null: Floats) -> "Calibration":
        """Calibrate the mean over replicates, whose rows are permuted alike.

        Args:
            measured: (S,).
            null: (S, permutations).
        """
        similarity, by_chance = float(measured.mean()), null.mean(0, dtype=np.float64)
        median = float(np.median(by_chance))
        room = 1 - median
        return cls(
            value=(similarity - median) / room if room > _ROUNDING else 0.0,
            quantile=float(np.quantile(by_chance, _LEVEL, method="higher")),
            p=float((1 + (by_chance >= similarity - _ROUNDING).sum()) / (1 + len(by_chance))),
        )


def calibrations(
    similarity: Mapping[str, Floats], null: Mapping[str, Floats]
) -> dict[str, Calibration]:
    """Calibrate every measure that has a null: see `Calibration.of`."""
    return {name: Calibration.of(similarity[name], by_chance) for name, by_chance in null.items()}


def similarities(x: Floats, y: Floats) -> dict[str, float]:
    """Compare representations (rows, d_x) and (rows, d_y) by every measure of this module.

    Uses at most 512 rows, evenly spread, because the cost grows with their square.
    """
    measured = _similarities(x, y, np.arange(min(len(x), _ROWS))[None])
    return {name: float(values[0]) for name, values in measured.items()}


def similarities_and_null(
    x: Floats, y: Floats, *, seed: int
) -> tuple[dict[str, float], dict[str, Floats]]:
    """Compare as `similarities` does, and once more with y's rows permuted, 200 times.

    Rows are permuted one by one: where they come in groups, chance alone makes more alike.

    Args:
        x: (rows, d_x).
        y: (rows, d_y).
        seed: Of the permutations.

    Returns:
        Per measure, the similarity, and (200,) what it is with permuted rows.
    """
    rows = np.arange(min(len(x), _ROWS))
    permuted = np.tile(rows, (PERMUTATIONS, 1))
    permuted = np.random.default_rng(seed).permuted(permuted, axis=1)
    measured = _similarities(x, y, np.vstack([rows, permuted]))
    return (
        {name: float(values[0]) for name, values in measured.items()},
        {name: values[1:] for name, values in measured.items()},
    )


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
    return float(_cka(x, y, np.arange(len(x))[None])[0])


def svcca(x: Floats, y: Floats) -> float:
    """Mean canonical correlation of the directions that hold 99 % of each one's variance.

    Raghu et al., arXiv 1706.05806. Independent data have about √(d / rows), not 0.

    Args:
        x: (rows, d_x).
        y: (rows, d_y).

    Returns:
        Between 0 and 1; 0 if either representation is constant.
    """
    return float(_svcca(x, y, np.arange(len(x))[None])[0])


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
    return float(_mutual_knn(x, y, np.arange(len(x))[None], neighbours=neighbours)[0])


def _similarities(x: Floats, y: Floats, orders: Ints) -> dict[str, Floats]:
    """Per measure, (orders,) the similarity with y's rows in each order, (orders, rows)."""
    rows = spread_rows(len(x))
    x, y = x[rows].astype(np.float64), y[rows].astype(np.float64)
    return {
        "cka": _cka(x, y, orders),
        "svcca": _svcca(x, y, orders),
        "mutual_knn": _mutual_knn(x, y, orders),
    }


def _cka(x: Floats, y: Floats, orders: Ints) -> Floats:
    """`cka` with y's rows in each order, (orders,)."""
    identity = np.arange(len(x))[None]
    x, y = x - x.mean(0), y - y.mean(0)
    scale = _unbiased_hsic(x, x, identity)[0] * _unbiased_hsic(y, y, identity)[0]
    if scale <= 0:
        return np.zeros(len(orders))
    alike: Floats = _unbiased_hsic(x, y, orders) / np.sqrt(scale)
    return alike


def _unbiased_hsic(x: Floats, y: Floats, orders: Ints) -> Floats:
    """Song et al., equation 5, but for a factor 1 / (n (n - 3)), which cancels in CKA.

    It is of Gram matrices without their diagonals. Rows are centered, so that the sum of a row of
    such a matrix is minus what was on the diagonal: the squared length of that row of x or y.
    """
    n = len(x)
    lengths_x, lengths_y = (np.square(z).sum(1) for z in (x, y))
    together = _gram_products(x, y, orders) - n / (n - 2) * (lengths_y[orders] @ lengths_x)
    hsic: Floats = together + lengths_x.sum() * lengths_y.sum() / ((n - 1) * (n - 2))
    return hsic


def _gram_products(x: Floats, y: Floats, orders: Ints) -> Floats:
    """⟨X Xᵀ, Y Yᵀ⟩ = ‖Xᵀ Y‖² with y's rows in each order: what is cheaper of the two, (orders,)."""
    if x.shape[1] * y.shape[1] <= _GATHERING * len(x):
        return np.array([np.square(x.T @ y[order]).sum() for order in orders])
    gram_x, gram_y = x @ x.T, y @ y.T
    return np.array([np.vdot(gram_x, gram_y[order].take(order, 1)) for order in orders])


def _svcca(x: Floats, y: Floats, orders: Ints) -> Floats:
    """`svcca` with y's rows in each order, (orders,)."""
    left, right = _leading_directions(x), _leading_directions(y)
    if not (left.size and right.size):
        return np.zeros(len(orders))
    correlations = (np.linalg.svd(left.T @ right[order], compute_uv=False) for order in orders)
    return np.array([np.minimum(one, 1).mean() for one in correlations])


def _leading_directions(x: Floats) -> Floats:
    """Orthonormal basis (rows, kept) of the directions that hold most of the variance."""
    left, singular, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    held = np.cumsum(singular**2)
    if held[-1] <= (len(x) * np.finfo(x.dtype).eps * np.abs(x).max(initial=0)) ** 2:
        return left[:, :0]
    return left[:, : int(np.searchsorted(held, _KEPT_VARIANCE * held[-1])) + 1]


def _mutual_knn(x: Floats, y: Floats, orders: Ints, *, neighbours: int = NEIGHBOURS) -> Floats:
    """`mutual_knn` with y's rows in each order, (orders,)."""
    rows = len(x)
    near_x, near_y = (_neighbours(z, min(neighbours, rows - 1)) for z in (x, y))
    one, other = near_x.nonzero()
    pairs = (order.take(one) * rows + order.take(other) for order in orders)  # of a flat table
    agreed = [np.count_nonzero(near_y.take(at)) for at in pairs]
    return np.array(agreed) / len(one)


def _neighbours(x: Floats, count: int) -> Mask:
    """(rows, rows), True where the column is one of the row's nearest neighbours."""
    centered = x - x.mean(0)
    unit = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-300)
    closeness = unit @ unit.T
    np.fill_diagonal(closeness, -np.inf)
    near = np.zeros(closeness.shape, dtype=bool)
    chosen = np.argpartition(closeness, -count, axis=1)[:, -count:]
    np.put_along_axis(near, chosen, values=True, axis=1)
    return near
