"""Decomposition for a scalar Gaussian target."""

import numpy as np
from numpy.typing import NDArray

from tuner.data.information.atoms import Information

Floats = NDArray[np.float64]


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
