"""Divides rows into folds: those that are tested in turn, and those that are validated in turn."""

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


def validation_numbers(dataset: PairedDataset, folds: int, seed: int) -> Splits:
    """Say in which fold each row is a validation row; in the others it is a training row.

    The first fold has the validation rows of the split. Those of the others are taken out of its
    training rows, as many and spread as evenly: so every fold trains on about as many rows as the
    split does, and test rows are the same in all.

    Args:
        dataset: Divided once.
        folds: How many.
        seed: Where the folds come from.

    Returns:
        (rows,), int8; -1 for rows that are validation rows of no fold: test rows, training rows
        that are left, and those without a label, but for rows of a group that is validated.
    """
    labels = Labels(y=dataset.y, task=dataset.task, classes=dataset.classes)
    train, validation = (dataset.split == part for part in (Split.TRAIN, Split.VALIDATION))
    sizes = [int((dataset.labelled & rows).sum()) for rows in (train, validation)]
    parts = max(folds - 1, round(sizes[0] / sizes[1]))
    strata = np.where(train, strata_of(labels), -1)
    if dataset.group is None:
        numbers = _dealt(strata, parts, seed)
    else:
        numbers = grouped_parts(strata, dataset.group, (1,) * parts, seed)
    is_taken = train & (numbers >= 0) & (numbers < folds - 1)
    return np.where(is_taken, numbers + 1, np.where(validation, 0, -1)).astype(np.int8)


def _dealt(strata: Ints, folds: int, seed: int) -> Splits:
    """Deal the rows of one stratum after the other out to the folds, in random order."""
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    order = order[strata[order] >= 0]
    numbers = np.full(len(strata), -1, dtype=np.int8)
    numbers[order] = np.arange(len(order)) % folds
    return numbers


def unvalidated_class(dataset: PairedDataset, numbers: Splits, folds: int) -> int | str | None:
    """Return a class of which some fold has no validation row; None if there is none."""
    classes = dataset.classes or ()
    for fold in range(folds):
        lost = np.setdiff1d(np.arange(len(classes)), dataset.y[numbers == fold]).tolist()
        if lost:
            name: int | str = classes[lost[0]]
            return name
    return None


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
