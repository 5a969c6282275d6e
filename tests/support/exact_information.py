"""Decompositions that are exact, and slow or for special cases: what the quick one is held to."""

from typing import Any

import clarabel
import numpy as np
from scipy import sparse

from tuner.data.information.atoms import Information
from tuner.data.information.discrete import atoms, mutual_information
from tuner.data.typing import Floats, Indices

_SMALLEST = 1e-15  # cells that weigh less do not count


def decompose(joint: Floats) -> Information:
    """Decompose the information of a joint distribution, exactly (to about 1e-6 bit).

    Args:
        joint: p(a, b, y), (values of A, values of B, values of Y), not negative, summing to 1.

    Raises:
        ValueError: If `joint` is no such distribution.
    """
    joint = np.asarray(joint, dtype=np.float64)
    if joint.ndim != 3 or not np.isfinite(joint).all() or (joint < 0).any():
        raise ValueError("a joint distribution has three axes and no negative or missing value")
    if not np.isclose(joint.sum(), 1.0):
        raise ValueError(f"a joint distribution sums to 1, not to {joint.sum():.6g}")
    with_a, with_b = joint.sum(1), joint.sum(0)
    parts = atoms(
        mutual_information(with_a),
        mutual_information(with_b),
        mutual_information(joint.reshape(-1, joint.shape[2])),
        _least_by_cones(with_a, with_b),
    )
    return Information(**{name: float(value) for name, value in parts.items()})


def _least_by_cones(with_a: Floats, with_b: Floats) -> Floats:
    """Least I_q(A, B; Y) for one pair of tables, exactly.

    The exponential-cone program of Makkeh, Theis and Vicente, Entropy 20 (2018) 271.

    Minimises Σ t over q and t with t ≥ q log(q / Σ_y q), which says that (-t, q, Σ_y q) lies in
    an exponential cone, subject to the pair marginals.
    """
    a, b, y = np.nonzero((with_a[:, None] > _SMALLEST) & (with_b[None] > _SMALLEST))
    cells = np.arange(len(a))
    marginals, wanted = _marginals(a, b, y, with_a, with_b)
    pair = np.unique(a * len(with_b) + b, return_inverse=True)[1]
    cone, member = np.nonzero(pair[:, None] == pair)
    below = sparse.csc_array(
        (
            np.concatenate([np.ones(len(a)), -np.ones(len(a)), -np.ones(len(cone))]),
            (
                np.concatenate([3 * cells, 3 * cells + 1, 3 * cone + 2]),
                np.concatenate([len(a) + cells, cells, member]),
            ),
        ),
        shape=(3 * len(a), 2 * len(a)),
    )
    equal = sparse.hstack([marginals, sparse.csc_array((len(wanted), len(a)))])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix((2 * len(a), 2 * len(a))),
        np.concatenate([np.zeros(len(a)), np.ones(len(a))]),
        sparse.csc_matrix(sparse.vstack([equal, below])),
        np.concatenate([wanted, np.zeros(3 * len(a))]),
        [clarabel.ZeroConeT(len(wanted)), *[clarabel.ExponentialConeT()] * len(a)],
        settings,
    ).solve()
    q = np.zeros((len(with_a) * len(with_b), with_a.shape[1]))
    q[a * len(with_b) + b, y] = np.maximum(solution.x[: len(a)], 0)
    return mutual_information(q / q.sum())


def _marginals(
    a: Indices, b: Indices, y: Indices, with_a: Floats, with_b: Floats
) -> tuple[Any, Floats]:
    """Rows that sum cells to p(a, y) and to p(b, y), and these sums."""
    labels = with_a.shape[1]
    sums = np.concatenate([a * labels + y, with_a.size + b * labels + y])
    used, row = np.unique(sums, return_inverse=True)
    cells = np.tile(np.arange(len(a)), 2)
    matrix = sparse.csc_array((np.ones(len(row)), (row, cells)), shape=(len(used), len(a)))
    return matrix, np.concatenate([with_a.ravel(), with_b.ravel()])[used]


def decompose_gaussian(covariance: Floats, width_a: int) -> Information:
    """Decompose the information of jointly Gaussian (A, B, Y) about a scalar Y.

    For a scalar target the redundancy is the lesser of the two informations, by BROJA and by
    every other definition that depends on the pair marginals alone (Barrett, Phys. Rev. E 91
    (2015) 052802). It is not so for a target of several dimensions.

    Args:
        covariance: Of (A, B, Y), with Y the last row; positive definite but for exact copies.
        width_a: Number of dimensions of A.

    Returns:
        Atoms in bits.

    Raises:
        ValueError: If the shapes do not fit, or the matrix is no covariance.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    width = len(covariance) - 1
    if covariance.shape != (width + 1, width + 1) or not 0 < width_a < width:
        raise ValueError(f"no A of {width_a} and B of {width - width_a} dimensions")
    if not np.allclose(covariance, covariance.T) or np.linalg.eigvalsh(covariance)[0] < -1e-9:
        raise ValueError("a covariance is symmetric and has no negative eigenvalue")
    with_a, with_b, both = (
        _explained(covariance, sources)
        for sources in (slice(0, width_a), slice(width_a, width), slice(0, width))
    )
    shared = min(with_a, with_b)
    return Information(
        R=shared, U_a=with_a - shared, U_b=with_b - shared, S=max(both - max(with_a, with_b), 0.0)
    )


def _explained(covariance: Floats, sources: slice) -> float:
    """I(X; Y) = -½ log₂(1 - R²), with R² the share of Y's variance that X explains."""
    cross = covariance[sources, -1]
    share = cross @ np.linalg.pinv(covariance[sources, sources], hermitian=True) @ cross
    return float(-0.5 * np.log2(max(1.0 - share / covariance[-1, -1], np.finfo(float).tiny)))
