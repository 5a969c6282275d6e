"""Divides rows into training, validation and test, 70/15/15, from a seed, or into other parts.

Stratified: every class (or tenth of the range of a number) is divided in the same ratio.
Grouped: rows of one group stay together, and classes are spread as evenly as groups allow.
Rows without a label serve training only: they take part in the alignment loss, and have no score.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Split
from tuner.data.typing import Floats, Ints, Splits
from tuner.data.validation.labels.reading import Labels

RATIO = (70, 15, 15)  # per cent, in the order of Split
STRATA = 10  # of equal size, for numbers
ATTEMPTS = 20  # random orders tried until every split of a grouped data set has every class
SWEEPS = 10


def stratified_split(labels: Labels, seed: int) -> Splits:
    """Split rows that are independent of each other.

    Every class has to have three labelled rows, and gets at least one in each split; apart from
    that the labelled rows divide in `RATIO`, to the row.

    Returns:
        (rows,), the values of `Split`.
    """
    rng = np.random.default_rng(seed)
    strata = strata_of(labels)
    split = np.full(len(strata), Split.TRAIN, dtype=np.int8)
    for stratum, quota in enumerate(quotas(np.bincount(strata[strata >= 0]))):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        split[members] = np.repeat(np.array(Split, dtype=np.int8), quota)
    return split


def strata_of(labels: Labels) -> Ints:
    """(rows,): what must be spread evenly, classes or ranges of a number; -1 without a label."""
    if labels.classes is not None:
        return labels.y.astype(np.int64)
    rows = np.flatnonzero(labels.labelled)
    by_value = rows[np.argsort(labels.y[rows], kind="stable")]
    strata = np.full(len(labels.y), -1, dtype=np.int64)
    for stratum, members in enumerate(np.array_split(by_value, STRATA)):
        strata[members] = stratum
    return strata


def quotas(counts: npt.NDArray[np.integer]) -> Ints:
    """Divide the rows of each stratum among the splits.

    Whole-number arithmetic throughout: first the rows held out of training by largest remainder,
    then those between validation and test by halves.

    Args:
        counts: (strata,), each 0 or at least 3.

    Returns:
        (strata, 3); rows sum to `counts`, and no entry of a stratum that has rows is 0.
    """
    counts = counts.astype(np.int64)
    total, share = int(counts.sum()), sum(RATIO[1:])
    train, until_test = (_rounded(total, percent) for percent in (RATIO[0], sum(RATIO[:2])))
    held_out = np.where(counts > 0, np.maximum(2, counts * share // 100), 0)
    missing = max(0, total - train - int(held_out.sum()))
    # A stratum whose two rows were already more than its share has nothing left to round up.
    remainder = np.where(counts * share >= 200, counts * share % 100, 0)
    held_out[np.argsort(-remainder, kind="stable")[:missing]] += 1
    validation = held_out // 2
    odd = np.flatnonzero(held_out % 2)
    larger_validation = until_test - train > total - until_test
    validation[odd[: (len(odd) + larger_validation) // 2]] += 1
    return np.stack([counts - held_out, validation, held_out - validation], axis=1)


def _rounded(total: int, percent: int) -> int:
    return (total * percent + 50) // 100


def grouped_split(labels: Labels, group: Ints, seed: int) -> Splits:
    """Split rows so that no group is divided.

    Args:
        labels: What is to be spread evenly.
        group: (rows,), numbers from 0 on.
        seed: Where the order comes from in which groups are placed.

    Returns:
        (rows,), the values of `Split`. That every class is in every split is tried for but not
        promised: it can be impossible.
    """
    parts = grouped_parts(strata_of(labels), group, RATIO, seed)
    return np.where(parts < 0, np.int8(Split.TRAIN), parts)


def grouped_parts(strata: Ints, group: Ints, ratio: Sequence[float], seed: int) -> Splits:
    """Divide rows into parts so that no group is divided.

    Args:
        strata: (rows,) what is to be spread evenly, from 0 on; -1 for rows that do not count.
        group: (rows,), numbers from 0 on.
        ratio: How large the parts are to be, relative to each other.
        seed: Where the order comes from in which groups are placed.

    Returns:
        (rows,), int8, the part of each; -1 for those of groups of which no row counts.
    """
    rng = np.random.default_rng(seed)
    groups, member = np.unique(group[strata >= 0], return_inverse=True)
    counts = np.zeros((len(groups), int(strata.max()) + 1))
    np.add.at(counts, (member, strata[strata >= 0]), 1)
    placed = _place_best(counts[:, counts.any(axis=0)], np.array(ratio), rng)
    of_group = np.full(int(group.max()) + 1, -1, dtype=np.int8)
    of_group[groups] = placed
    return of_group[group]


def _place_best(counts: Floats, ratio: Floats, rng: np.random.Generator) -> Splits:
    """Give each group a part: (groups, strata) numbers of rows to (groups,)."""
    # The last column is all rows of a group: with the weight of all strata together, so that the
    # ratio of rows counts as much as the spread of classes.
    shares = np.column_stack([counts / counts.sum(axis=0), counts.sum(axis=1) / counts.sum()])
    weights = np.append(np.full(counts.shape[1], 1 / counts.shape[1]), 1.0)
    best, best_cost = np.zeros(len(counts), dtype=np.int8), np.inf
    for _ in range(ATTEMPTS):
        placed = _place(shares, weights, ratio, rng)
        sums = np.stack([shares[placed == part].sum(axis=0) for part in range(len(ratio))])
        cost = float(_costs(sums, weights, ratio).sum())
        if cost < best_cost:
            best, best_cost = placed, cost
        if (sums > 0).all():
            break
    return best


def _place(shares: Floats, weights: Floats, ratio: Floats, rng: np.random.Generator) -> Splits:
    """Place the largest groups first, then move single groups while that helps."""
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares[order, -1], kind="stable")]
    placed = np.full(len(shares), -1, dtype=np.int8)
    sums = np.zeros((len(ratio), shares.shape[1]))
    for _ in range(SWEEPS):
        moved = False
        for group in order:
            old = placed[group]
            if old >= 0:
                sums[old] -= shares[group]
            after = _costs(sums + shares[group], weights, ratio)
            gain = _costs(sums, weights, ratio) - after
            new = int(np.argmax(gain))
            if old >= 0 and gain[new] <= gain[old] + 1e-12:
                new = int(old)
            sums[new] += shares[group]
            placed[group] = new
            moved = moved or new != old
        if not moved:
            break
    return placed


def _costs(sums: Floats, weights: Floats, ratio: Floats) -> Floats:
    """(parts, strata + 1) shares to (parts,): how far each part is from what it should hold."""
    wanted = ratio[:, None] / ratio.sum()
    lacking = sums < 1e-9  # not == 0: subtraction leaves rounding errors behind
    distance: Floats = ((sums - wanted) / wanted) ** 2 @ weights + 10.0 * lacking.sum(axis=1)
    return distance
