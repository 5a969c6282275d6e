"""How curves change with what is known before training: a linear trend of the gain at every node.

A gate of many features and few sources learns the sources. So the trend comes first, and tells the
gate of a data set no more than the curve that it expects: see `tuner.prediction.model.gate`. Its
penalty is set, not searched: with a handful of real sources, to hold out one more says little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.prediction.model.families import Measured, Seen, fit_families
from tuner.typing import Floats

_PENALTY = 30.0  # in curves: see `tests.benchmarks.prediction`
_CLIP = 3.0  # standard deviations


@dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """Ridge regression of curves on features.

    Attributes:
        center: Of the features. Shape (p,).
        scale: Of the features. Shape (p,).
        slopes: Of the gain at each node. Shape (p, m).
        level: Gain at each node where features are as they are on average. Shape (m,).
    """

    center: Floats
    scale: Floats
    slopes: Floats
    level: Floats

    def at(self, features: Floats) -> Floats:
        """Expected curves at the nodes, (N, m), for features (N, p)."""
        expected: Floats = (
            self.level + standardised(features, self.center, self.scale) @ self.slopes
        )
        return expected


def fit_trend(features: Floats, measured: Sequence[Measured]) -> Trend:
    """Fit to features (N, p) and what each study saw."""
    curves = fit_families(measured, 1).expected(Seen.of(measured))[0]
    center, scale = features.mean(0), np.maximum(features.std(0), 1e-9)
    x = standardised(features, center, scale)
    level, middle = curves.mean(0), x.mean(0)
    x = x - middle
    slopes = np.linalg.solve(x.T @ x + _PENALTY * np.eye(x.shape[1]), x.T @ (curves - level))
    return Trend(center=center, scale=scale, slopes=slopes, level=level - middle @ slopes)


def standardised(features: Floats, center: Floats, scale: Floats) -> Floats:
    """Features in standard deviations from their mean, three at most."""
    return np.clip((features - center) / scale, -_CLIP, _CLIP)
