"""Families of λ-curves that past studies lead one to expect, as the model of the curve takes them.

An empirical prior over curves (arXiv 2602.12082). Every family is a Gaussian over the gains at
`NODES`; between them, and from f(0) = 0 to the first, a curve is taken to be straight.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tuner.analysis.curves.compression import Compression
from tuner.study.prior import CurveFamilies
from tuner.study.space import LambdaSpace
from tuner.typing import Floats, Indices

NODES = np.linspace(0, 1, 9)[1:]  # of u in the space of past studies
PAST = LambdaSpace()  # of these
_JITTER = 1e-9


def node_weights(units: Floats) -> Floats:
    """Weights of the nodes in a curve at any u, (n, m): straight lines, 0 at u = 0."""
    at = np.concatenate([[0.0], NODES])
    return np.stack([np.interp(units, at, each) for each in np.eye(at.size)[1:]], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyProcesses:
    """K curves that are Gaussian at `NODES`, each conditioned on noisy gains at the same λs.

    Attributes:
        space: The λs of the study, whose u is told to them.
        seen: Weights of the nodes where gains were seen. Shape (n, m).
        means: Expected before anything was seen. Shape (K, m).
        covariances: Of that. Shape (K, m, m).
        whiteners: Inverse Cholesky factors of the covariance of the gains. Shape (K, n, n).
        whitened: The gains less what was expected, whitened. Shape (K, n).
    """

    space: LambdaSpace
    seen: Floats
    means: Floats
    covariances: Floats
    whiteners: Floats
    whitened: Floats

    @classmethod
    def condition(
        cls,
        space: LambdaSpace,
        units: Floats,
        gains: Floats,
        noise: Floats,
        means: Floats,
        covariances: Floats,
    ) -> Self:
        """Condition on gains (K, n) at units (n,) with errors of the covariances noise (K, n, n).

        Args:
            space: The λs of the study.
            units: Shape (n,).
            gains: Shape (K, n).
            noise: Shape (K, n, n).
            means: At the nodes. Shape (K, m).
            covariances: Shape (K, m, m).
        """
        seen = _weights(space, units)
        covariance = seen @ covariances @ seen.T + noise
        whiteners = whitening(covariance)
        return cls(
            space=space,
            seen=seen,
            means=means,
            covariances=covariances,
            whiteners=whiteners,
            whitened=(whiteners @ (gains - means @ seen.T)[..., None])[..., 0],
        )

    def log_evidence(self) -> Floats:
        """Log marginal likelihood of the gains under each. Shape (K,)."""
        return log_density(self.whiteners, self.whitened)

    def select(self, index: Indices) -> Self:
        """Keep some of them."""
        kept = (self.means, self.covariances, self.whiteners, self.whitened)
        means, covariances, whiteners, whitened = (part[index] for part in kept)
        return type(self)(
            space=self.space,
            seen=self.seen,
            means=means,
            covariances=covariances,
            whiteners=whiteners,
            whitened=whitened,
        )

    def posterior(self, units: Floats) -> tuple[Floats, Floats]:
        """Posterior means (K, m) and covariances (K, m, m) of the curve at units (m,)."""
        at = _weights(self.space, units)
        weights = at @ self.covariances @ self.seen.T @ self.whiteners.swapaxes(1, 2)
        means = self.means @ at.T + np.einsum("kmn,kn->km", weights, self.whitened)
        return means, at @ self.covariances @ at.T - weights @ weights.swapaxes(1, 2)


def whitening(covariance: Floats) -> Floats:
    """Inverses (K, n, n) of the Cholesky factors of covariances (K, n, n), with a little jitter."""
    size = covariance.shape[-1]
    jitter = _JITTER * np.trace(covariance, axis1=1, axis2=2) / size
    factors = np.linalg.cholesky(covariance + jitter[:, None, None] * np.eye(size))
    return np.linalg.inv(factors)


def log_density(whiteners: Floats, whitened: Floats) -> Floats:
    """Log density (K,) of whitened gains (K, n), by the factors (K, n, n) that whitened them."""
    diagonals = np.diagonal(whiteners, axis1=1, axis2=2)
    fit = np.sum(whitened**2, axis=1) + whitened.shape[1] * np.log(2 * np.pi)
    density: Floats = np.log(diagonals).sum(axis=1) - fit / 2
    return density


def compressed(families: CurveFamilies, compression: Compression) -> tuple[Floats, Floats]:
    """Means (J, m) and covariances (J, m, m) of families, as gains are compressed."""
    means = np.array(families.means)
    slope = compression.slope(means)
    covariances = np.array(families.covariances) * slope[:, :, None] * slope[:, None, :]
    return compression.apply(means), covariances


def _weights(space: LambdaSpace, units: Floats) -> Floats:
    return node_weights(np.asarray(PAST.to_unit(space.to_lambda(units))))
