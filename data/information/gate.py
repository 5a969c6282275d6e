"""A second opinion on whether to align: the cross-covariance gate of arXiv 2606.11190."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from tuner.data.information.sampling import permutation
from tuner.data.typing import Floats, Ints

_LEVEL = 0.01  # of the test, over all components together
_SHUFFLES = 20
_PERMUTATIONS = 100  # of the labels of groups


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
        """Whether alignment is predicted to help; None if the gate does not apply.

        Alignment strengthens the components that correlate most: below 1 a nuisance is the first.
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
    a, b = _whiten(a), _whiten(b)
    left, strengths, right = np.linalg.svd(a.T @ b / len(a), full_matrices=False)
    rng = np.random.default_rng([seed, 3])
    by_chance = max(
        np.linalg.norm(a.T @ b[permutation(len(b), group, rng)] / len(a), 2)
        for _ in range(_SHUFFLES)
    )
    kept = strengths > by_chance
    if not kept.any():
        return Gate(signal=0, nuisance=0, ratio=None)
    strengths, left, right = strengths[kept], left[:, kept], right[kept]
    shared = _whiten(a @ left + b @ right.T)
    indicators = np.eye(int(y.max()) + 1)[y]
    explained = _explained(shared, indicators)
    rows = len(y) if group is None else _effective_rows(shared, indicators, group, rng)
    freedom = (indicators.shape[1] - 1, rows - indicators.shape[1])
    with np.errstate(divide="ignore"):
        f = (explained / freedom[0]) / ((1 - explained) / freedom[1])
    is_signal = special.fdtrc(*freedom, f) < _LEVEL / len(f)
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


def _whiten(components: Floats) -> Floats:
    white: Floats = (components - components.mean(0)) / np.maximum(components.std(0), 1e-12)
    return white
