"""Exact decomposition of a discrete joint distribution.

Of all joint distributions q with the pair marginals of p, BROJA takes the one with the least
I_q(A, B; Y): what it lacks of I_p is synergy (Bertschinger et al., Entropy 16 (2014) 2161,
equations 4 to 7). So R, U_A and U_B depend on p(a, y) and p(b, y) alone.

Two solvers find it. The exponential-cone program (Makkeh, Theis and Vicente, Entropy 20 (2018)
271) is exact. Alternating projections solve many small problems at once, to about .001 bit, which
is what resampling needs.
"""

from typing import Any

import numpy as np

from tuner.data.information.atoms import Information
from tuner.data.typing import Floats, Indices

_SWEEPS = 400
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


def atoms(with_a: Floats, with_b: Floats, both: Floats, least: Floats) -> dict[str, Floats]:
    """Atoms from I(A; Y), I(B; Y), I(A, B; Y) and the least I_q(A, B; Y), of any one shape.

    R = I(A) + I(B) - least, U_A = least - I(B), U_B = least - I(A), S = I(A, B) - least.
    """
    least = np.clip(least, np.maximum(with_a, with_b), with_a + with_b)
    return {
        "R": with_a + with_b - least,
        "U_a": least - with_b,
        "U_b": least - with_a,
        "S": np.maximum(both - least, 0.0),
    }


def mutual_information(table: Floats) -> Floats:
    """I(X; Y) in bits of distributions p(x, y), (…, values of X, values of Y)."""
    independent = table.sum(-1, keepdims=True) * table.sum(-2, keepdims=True)
    terms = table * np.log2(
        table / np.where(independent > 0, independent, 1), where=table > 0, out=np.zeros_like(table)
    )
    information: Floats = np.maximum(terms.sum((-2, -1)), 0.0)
    return information


def least_by_projections(with_a: Floats, with_b: Floats, *, sweeps: int = _SWEEPS) -> Floats:
    """Least I_q(A, B; Y) over joints with these pair marginals, in bits, for many at once.

    Alternates between the couplings of every label (by iterative proportional fitting) and the
    mixture r(a, b) of them all: both steps lower KL(q ‖ p(y) r), whose least value it is
    (alternating minimisation, Csiszár and Tusnády 1984; for this problem Banerjee, Rauh and
    Montúfar, arXiv 1709.07487).

    Args:
        with_a: p(a, y), (batch, values of A, values of Y).
        with_b: p(b, y), (batch, values of B, values of Y).
        sweeps: Alternations.

    Returns:
        (batch,), from above.
    """
    labels = with_a.sum(-2)[:, :, None, None]  # p(y), then (batch, Y, A, B) throughout
    given = np.where(labels > 0, labels, 1)
    a = with_a.swapaxes(-1, -2)[:, :, :, None] / given
    b = with_b.swapaxes(-1, -2)[:, :, None, :] / given
    mixture = (labels * a * b).sum(1, keepdims=True)
    scale_b = np.ones_like(b)
    for _ in range(sweeps):
        scale_a = a / np.maximum((mixture * scale_b).sum(-1, keepdims=True), _SMALLEST)
        scale_b = b / np.maximum((mixture * scale_a).sum(-2, keepdims=True), _SMALLEST)
        coupling = mixture * scale_a * scale_b
        mixture = (labels * coupling).sum(1, keepdims=True)
    q = (labels * coupling).reshape(len(with_a), labels.shape[1], -1).swapaxes(-1, -2)
    return mutual_information(q)


def _least_by_cones(with_a: Floats, with_b: Floats) -> Floats:
    """The same for one pair of tables, exactly.

    Minimises Σ t over q and t with t ≥ q log(q / Σ_y q), which says that (-t, q, Σ_y q) lies in
    an exponential cone, subject to the pair marginals.
    """
    import clarabel
    from scipy import sparse

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
    from scipy import sparse

    labels = with_a.shape[1]
    sums = np.concatenate([a * labels + y, with_a.size + b * labels + y])
    used, row = np.unique(sums, return_inverse=True)
    cells = np.tile(np.arange(len(a)), 2)
    matrix = sparse.csc_array((np.ones(len(row)), (row, cells)), shape=(len(used), len(a)))
    return matrix, np.concatenate([with_a.ravel(), with_b.ravel()])[used]
