"""Makes a split where none comes with the data, and keeps together what belongs together."""

from dataclasses import replace
from typing import Any

import numpy as np

from tuner.data.dataset import Split
from tuner.data.typing import Ints, Mask, Splits
from tuner.data.validation.division.copies import together
from tuner.data.validation.division.groups import Groups
from tuner.data.validation.division.splits import RATIO, grouped_split, stratified_split
from tuner.data.validation.findings import Findings, counted, listing
from tuner.data.validation.labels.reading import (
    MIN_LABELLED_ROWS,
    Labels,
    has_too_many_classes,
)

TOLERANCE = 0.05  # share of rows by which a split may miss its ratio before its owner is told


def make_split(
    labels: Labels, groups: Groups | None, copies: Ints | None, seed: int, findings: Findings
) -> Splits | None:
    """Split rows where no split is given, or note why it cannot be done.

    Args:
        labels: What is to be spread evenly.
        groups: Which rows belong together.
        copies: (rows,), equal for rows that are copies of each other and stay together, too.
        seed: Where the split comes from.
        findings: Where faults are noted.
    """
    if has_too_many_classes(labels):
        return None
    if not _check_divisible(labels, groups, findings):
        return None
    if groups is None:
        return stratified_split(labels, seed) if copies is None else _split_of(copies, labels, seed)
    whole = groups.codes if copies is None else together(copies, groups.codes)
    split = grouped_split(labels, whole, seed)
    lacking = [
        f"{part.name.lower()} ({listing(names)})"
        for part in Split
        if (names := _lacking_classes(labels, split == part))
    ]
    if lacking:
        findings.error(
            "no way was found to keep groups whole and have every class in every split; without "
            f"rows of a class are {' and '.join(lacking)}. Use smaller groups, or give a 'split'."
        )
    _warn_of_ratio(split[labels.labelled], findings)
    return split


def completed(
    split: Splits,
    labels: Labels,
    groups: Groups | None,
    copies: Ints | None,
    seed: int,
    findings: Findings,
    *,
    array: str | None,
) -> Splits | None:
    """Complete a split in two, and say so, or note why it cannot be; return others as they are.

    What a split in two holds out, by whatever name, is tested on; validation rows are taken out of
    the training rows. Arguments are those of `make_split`, the split (rows,), and the array that
    it comes from, or None where it comes from the names of files, which is always said.
    """
    held = [part for part in Split if (split == part).any()]
    sizes = ", ".join(f"{int((split == part).sum()):,} {part.name.lower()}" for part in held)
    in_two = len(held) == 2 and Split.TRAIN in held
    taken = "; those of validation are tested on" if held[-1] is Split.VALIDATION else ""
    taken += "; validation rows are taken out of the training rows" if in_two else ""
    if in_two or array is None:
        source = "the names of their files say" if array is None else f"array {array!r} says"
        findings.warn(
            f"rows are split as {source} ({sizes}){taken}. Use --split none to have all rows "
            "split here."
        )
    if not in_two:
        return split
    rows = np.flatnonzero(split == Split.TRAIN)
    made = _split_of_some(rows, labels, groups, copies, seed, findings)
    if made is None:
        return None
    parts = np.full(len(split), Split.TEST, dtype=np.int8)
    parts[rows] = np.where(made == Split.VALIDATION, Split.VALIDATION, Split.TRAIN)
    return parts


def _split_of_some(
    rows: Ints,
    labels: Labels,
    groups: Groups | None,
    copies: Ints | None,
    seed: int,
    findings: Findings,
) -> Splits | None:
    """Split some rows as if there were no others."""
    labels = replace(labels, y=labels.y[rows])
    if groups is not None:
        held, codes = np.unique(groups.codes[rows], return_inverse=True)
        names: Any = tuple(groups.names[number] for number in held.tolist())
        groups = Groups(codes=codes.astype(np.int64), names=names)
    if copies is not None:
        copies = np.unique(copies[rows], return_inverse=True)[1].astype(np.int64)
        copies = kept_together(copies, labels, groups)
    return make_split(labels, groups, copies, seed, findings)


def _split_of(copies: Ints, labels: Labels, seed: int) -> Splits:
    """Split one row of each set of copies; the others follow.

    Where copies differ in their label and too few of those rows have a class, split whole sets.
    """
    first = _of_first(copies, labels)
    if _too_few(first, np.arange(len(first.y)))[0].size:
        return grouped_split(labels, copies, seed)
    return stratified_split(first, seed)[copies]


def _of_first(copies: Ints, labels: Labels) -> Labels:
    """Labels of the first row of each set of copies, of the first labelled one if there is any."""
    order = np.argsort(~labels.labelled, kind="stable")
    return replace(labels, y=labels.y[order[np.unique(copies[order], return_index=True)[1]]])


def kept_together(copies: Ints, labels: Labels, groups: Groups | None) -> Ints | None:
    """Return which copies can share a split, so that every split has enough rows and every class.

    Args:
        copies: (rows,), equal for rows that are copies.
        labels: What has to be in every split.
        groups: Those that copies link.

    Returns:
        (rows,), equal for rows that stay together: copies, but for those of classes that have fewer
        samples than there are splits. None if too few samples would be left.
    """
    if groups is not None:
        linked = together(copies, groups.codes)
        return None if _too_few(labels, linked)[0].size else copies
    if int(_of_first(copies, labels).labelled.sum()) < MIN_LABELLED_ROWS:
        return None
    small, _ = _too_few(labels, copies)
    if labels.classes is None or not small.size:
        return copies
    alone = np.isin(labels.y, small)
    numbers = np.where(alone, len(copies) + np.arange(len(copies)), copies)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _lacking_classes(labels: Labels, rows: Mask) -> list[int | str]:
    if labels.classes is None:
        return [] if (rows & labels.labelled).any() else ["any label"]
    codes = np.setdiff1d(np.arange(len(labels.classes)), labels.y[rows])
    return [labels.classes[code] for code in codes]


def _check_divisible(labels: Labels, groups: Groups | None, findings: Findings) -> bool:
    """Check that every class has enough rows, or groups, to be in every split."""
    units = np.arange(len(labels.y)) if groups is None else groups.codes
    small, numbers = _too_few(labels, units)
    names = labels.classes if labels.classes is not None else ("any label",)
    if not small.size:
        return True
    unit = "labelled row" if groups is None else "group"
    each = [f"{names[code]!r} ({counted(int(numbers[code]), unit)})" for code in small.tolist()]
    mend = (
        f"add rows, merge classes, or mark their labels as missing. {labels.as_numbers}"
        if groups is None
        else f"of {counted(len(groups.names), 'group')} in all, each lies in one split. "
        "Use smaller groups, or leave them out if rows are independent of each other."
    )
    findings.error(
        f"{counted(len(small), 'class is', 'classes are')} too small to be in training, validation "
        f"and test: {listing(each, show=str)}. Each needs three {unit}s at least; {mend}".rstrip()
    )
    return False


def _too_few(labels: Labels, units: Ints) -> tuple[Ints, Ints]:
    """Return the classes of fewer units than there are splits, and the units of every class.

    A unit is a row, or the rows that stay together; one counts for each class that it has.
    """
    codes = labels.y if labels.classes is not None else np.where(labels.labelled, 0, -1)
    rows = np.flatnonzero(labels.labelled)
    pairs = np.unique(np.stack([codes[rows].astype(np.int64), units[rows]], axis=1), axis=0)
    classes = 1 if labels.classes is None else len(labels.classes)
    numbers = np.bincount(pairs[:, 0], minlength=classes)
    return np.flatnonzero(numbers < len(Split)), numbers


def _warn_of_ratio(split: Splits, findings: Findings) -> None:
    shares = np.bincount(split, minlength=len(Split)) / len(split)
    if np.abs(shares - np.array(RATIO) / 100).max() > TOLERANCE:
        is_, wanted = ("/".join(f"{p:.0f}" for p in parts) for parts in (100 * shares, RATIO))
        findings.warn(
            f"whole groups can be split no nearer to {wanted} % of the labelled rows than {is_} %."
        )
