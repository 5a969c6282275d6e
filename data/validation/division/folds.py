"""Divides the rows that are not validation rows into folds, each of which is tested in turn."""

import numpy as np

from tuner.data.dataset import PairedDataset, Split
from tuner.data.typing import Ints, Splits
from tuner.data.validation.division.splits import grouped_parts, strata_of
from tuner.data.validation.labels.reading import Labels


def fold_numbers(dataset: PairedDataset, folds: int, seed: int) -> Splits:
    """Say in which fold each row is a test row; in the others it is a training row.

    Classes (or tenths of the range of a number) are spread evenly, and rows of one group, or
    copies of each other, stay together. Every fold has as many labelled rows as the others, or one
    more; of groups, as nearly as these allow.

    Args:
        dataset: Divided once: its validation rows are those of every fold.
        folds: How many.
        seed: Where the folds come from.

    Returns:
        (rows,), int8; -1 for rows that no fold tests: validation rows, and those without a label,
        but for rows of a group that is tested, which are not trained on there.
    """
    labels = Labels(y=dataset.y, task=dataset.task, classes=dataset.classes)
    is_divided = dataset.split != Split.VALIDATION
    strata = np.where(is_divided, strata_of(labels), -1)
    if dataset.group is None:
        return _dealt(strata, folds, seed)
    numbers = grouped_parts(strata, dataset.group, (1,) * folds, seed)
    return np.where(is_divided, numbers, np.int8(-1))


def _dealt(strata: Ints, folds: int, seed: int) -> Splits:
    """Deal the rows of one stratum after the other out to the folds, in random order."""
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    order = order[strata[order] >= 0]
    numbers = np.full(len(strata), -1, dtype=np.int8)
    numbers[order] = np.arange(len(order)) % folds
    return numbers


def lacking_class(dataset: PairedDataset, numbers: Splits, folds: int) -> int | str | None:
    """Return a class of which some fold has no training row; None if there is none."""
    classes = dataset.classes or ()
    for fold in range(folds):
        trained = dataset.y[(numbers != fold) & (dataset.split != Split.VALIDATION)]
        lost = np.setdiff1d(np.arange(len(classes)), trained).tolist()
        if lost:
            name: int | str = classes[lost[0]]
            return name
    return None
