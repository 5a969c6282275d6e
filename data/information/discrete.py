"""Decomposition of the information of a discrete joint distribution.

Of all joint distributions q with the pair marginals of p, BROJA takes the one with the least
I_q(A, B; Y): what it lacks of I_p is synergy (Bertschinger et al., Entropy 16 (2014) 2161,
equations 4 to 7). So R, U_A and U_B depend on p(a, y) and p(b, y) alone.

Alternating projections find it for many small problems at once, to about .001 bit, which is what
resampling needs.
"""

import numpy as np

from tuner.data.typing import Floats

_SWEEPS = 400
_SMALLEST = 1e-15  # cells that weigh less do not count


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
