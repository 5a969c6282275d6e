"""Priors that tests give their studies."""

import numpy as np

from tuner.analysis.curves.families import NODES
from tuner.study.prior import CurveFamilies, Prior

_SMOOTH = 0.01**2 * np.minimum(NODES[:, None], NODES)  # of a Brownian motion


def families(*means, spread=1.0, interval=(0.5, 4.0)):
    """Families of equal share about curves at `NODES`, that vary so many times as .01 · √u does."""
    return CurveFamilies(
        shares=(1 / len(means),) * len(means),
        means=tuple(map(tuple, np.array(means, dtype=float).tolist())),
        covariances=((spread**2 * _SMOOTH).tolist(),) * len(means),
        interval=interval,
    )


def prior(told, weight=0.5):
    """One that expects the same of every target."""
    targets = dict.fromkeys(("a", "b", "joint"), told)
    return Prior(source="shipped", corpus="0123456789abcdef", weight=weight, targets=targets)
