"""Checks what concerns several arrays: lengths, groups and the split."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tuner.data.dataset import Classes, Split
from tuner.data.typing import Array, Ints, Mask, Splits
from tuner.data.validation.findings import Findings, counted, listing, rows_where
from tuner.data.validation.kinds import unusable_kind
from tuner.data.validation.labels.reading import Labels, has_too_many_classes, names_of
from tuner.data.validation.splits import RATIO, grouped_split, stratified_split
from tuner.data.validation.text import read_text

TOLERANCE = 0.05  # share of rows by which a split may miss its ratio before its owner is told
FEW_GROUPS = 10  # fewer tell little of other groups
_SPLIT_WORDS = {
    word: int(part)
    for part, words in {
        Split.TRAIN: ("train", "training", "0"),
        Split.VALIDATION: ("validation", "valid", "val", "dev", "1"),
        Split.TEST: ("test", "testing", "2"),
    }.items()
    for word in words
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Which rows belong together.

    Attributes:
        codes: (rows,), int64 indices into `names`.
        names: The groups as they were, sorted.
    """

    codes: Ints
    names: Classes


def check_lengths(arrays: Mapping[str, Array], findings: Findings) -> bool:
    """Check that all arrays have the same number of rows."""
    lengths = {name: array.shape[0] for name, array in arrays.items() if array.ndim > 0}
    if len(set(lengths.values())) <= 1:
        return True
    each = ", ".join(f"{name!r} has {counted(rows, 'row')}" for name, rows in lengths.items())
    findings.error(
        f"lengths differ: {each}. Row i of every array has to be the same sample; "
        "drop or add rows until they match."
    )
    return False


def read_groups(name: str, array: Array, findings: Findings) -> Groups | None:
    """Check the array of groups: (rows,), whole numbers or text."""
    holds = unusable_kind(array, "biufUS") or _broken_number(array)
    if holds:
        findings.error(f"array {name!r} holds {holds}.")
    if array.ndim != 1:
        findings.error(
            f"array {name!r} has shape {array.shape}, where one value a row, (rows,), is wanted."
        )
    if holds or array.ndim != 1:
        return None
    values = read_text(name, array, findings) if array.dtype.kind in "US" else array
    if values is None:
        return None
    distinct, codes = np.unique(values, return_inverse=True)
    return Groups(codes=codes.astype(np.int64), names=names_of(distinct))


def _broken_number(array: Array) -> str | None:
    """Say what keeps numbers from being those of groups."""
    if array.dtype.kind != "f":
        return None
    if (missing := np.isnan(array)).any():
        return (
            f"no number in {rows_where(missing)}. Give each row that is in no group a number of "
            "its own, or drop these rows from every array"
        )
    if (broken := array != np.rint(array)).any():
        return f"fractions in {rows_where(broken)}; save it as integers or text"
    return None


def read_split(name: str, array: Array, findings: Findings) -> Splits | None:
    """Check the array of splits: (rows,), 0 training, 1 validation, 2 test, or such words."""
    if array.ndim != 1 or (holds := unusable_kind(array, "iufUS")):
        what = f"has shape {array.shape}" if array.ndim != 1 else f"holds {holds}"
        findings.error(
            f"array {name!r} {what.rstrip('.')}. It has to be one value a row: "
            "0 for training, 1 for validation, 2 for test, or such words."
        )
        return None
    values = _split_of_words(name, array, findings) if array.dtype.kind in "US" else array
    if values is None:
        return None
    if (other := ~np.isin(values, [int(split) for split in Split])).any():
        findings.error(
            f"array {name!r} holds values other than 0 (training), 1 (validation) and 2 (test) "
            f"in {rows_where(other)}. Correct them, or leave the array out to have a split made."
        )
        return None
    return values.astype(np.int8)


def _split_of_words(name: str, array: Array, findings: Findings) -> Ints | None:
    """Read "train", "val" and the like, or the numbers as text; -1 is any other word."""
    words = read_text(name, array, findings)
    if words is None:
        return None
    distinct, codes = np.unique(words, return_inverse=True)
    return np.array([_SPLIT_WORDS.get(word.strip().lower(), -1) for word in distinct])[codes]


def check_given_split(
    name: str, split: Splits, labels: Labels | None, groups: Groups | None, findings: Findings
) -> None:
    """Check that a given split, in the array of that name, can be trained, chosen and tested on."""
    if groups is not None:
        _check_straddling(name, split, groups, findings)
    for part in Split:
        _check_part(name, part, split == part, labels, findings)


def _check_part(
    array: str, part: Split, rows: Mask, labels: Labels | None, findings: Findings
) -> None:
    name = part.name.lower()
    if not rows.any():
        findings.error(
            f"array {array!r} has no {name} rows (none is {int(part)}). Assign some, or leave the "
            "array out to have a split made."
        )
        return
    if labels is None:
        return
    held = labels.y[rows & labels.labelled]
    if len(held) == 0:
        findings.error(f"array {array!r} has no labelled {name} rows. Assign some labelled rows.")
    elif labels.classes is not None and not has_too_many_classes(labels):
        lacking = np.setdiff1d(np.arange(len(labels.classes)), held).tolist()
        if lacking:
            findings.error(
                f"array {array!r} has no labelled {name} rows of class "
                f"{listing([labels.classes[code] for code in lacking])}. Every class has to be in "
                "training, validation and test; move rows, or leave the array out."
            )


def _check_straddling(name: str, split: Splits, groups: Groups, findings: Findings) -> None:
    seen = np.zeros((len(groups.names), len(Split)), dtype=np.bool_)
    seen[groups.codes, split] = True
    straddling = np.flatnonzero(seen.sum(axis=1) > 1)
    if len(straddling):
        first = straddling[0]
        parts = " and ".join(part.name.lower() for part in Split if seen[first, part])
        number = counted(len(straddling), "group is", "groups are")
        findings.error(
            f"{number} in more than one split (first: {groups.names[first]!r}, in {parts}), which "
            f"lets test rows leak into training. Correct {name!r}, or leave it out."
        )


def warn_of_few_groups(split: Splits, labels: Labels, groups: Groups, findings: Findings) -> None:
    """Note where validation or test rows are of too few groups to tell much of others."""
    lost = {
        Split.VALIDATION: "the best λ may then be any",
        Split.TEST: "there is then no interval of the gain, and no verdict can be to align",
    }
    few = []
    for part, without in lost.items():
        held = np.unique(groups.codes[(split == part) & labels.labelled])
        if len(held) == 1:
            findings.warn(
                f"labelled {part.name.lower()} rows are all of one group "
                f"({groups.names[held[0]]!r}), which tells nothing of other groups: {without}. "
                f"Add groups, or give more of them to that split by an array 'split'."
            )
        elif len(held) < FEW_GROUPS:
            few.append(f"{part.name.lower()} rows are of {len(held)} groups")
    if few:
        findings.warn(
            f"labelled {' and '.join(few)}. Intervals are over groups, because rows of one group "
            f"are not independent, and with fewer than {FEW_GROUPS} they are wide. More groups "
            "narrow them; more rows of the same groups hardly do."
        )


def make_split(
    labels: Labels, groups: Groups | None, seed: int, findings: Findings
) -> Splits | None:
    """Split rows where no split is given, or note why it cannot be done."""
    if has_too_many_classes(labels):
        return None
    if not _check_divisible(labels, groups, findings):
        return None
    if groups is None:
        return stratified_split(labels, seed)
    split = grouped_split(labels, groups.codes, seed)
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


def _lacking_classes(labels: Labels, rows: Mask) -> list[int | str]:
    if labels.classes is None:
        return [] if (rows & labels.labelled).any() else ["any label"]
    codes = np.setdiff1d(np.arange(len(labels.classes)), labels.y[rows])
    return [labels.classes[code] for code in codes]


def _check_divisible(labels: Labels, groups: Groups | None, findings: Findings) -> bool:
    """Check that every class has enough rows, or groups, to be in every split."""
    codes = labels.y if labels.classes is not None else np.where(labels.labelled, 0, -1)
    names = labels.classes if labels.classes is not None else ("any label",)
    rows = np.flatnonzero(labels.labelled)
    units = rows if groups is None else groups.codes[rows]
    pairs = np.unique(np.stack([codes[rows].astype(np.int64), units], axis=1), axis=0)
    numbers = np.bincount(pairs[:, 0], minlength=len(names))
    small = np.flatnonzero(numbers < len(Split)).tolist()
    if not small:
        return True
    unit = "labelled row" if groups is None else "group"
    each = [f"{names[code]!r} ({counted(int(numbers[code]), unit)})" for code in small]
    findings.error(
        f"{counted(len(small), 'class is', 'classes are')} too small to be in training, validation "
        f"and test: {listing(each, show=str)}. Each needs three {unit}s at least; add rows, merge "
        f"classes, or mark their labels as missing. {labels.as_numbers}".rstrip()
    )
    return False


def _warn_of_ratio(split: Splits, findings: Findings) -> None:
    shares = np.bincount(split, minlength=len(Split)) / len(split)
    if np.abs(shares - np.array(RATIO) / 100).max() > TOLERANCE:
        is_, wanted = ("/".join(f"{p:.0f}" for p in parts) for parts in (100 * shares, RATIO))
        findings.warn(
            f"whole groups can be split no nearer to {wanted} % of the labelled rows than {is_} %."
        )
