"""A second opinion on whether to align: the cross-covariance gates of arXiv 2606.11190.

Contrastive alignment sees the spectrum of Σxx^-½ Σxy Σyy^-½, in which both modalities are white.
Prediction of B from A sees Σxx^-½ Σxy: its target is not whitened, so directions in which B varies
much come first. Either learns signal before nuisance where its own ratio is above 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tuner.data.information.sampling import permutation
from tuner.data.typing import Floats, Ints

_LEVEL = 0.01  # of the test, over all components together
_SHUFFLES = 20
_PERMUTATIONS = 100  # of the labels of groups
_LEAST = 0.05  # of the highest R²


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the shared components of two whitened modalities say about a label.

    Attributes:
        signal: How many components that the modalities share go with the label.
        nuisance: How many do not.
        ratio: Weakest correlation of a signal component over the strongest of a nuisance one;
            None if there is no signal or no nuisance.
    """

    signal: int
    nuisance: int
    ratio: float | None

    @property
    def helps(self) -> bool | None:
        """Whether signal comes first, so that it is predicted to help; None if it does not apply.

        The strongest components are learned first: below 1 a nuisance is the first of them.
        """
        if self.signal == 0:
            return None
        return self.ratio is None or self.ratio >= 1


def cross_covariance_gate(
    a: Floats, b: Floats, y: Ints, group: Ints | None = None, *, seed: int = 0
) -> Gate:
    """Mark each shared component signal or nuisance by its R² with the label.

    Shared are components that correlate more than any does when the rows of B, or its groups, are
    shuffled.

    Args:
        a: Principal components of modality A, (rows, components), of any scale.
        b: The same for B.
        y: Label codes, (rows,).
        group: Numbers from 0 on, (rows,), equal for rows of one group; None without groups.
        seed: Of the shuffles.
    """
    a, b = whiten(a), whiten(b)
    rng = np.random.default_rng([seed, 3])
    left, strengths, right = shared_components(a, b, group, rng)
    return _marked(strengths, whiten(a @ left + b @ right.T), y, group, rng)


def prediction_gate(
    source: Floats, target: Floats, y: Ints, group: Ints | None = None, *, seed: int = 0
) -> Gate:
    """Mark each component that predicts the target signal or nuisance by its R² with the label.

    Args:
        source: Principal components of what is predicted from, (rows, components), of any scale.
        target: Those of what is predicted, in the scale in which its features are.
        y: As of `cross_covariance_gate`.
        group: The same.
        seed: The same.
    """
    source, target = whiten(source), target - target.mean(0)
    rng = np.random.default_rng([seed, 4])
    left, strengths, _ = shared_components(source, target, group, rng)
    return _marked(strengths, whiten(source @ left), y, group, rng)


def shared_components(
    a: Floats, b: Floats, group: Ints | None, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Singular vectors and values of the cross-covariance that are beyond chance.

    Args:
        a: (rows, components), of mean 0.
        b: (rows, components), of mean 0.
        group: As of `cross_covariance_gate`.
        rng: Shuffles rows, or groups.

    Returns:
        (components of A, shared), (shared,) and (shared, components of B).
    """
    left, strengths, right = np.linalg.svd(a.T @ b / len(a), full_matrices=False)
    by_chance = max(
        np.linalg.norm(a.T @ b[permutation(len(b), group, rng)] / len(a), 2)
        for _ in range(_SHUFFLES)
    )
    kept = strengths > by_chance
    return left[:, kept], strengths[kept], right[kept]


def _marked(
    strengths: Floats,
    shared: Floats,
    y: Ints,
    group: Ints | None,
    rng: np.random.Generator,
) -> Gate:
    """Compare components that go with the label to those that do not.

    Errors of the directions turn nuisances a little towards signal, which a test of many rows
    sees: what has a twentieth of the highest R² is no signal of its own.
    """
    if not strengths.size:
        return Gate(signal=0, nuisance=0, ratio=None)
    indicators = np.eye(int(y.max()) + 1)[y]
    explained = _explained(shared, indicators)
    rows = len(y) if group is None else _effective_rows(shared, indicators, group, rng)
    freedom = (indicators.shape[1] - 1, rows - indicators.shape[1])
    with np.errstate(divide="ignore"):
        f = (explained / freedom[0]) / ((1 - explained) / freedom[1])
    is_signal = (special.fdtrc(*freedom, f) < _LEVEL / len(f)) & (
        explained >= _LEAST * explained.max()
    )
    signal, nuisance = strengths[is_signal], strengths[~is_signal]
    ratio = float(signal.min() / nuisance.max()) if len(signal) and len(nuisance) else None
    return Gate(signal=len(signal), nuisance=len(nuisance), ratio=ratio)


def _explained(shared: Floats, indicators: Floats) -> Floats:
    """R² of each white component with the label, (components,)."""
    counts = np.maximum(indicators.sum(0), 1)[:, None]
    squares: Floats = (counts * (indicators.T @ shared / counts) ** 2).sum(0) / len(shared)
    return squares


def _effective_rows(
    shared: Floats, indicators: Floats, group: Ints, rng: np.random.Generator
) -> Floats:
    """As many independent rows would show as high an R² by chance, (components,).

    Where nothing is to be seen, the mean R² of n rows is (classes − 1) / (n − 1).
    """
    orders = (permutation(len(group), group, rng) for _ in range(_PERMUTATIONS))
    by_chance = np.mean([_explained(shared, indicators[order]) for order in orders], axis=0)
    effective: Floats = 1 + (indicators.shape[1] - 1) / np.maximum(by_chance, 1e-12)
    return np.minimum(effective, len(group))


def whiten(components: Floats) -> Floats:
    """Centre and scale each component to unit variance, (rows, components)."""
    white: Floats = (components - components.mean(0)) / np.maximum(components.std(0), 1e-12)
    return white
