"""How rows are folded, halved, resampled and permuted: one by one, or by whole groups.

Rows of one group are not independent: a predictor that saw some of them knows more of the others
than of rows of a new group, and the chance that a group's label goes with its features is that of
one draw, however many rows it has. `group` is (rows,) numbers from 0 on, each of some row, or None
where rows are independent.
"""

import numpy as np

from tuner.data.typing import Floats, Ints

FOLDS = 5


def folds(y: Ints, group: Ints | None, rng: np.random.Generator) -> Ints:
    """Fold of each row; every class is spread evenly, or folds would betray the label.

    Groups are placed from the largest on, each where its classes are rarest so far.
    """
    if group is None:
        order = np.lexsort([rng.random(len(y)), y])
        fold = np.empty(len(y), dtype=np.int64)
        fold[order] = np.arange(len(y)) % FOLDS
        return fold
    counts = np.zeros((int(group.max()) + 1, int(y.max()) + 1))
    np.add.at(counts, (group, y), 1)
    # Shares of each class, and with the weight of all of them those of all rows.
    shares = np.hstack([counts / counts.sum(0), counts.sum(1, keepdims=True) / len(y)])
    held, placed = np.zeros((FOLDS, shares.shape[1])), np.empty(len(counts), dtype=np.int64)
    for each in np.lexsort([rng.random(len(counts)), -counts.sum(1)]):
        placed[each] = (held @ shares[each]).argmin()
        held[placed[each]] += shares[each]
    of_rows: Ints = placed[group]
    return of_rows


def halves(count: int, group: Ints | None, rng: np.random.Generator) -> Ints:
    """Half of each row, 0 or 1, (rows,); of groups as many are in either as can be."""
    if group is None:
        return rng.integers(0, 2, count)
    half: Ints = (rng.permutation(int(group.max()) + 1) % 2)[group]
    return half


def permutation(count: int, group: Ints | None, rng: np.random.Generator) -> Ints:
    """Which row's label each row gets, (rows,), where labels and features are independent.

    Whole groups change places: a row gets a label of the group that is in its group's place, in
    random order, and from the start again where that has fewer rows.
    """
    if group is None:
        return rng.permutation(count)
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(count, dtype=np.int64)
    place[np.argsort(group, kind="stable")] = np.arange(count) - np.repeat(starts, sizes)
    donor = rng.permutation(len(sizes))[group]
    shuffled = np.lexsort([rng.random(count), group])
    return shuffled[starts[donor] + place % sizes[donor]]


def group_weights(group: Ints, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each row occurs in bootstrap resamples of whole groups, (resamples, rows)."""
    count = int(group.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    weights: Floats = drawn[:, group].astype(np.float64)
    return weights
