"""Many gains told by few: values of the curve at nodes, between which it is taken to be straight.

The model of the curve takes n³ steps and n² numbers for n λs, some hundred times. Beyond a hundred
of them many lie closer than the curve can bend (its shortest length scale is .12 of the range), so
it is interpolated between nodes, which are λs themselves: structured kernel interpolation (Wilson
and Nickisch, *Kernel Interpolation for Scalable Structured Gaussian Processes*, 2015), by straight
lines. A curve of length scale ℓ and size 1 has second derivatives of 5 / ℓ² (those of a Matérn-5/2
process), so a line across a cell of 1/48 is off by (1/48)² / 8 · 5 / ℓ²: 2 % for .12, .3 % for .3.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tuner.typing import Floats

_CELLS = 48  # of u; each has two nodes at most
_JITTER = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeGains:
    """Gains at nodes, as good as those that were seen: generalized least squares.

    For a curve that is straight between nodes, and each of S covariances of the errors, the gains
    that were seen are as likely as these, times a factor that is the same for all curves.

    Attributes:
        units: The nodes, ascending. Shape (m,).
        gains: At the nodes. Shape (S, m).
        noise: Covariances of their errors. Shape (S, m, m).
        log_likelihood: The logarithm of that factor. Shape (S,).
    """

    units: Floats
    gains: Floats
    noise: Floats
    log_likelihood: Floats

    @classmethod
    def of(cls, units: Floats, gains: Floats, noise: Floats) -> Self:
        """Tell gains (n,) seen at ascending units (n,) with errors of the covariances (S, n, n).

        They are told as they are where they are few.
        """
        if units.size <= 2 * _CELLS:
            as_they_are = np.broadcast_to(gains, (len(noise), gains.size))
            return cls(
                units=units, gains=as_they_are, noise=noise, log_likelihood=np.zeros(len(noise))
            )
        nodes = _nodes(units)
        weights = _straight(units, nodes)
        fits = [_fit(weights, gains, covariance) for covariance in noise]
        at_nodes, covariances, log_likelihood = (np.stack(part) for part in zip(*fits, strict=True))
        return cls(units=nodes, gains=at_nodes, noise=covariances, log_likelihood=log_likelihood)


def _nodes(units: Floats) -> Floats:
    """The first and the last unit of every cell: between them, a line spans a cell at most."""
    cells = np.floor(units * _CELLS)
    first = np.append(True, np.diff(cells) > 0)
    last = np.append(np.diff(cells) > 0, True)
    return np.unique(units[first | last])


def _straight(units: Floats, nodes: Floats) -> Floats:
    """Weights of the nodes in the value at each unit. Shape (n, m)."""
    columns = [np.interp(units, nodes, each) for each in np.eye(nodes.size)]
    return np.stack(columns, axis=1)


def _fit(weights: Floats, gains: Floats, covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Gains at the nodes (m,), the covariance of their errors, and the likelihood of the rest."""
    from scipy.linalg import solve_triangular

    count, nodes = weights.shape
    jitter = _JITTER * np.trace(covariance) / count
    factor = np.linalg.cholesky(covariance + jitter * np.eye(count))
    white = solve_triangular(factor, np.column_stack([weights, gains]), lower=True)
    lines, seen = white[:, :nodes], white[:, nodes]
    basis, triangle = np.linalg.qr(lines)
    inverse = solve_triangular(triangle, np.eye(nodes))
    rest = seen - basis @ (basis.T @ seen)
    log_determinant = 2 * (np.log(np.diag(factor)).sum() + np.log(np.abs(np.diag(triangle))).sum())
    log_likelihood = -((count - nodes) * np.log(2 * np.pi) + log_determinant + rest @ rest) / 2
    return inverse @ (basis.T @ seen), inverse @ inverse.T, log_likelihood
