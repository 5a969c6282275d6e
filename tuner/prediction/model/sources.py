"""Features on one scale, and whole sources held out."""

from collections.abc import Iterator, Sequence

import numpy as np

from tuner.typing import Floats, Indices

_FOLDS = 5
_CLIP = 3.0  # standard deviations


def standardised(features: Floats, center: Floats, scale: Floats) -> Floats:
    """Features in standard deviations from their mean, three at most."""
    return np.clip((features - center) / scale, -_CLIP, _CLIP)


def held_out(sources: Sequence[str], seed: int) -> Iterator[tuple[Indices, Indices]]:
    """Training and held-out studies of each fold, whole sources together.

    Sources are dealt out from the largest on, each to the fold that has fewest studies.
    """
    names, source, sizes = np.unique(sources, return_inverse=True, return_counts=True)
    order = np.lexsort([np.random.default_rng(seed).permutation(len(names)), -sizes])
    place, held = np.empty(len(names), dtype=np.intp), np.zeros(_FOLDS)
    for each in order:
        place[each] = held.argmin()
        held[place[each]] += sizes[each]
    fold = place[source]
    for number in range(_FOLDS):
        if (fold == number).any() and (fold != number).any():
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
