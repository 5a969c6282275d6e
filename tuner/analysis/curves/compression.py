"""Compression of large losses, so that one diverged training does not drown the curve.

A diverged training scores thousands of times worse than the others (a warped Gaussian process,
Snelson, Rasmussen and Ghahramani 2004).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tuner.typing import Floats

_COLLAPSE = 10.0  # knees


@dataclass(frozen=True, kw_only=True)
class Compression:
    """Gains in units of a `knee`, losses beyond it on a logarithmic scale that ends.

    φ(d) = d / knee for d ≥ −knee, −1 − log(−d / knee) below it: continuous with its slope, and
    monotone, so the best λ is the same before and after. Losses beyond 10 knees all count as 10:
    how far a collapse went says nothing about where alignment helps.
    """

    knee: float

    @classmethod
    def suited_to(cls, gains: Floats, row_variance: Floats) -> Self:
        """Leave alone what is of the size of the noise, or of the gains that are worth having.

        Args:
            gains: Paired gains of each λ and replicate. Shape (n, S).
            row_variance: Variance of each λ's mean gain over resampled rows. Shape (n,).
        """
        means = gains.mean(axis=1)
        noise = np.sqrt(np.median(gains.var(axis=1, ddof=1) + gains.shape[1] * row_variance))
        ordinary = np.quantile(np.abs(means), 0.25, method="lower")
        return cls(knee=5 * max(float(noise), float(ordinary), float(means.max())) or 1.0)

    def apply(self, gains: Floats) -> Floats:
        """φ of gains of any shape."""
        return np.where(gains < -self.knee, -1 - np.log(self._loss(gains)), gains / self.knee)

    def slope(self, gains: Floats) -> Floats:
        """φ'(gains), by which errors shrink."""
        return 1 / (self._loss(gains) * self.knee)

    def undo(self, compressed: Floats) -> Floats:
        """φ⁻¹ of compressed gains of any shape; at the least −10 knees."""
        loss = np.exp(np.clip(-compressed - 1, 0, np.log(_COLLAPSE)))
        return self.knee * np.where(compressed < -1, -loss, compressed)

    def _loss(self, gains: Floats) -> Floats:
        return np.clip(-gains / self.knee, 1, _COLLAPSE)
