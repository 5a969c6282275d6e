"""Which family a data set's curve is expected to be of, by what is known before training."""

from dataclasses import dataclass

import numpy as np

from tuner.prediction.model.families import Families, Seen, responsibilities
from tuner.prediction.model.trend import standardised
from tuner.typing import Floats

_STRENGTH = 0.3  # inverse of the penalty: see `tests.benchmarks.prediction`
_TRUST = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Gate:
    """Multinomial logistic regression, mixed with the shares that families have of all curves.

    Attributes:
        center: Of the features. Shape (p,).
        scale: Of the features. Shape (p,).
        slopes: Shape (K, p).
        intercepts: Shape (K,).
        base: The families' shares. Shape (K,).
        trust: Weight of the regression; the rest is the shares'.
    """

    center: Floats
    scale: Floats
    slopes: Floats
    intercepts: Floats
    base: Floats
    trust: float

    def probabilities(self, features: Floats) -> Floats:
        """Of each family, (N, K), for features (N, p)."""
        x = standardised(features, self.center, self.scale)
        logits = x @ self.slopes.T + self.intercepts
        told = np.exp(logits - logits.max(1, keepdims=True))
        told /= told.sum(1, keepdims=True)
        mixed: Floats = self.trust * told + (1 - self.trust) * self.base
        return mixed


def fit_gate(features: Floats, families: Families, seen: Seen) -> Gate:
    """Fit to features (N, p), and to studies that are of each family by a part.

    Args:
        features: Shape (N, p).
        families: Of their curves.
        seen: What the studies saw.
    """
    from sklearn.linear_model import LogisticRegression

    shares = responsibilities(families, seen)
    center, scale = features.mean(0), np.maximum(features.std(0), 1e-9)
    base = shares.mean(0)
    count, kinds = shares.shape
    nothing = np.zeros((kinds, features.shape[1]))
    if kinds > 1:
        x = np.repeat(standardised(features, center, scale), kinds, axis=0)
        which = np.tile(np.arange(kinds), count)
        model = LogisticRegression(C=_STRENGTH, max_iter=100, tol=1e-3)
        model.fit(x, which, sample_weight=shares.ravel() + 1e-6)
        slopes, intercepts = np.asarray(model.coef_), np.asarray(model.intercept_)
        if kinds == 2:  # scikit-learn tells of the second alone
            slopes, intercepts = (
                np.vstack([-slopes, slopes]) / 2,
                np.r_[-intercepts, intercepts] / 2,
            )
    else:
        slopes, intercepts = nothing, np.zeros(1)
    return Gate(
        center=center, scale=scale, slopes=slopes, intercepts=intercepts, base=base, trust=_TRUST
    )
