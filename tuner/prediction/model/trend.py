"""How curves change with what is known before training: a linear trend of the gain at every node.

Families tell shapes apart; a trend tells how much, where one number more or less makes the same
shape larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.prediction.model.families import Families, Measured, Seen, fit_families, weights
from tuner.prediction.model.sources import held_out, standardised
from tuner.typing import Floats, Indices

_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """Ridge regression of curves on features, and what it leaves.

    Attributes:
        center: Of the features. Shape (p,).
        scale: Of the features. Shape (p,).
        slopes: Of the gain at each node. Shape (p, m).
        level: Gain at each node where features are as they are on average. Shape (m,).
        rest: Covariance of curves around it. Shape (m, m).
    """

    center: Floats
    scale: Floats
    slopes: Floats
    level: Floats
    rest: Floats

    def at(self, features: Floats) -> Floats:
        """Expected curves at the nodes, (N, m), for features (N, p)."""
        expected: Floats = (
            self.level + standardised(features, self.center, self.scale) @ self.slopes
        )
        return expected

    def family(self, features: Floats) -> Families:
        """What is expected of one study's curve, for its features (p,)."""
        return Families(
            shares=np.ones(1), means=self.at(features[None]), covariances=self.rest[None]
        )


def fit_trend(
    features: Floats, sources: Sequence[str], measured: Sequence[Measured], *, seed: int = 0
) -> tuple[Trend, Floats]:
    """Fit with the penalty that is best for sources held out, by which the rest is told, too.

    Args:
        features: Shape (N, p).
        sources: Of each study: those of one source are held out together.
        measured: What each study saw.
        seed: Of which sources are held out together.

    Returns:
        The trend, and the log density of what each study saw under the trend of the others, (N,).
    """
    curves = fit_families(measured, 1).expected(Seen.of(measured))[0]
    parts = list(held_out(sources, seed))
    told = {penalty: _told(features, curves, penalty, parts) for penalty in _PENALTIES}
    best = min(_PENALTIES, key=lambda penalty: float(((curves - told[penalty]) ** 2).sum()))
    left = [
        Measured(units=m.units, gains=m.gains - weights(m.units) @ curve, noise=m.noise)
        for m, curve in zip(measured, told[best], strict=True)
    ]
    rest = fit_families(left, 1)
    trend = _fitted(features, curves, best, rest.covariances[0])
    return trend, rest.log_evidence(Seen.of(left))[:, 0]


def _told(
    features: Floats, curves: Floats, penalty: float, parts: Sequence[tuple[Indices, Indices]]
) -> Floats:
    """Curves as the trend of the others tells them, (N, m)."""
    told = np.empty_like(curves)
    for train, test in parts:
        fitted = _fitted(features[train], curves[train], penalty, np.zeros((0, 0)))
        told[test] = fitted.at(features[test])
    return told


def _fitted(features: Floats, curves: Floats, penalty: float, rest: Floats) -> Trend:
    center, scale = features.mean(0), np.maximum(features.std(0), 1e-9)
    x = standardised(features, center, scale)
    level, middle = curves.mean(0), x.mean(0)
    x = x - middle
    slopes = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (curves - level))
    return Trend(
        center=center, scale=scale, slopes=slopes, level=level - middle @ slopes, rest=rest
    )
