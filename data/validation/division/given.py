"""Checks a split that comes with the data."""

import numpy as np

from tuner.data.dataset import Split
from tuner.data.typing import Array, Ints, Mask, Splits
from tuner.data.validation.division.groups import Groups
from tuner.data.validation.findings import Findings, counted, listing, rows_where
from tuner.data.validation.kinds import unusable_kind
from tuner.data.validation.labels.reading import Labels, has_too_many_classes
from tuner.data.validation.text import read_text

SPLIT_WORDS = {
    word: int(part)
    for part, words in {
        Split.TRAIN: ("train", "training", "0"),
        Split.VALIDATION: ("validation", "valid", "val", "dev", "1"),
        Split.TEST: ("test", "testing", "2"),
    }.items()
    for word in words
}


def read_split(name: str, array: Array, findings: Findings) -> Splits | None:
    """Check the array of splits: (rows,), 0 training, 1 validation, 2 test, or such words."""
    if array.ndim == 1 and array.dtype.kind == "b":  # as numbers, true would be validation
        findings.error(
            f"array {name!r} holds true and false, which do not say what is tested on. Where true "
            f"is a row to train on, save it as numpy.where({name}, 'train', 'test'); where it is "
            f"one held out, as numpy.where({name}, 'test', 'train')."
        )
        return None
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
            f"in {rows_where(other)}: {listing(np.unique(array[other]).tolist())}. Correct them "
            '(words are "train", "validation" and "test"), or leave the array out to have a split '
            "made."
        )
        return None
    return values.astype(np.int8)


def _split_of_words(name: str, array: Array, findings: Findings) -> Ints | None:
    """Read "train", "val" and the like, or the numbers as text; -1 is any other word."""
    words = read_text(name, array, findings)
    if words is None:
        return None
    distinct, codes = np.unique(words, return_inverse=True)
    return np.array([SPLIT_WORDS.get(word.strip().lower(), -1) for word in distinct])[codes]


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
            f"array {array!r} has no {name} rows (none is {int(part)}). Assign some, as "
            f"{int(part)} or {name!r}, or leave the array out to have a split made."
        )
        return
    if labels is None:
        return
    held = labels.y[rows & labels.labelled]
    if len(held) == 0:
        findings.error(
            f"array {array!r} has no labelled {name} rows. Assign some labelled rows, or use "
            "--split none to have a split made."
        )
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
