"""Which family a data set's curve is expected to be of, by what is known before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.prediction.model.families import Families, Seen, responsibilities
from tuner.prediction.model.sources import held_out, standardised
from tuner.typing import Floats

_STRENGTHS = (0.003, 0.02, 0.1)  # inverse of the penalty
_TRUSTS = (0.0, 0.25, 0.5, 0.75, 0.9)


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


def fit_gate(
    features: Floats, sources: Sequence[str], families: Families, seen: Seen, *, seed: int = 0
) -> tuple[Gate, Floats]:
    """Fit, with the penalty and the trust that tell most of curves of sources held out.

    Args:
        features: Shape (N, p).
        sources: Of each study: those of one source are held out together.
        families: Of their curves.
        seen: What the studies saw.
        seed: Of which sources are held out together.

    Returns:
        The gate, and the log density of what each study saw by what is told of it held out, (N,).
    """
    shares, evidence = responsibilities(families, seen), families.log_evidence(seen)
    folds = list(held_out(sources, seed))
    best: tuple[Floats, float, float] | None = None
    for strength in _STRENGTHS:
        told = np.empty_like(shares)
        for train, test in folds:
            gate = _fitted(features[train], shares[train], strength, 1.0)
            told[test] = gate.probabilities(features[test])
        for trust in _TRUSTS:
            mixed = trust * told + (1 - trust) * families.shares
            worth = np.logaddexp.reduce(np.log(mixed) + evidence, axis=1)
            if best is None or worth.mean() > best[0].mean():
                best = (worth, strength, trust)
    assert best is not None
    return _fitted(features, shares, best[1], best[2]), best[0]


def _fitted(features: Floats, shares: Floats, strength: float, trust: float) -> Gate:
    """Fit to studies that are of each family by a part, (N, K)."""
    from sklearn.linear_model import LogisticRegression

    center, scale = features.mean(0), np.maximum(features.std(0), 1e-9)
    base = shares.mean(0)
    count, families = shares.shape
    nothing = np.zeros((families, features.shape[1]))
    if families > 1:
        x = np.repeat(standardised(features, center, scale), families, axis=0)
        which = np.tile(np.arange(families), count)
        model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
        model.fit(x, which, sample_weight=shares.ravel() + 1e-6)
        slopes, intercepts = np.asarray(model.coef_), np.asarray(model.intercept_)
        if families == 2:  # scikit-learn tells of the second alone
            slopes, intercepts = (
                np.vstack([-slopes, slopes]) / 2,
                np.r_[-intercepts, intercepts] / 2,
            )
    else:
        slopes, intercepts = nothing, np.zeros(1)
    return Gate(
        center=center, scale=scale, slopes=slopes, intercepts=intercepts, base=base, trust=trust
    )
