"""The search space: alignment strength λ on a warped unit interval.

Half of what matters happens below λ = .5, yet λ = 0 itself must be reachable, which rules out
a logarithmic axis. The warp is linear near 0 and logarithmic far from it.
"""

from dataclasses import dataclass
from typing import overload

import numpy as np

from tuner.typing import Floats


@dataclass(frozen=True, kw_only=True)
class LambdaSpace:
    """λ = c·expm1(u·log1p(λ_max / c)) for u in [0, 1].

    Attributes:
        maximum: The largest λ searched, above 0.
        knee: c, the λ around which the axis turns from linear to logarithmic.

    Raises:
        ValueError: If either number is not finite and positive.
    """

    maximum: float = 4.0
    knee: float = 0.1

    def __post_init__(self) -> None:
        for field in ("maximum", "knee"):
            value = getattr(self, field)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{field} must be finite and above 0, not {value}")

    @overload
    def to_lambda(self, u: float) -> float: ...
    @overload
    def to_lambda(self, u: Floats) -> Floats: ...
    def to_lambda(self, u: float | Floats) -> float | Floats:
        """Map u in [0, 1] to λ in [0, maximum]; the ends map exactly."""
        strength = self.knee * np.expm1(np.asarray(u) * np.log1p(self.maximum / self.knee))
        strength = np.where(np.asarray(u) >= 1, self.maximum, strength)
        return float(strength) if np.ndim(u) == 0 else strength

    @overload
    def to_unit(self, strength: float) -> float: ...
    @overload
    def to_unit(self, strength: Floats) -> Floats: ...
    def to_unit(self, strength: float | Floats) -> float | Floats:
        """Map λ in [0, maximum] back to u in [0, 1]."""
        u = np.log1p(np.asarray(strength) / self.knee) / np.log1p(self.maximum / self.knee)
        return float(u) if np.ndim(strength) == 0 else u
