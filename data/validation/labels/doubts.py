"""What is doubtful in labels, in words that say what to do: each is a warning, none an error."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tuner.data.dataset import Classes, Task
from tuner.data.typing import Array, Ints, Mask
from tuner.data.validation.findings import Findings, counted, listing
from tuner.data.validation.labels.missing import NOTHING, is_missing, option
from tuner.data.validation.labels.task import Reading

# Lower case: what programs write where a text is missing, and what stands for "ignore" in masks.
_MISSING_NAMES = {"nan", "none", "null", "<na>", "na", "n/a", "#n/a", "nat", "undefined", "?", ""}
_MISSING_CODES = (-100, 255)
_SENTINELS = (-1, -9, -99, -100, -999, -9999, 999, 9999, 99999)
_SHARE = 10  # one row in so many without a label is worth a word
_MAJORITY = 0.8
_FEW_ROWS = 10  # fewer leave a test split one row of a class
_RARE = 0.1  # of an equal share


def warn_of_reading(name: str, reading: Reading, values: Array, findings: Findings) -> None:
    """Say how whole numbers are read where they may be meant otherwise.

    Args:
        name: Name of the array.
        reading: What was decided.
        values: (rows,) the labels that are not missing.
        findings: Where it is said.
    """
    if not reading.doubtful:
        return
    distinct = np.unique(values)
    held = listing([int(value) for value in distinct])
    if reading.task == "classification":
        as_floats = " stored as floats" if values.dtype.kind == "f" else ""
        findings.warn(
            f"array {name!r} holds {len(distinct)} different whole numbers{as_floats} ({held}), "
            "read as classes. If they are amounts, such as a count or a rating, use "
            "--task regression."
        )
        return
    seem = "" if reading.kind == "amounts" else f" that look like {reading.kind}"
    findings.warn(
        f"array {name!r} holds {len(distinct)} different whole numbers{seem} ({held}), read as "
        "numbers to predict. If they are classes, use --task classification."
    )


def warn_of_missing(
    name: str, values: Array, missing: Mask, marked: Mask, task: Task, findings: Findings
) -> None:
    """Say how many labels are missing if that is much, or if -1 stands beside 1.

    Args:
        name: Name of the array.
        values: (rows,) numbers or text.
        missing: (rows,) True where there is no label.
        marked: (rows,) True where that is because of a mark that nobody chose.
        task: What the labels ask for.
        findings: Where it is said.
    """
    held = np.unique(values[marked]).tolist()
    signs = bool(held) and any(np.any(values[~missing] == one) for one in (1, "1"))
    signs = signs and task == "classification" and held != [""]
    if not missing.any() or not (signs or _SHARE * int(missing.sum()) >= len(values)):
        return
    because = f" because they hold {listing(held, show=_shown)}" if held else ""
    meant = "it is a label" if len(held) == 1 else "these are labels"
    mend = f" If {meant} like others, use --missing {NOTHING}." if held else ""
    findings.warn(
        f"array {name!r}: {int(missing.sum()):,} of {counted(len(values), 'row')} count as "
        f"unlabelled{because}; they serve the alignment alone.{mend}"
    )


def warn_of_marks(
    name: str,
    values: Array,
    missing: Mask,
    marks: Sequence[str],
    chosen: Sequence[str],
    task: Task,
    findings: Findings,
) -> None:
    """Say what stands among the labels that may be meant as missing, and which mark does not.

    Args:
        name: Name of the array.
        values: (rows,) numbers or text.
        missing: (rows,) True where there is no label.
        marks: What marks a missing label.
        chosen: Those that a user chose.
        task: What the labels ask for.
        findings: Where it is said.
    """
    if suspects := _suspects(values[~missing], task):
        each = [f"{_shown(suspect)} ({counted(rows, 'row')})" for suspect, rows in suspects]
        usable = [str(suspect) for suspect, _ in suspects if suspect != NOTHING]
        known = [mark for mark in marks if is_missing(values, [mark]).any()]
        mends = [f"use {option([*known, *usable])}"] if usable else []
        if len(usable) < len(suspects):
            mends.append(f"save {NOTHING!r} as an empty text")
        findings.warn(
            f"array {name!r} holds {listing(each, show=str)}, which usually "
            f"{'stands' if len(each) == 1 else 'stand'} for a missing label, and here counts as a "
            f"label like others. If it is missing, {' and '.join(mends)}."
        )
    for mark in chosen:
        if mark != NOTHING and not is_missing(values, [mark]).any():
            findings.warn(f"array {name!r} holds no {mark!r}: {option([mark])} changes nothing.")


def warn_of_classes(name: str, y: Ints, classes: Classes, findings: Findings) -> None:
    """Name classes that differ in case or blanks alone, rare ones, and one that outweighs all.

    Args:
        name: Name of the array.
        y: (rows,) indices into `classes`, -1 without a label.
        classes: At least two.
        findings: Where it is said.
    """
    rows = np.bincount(y[y >= 0], minlength=len(classes))
    twins = defaultdict(list)
    for label, count in zip(classes, rows.tolist(), strict=True):
        twins[_plain(label)].append(f"{label!r} ({counted(count, 'row')})")
    if near := [listing(group, show=str) for group in twins.values() if len(group) > 1]:
        findings.warn(
            f"array {name!r} has classes whose names differ only in case, blanks or the way they "
            f"are written: {'; '.join(near[:8])}. If they are the same, write them alike."
        )
    largest, total = int(rows.argmax()), int(rows.sum())
    if rows[largest] > _MAJORITY * total:
        share = rows[largest] / total
        findings.warn(
            f"array {name!r}: {classes[largest]!r} is the class of {int(rows[largest]):,} of "
            f"{counted(total, 'labelled row')} ({100 * share:.0f} %), so that always guessing it "
            f"has an accuracy of {share:.2f}, whatever the others. Use --metric balanced_accuracy."
        )
    rare = np.flatnonzero((rows < _FEW_ROWS) | (rows < _RARE * total / len(rows))).tolist()
    if rare:
        each = [f"{classes[code]!r} ({counted(int(rows[code]), 'row')})" for code in rare]
        findings.warn(
            f"array {name!r} has {counted(len(rare), 'rare class', 'rare classes')}: "
            f"{listing(each, show=str)}. Accuracy hardly counts them, and few of their rows are "
            "tested on. Use --metric balanced_accuracy, add rows of them, or merge classes."
        )


def _suspects(present: Array, task: Task) -> list[tuple[int | str, int]]:
    """What usually stands for a missing label, with its number of rows."""
    distinct, rows = np.unique(present, return_counts=True)
    if present.dtype.kind == "U":
        named = zip(distinct.tolist(), rows.tolist(), strict=True)
        return [(name, n) for name, n in named if name.strip().lower() in _MISSING_NAMES]
    if task == "classification":
        codes = [code for code in _MISSING_CODES if not np.any(distinct == code - 1)]
    else:
        codes = [code for code in _SENTINELS if _stands_apart(code, distinct)]
    held = [(code, int(rows[distinct == code].sum())) for code in codes]
    return [(code, n) for code, n in held if n > (0 if task == "classification" else 1)]


def _stands_apart(value: float, distinct: Array) -> bool:
    """Whether a value lies farther from all others than these from each other."""
    others = distinct[distinct != value].astype(np.float64)
    if len(others) < 2 or len(others) == len(distinct):
        return False
    return bool(np.abs(others - value).min() > np.ptp(others))


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _plain(label: object) -> str:
    """What near twins have in common: "Cat " and "cat", "1" and "1.0"."""
    text = " ".join(unicodedata.normalize("NFKC", str(label)).split()).casefold()
    try:
        return repr(float(text))
    except ValueError:
        return text
