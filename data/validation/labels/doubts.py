"""What is doubtful in labels, in words that say what to do: each is a warning, none an error."""

from collections.abc import Sequence

import numpy as np

from tuner.data.dataset import Classes, Task
from tuner.data.typing import Array, Ints, Mask
from tuner.data.validation.findings import Findings, counted, listing
from tuner.data.validation.labels.missing import DEFAULT_MARKS, NOTHING, is_missing, option
from tuner.data.validation.labels.task import Reading
from tuner.data.validation.names import is_missing_name, warn_of_twins
from tuner.data.validation.numbers.extremes import SENTINELS, stands_apart

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
    if suspects := _suspects(values[~missing], task, chosen):
        each = [f"{_shown(suspect)} ({counted(rows, 'row')})" for suspect, rows in suspects]
        usable = [str(suspect) for suspect, _ in suspects if suspect != NOTHING]
        known = [mark for mark in marks if is_missing(values, [mark]).any()]
        mends = [f"use {option([*known, *usable])}"] if usable else []
        if len(usable) < len(suspects):
            mends.append(f"save {NOTHING!r} as an empty text")
        findings.warn(
            f"array {name!r} holds {listing(each, show=str)}, which usually "
            f"{'stands' if len(each) == 1 else 'stand'} for a missing label, and here "
            f"{'counts as a label' if len(each) == 1 else 'count as labels'} like others. "
            f"If {'it is' if len(each) == 1 else 'they are'} missing, {' and '.join(mends)}."
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
    warn_of_twins(name, "classes", classes, rows, findings)
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


def _suspects(present: Array, task: Task, chosen: Sequence[str]) -> list[tuple[int | str, int]]:
    """What usually stands for a missing label, with its number of rows."""
    distinct, rows = np.unique(present, return_counts=True)
    by_choice = chosen if NOTHING not in chosen else ()  # other marks may have been forgotten
    refused = DEFAULT_MARKS if NOTHING in chosen else ()
    if present.dtype.kind == "U":
        named = zip(distinct.tolist(), rows.tolist(), strict=True)
        return [
            (name, n) for name, n in named if _is_suspect(name, by_choice) and name not in refused
        ]
    codes = [c for c in SENTINELS if c != -1 or by_choice or task == "regression"]
    held = [(c, int(rows[distinct == c].sum())) for c in codes if stands_apart(c, distinct)]
    return [(code, count) for code, count in held if count > 1]


def _is_suspect(name: str, chosen: Sequence[str]) -> bool:
    return is_missing_name(name) or bool(chosen and name in DEFAULT_MARKS)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"
