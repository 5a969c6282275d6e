"""Which labels are missing: one rule, whatever the labels are stored as.

A label is missing where it is masked out or null, and where it is NaN; and where it is marked as
missing: -1 (as an integer, a float or text) and the empty text are marks, unless others are chosen
in their place. Where labels are numbers to predict, -1 is one of them: no marks but chosen ones. So
it is where -2 and 0 are labels, too: -1 is then a step of a scale.
"""

import shlex
from collections.abc import Sequence

import numpy as np

from tuner.data.dataset import Task
from tuner.data.typing import Array, Mask

NOTHING = "none"  # the choice that no label is marked as missing
DEFAULT_MARKS = ("-1", "")  # where labels are classes


def marks_of(chosen: Sequence[str], task: Task, values: Array) -> tuple[str, ...]:
    """Return the marks of missing labels: those chosen, or those of the rule.

    Args:
        chosen: What a user chose.
        task: What the labels ask for.
        values: (rows,) numbers, booleans or text.
    """
    if chosen:
        return tuple(mark for mark in chosen if mark != NOTHING)
    if task == "regression":
        return ()
    is_step = all(is_missing(values, [mark]).any() for mark in ("-2", "0"))
    return ("",) if is_step else DEFAULT_MARKS


def is_missing(values: Array, marks: Sequence[str]) -> Mask:
    """(rows,), True where a label is NaN or one of the marks.

    Args:
        values: (rows,) numbers, booleans or text.
        marks: As a user writes them: "-1" is -1 among integers and among floats.
    """
    if values.dtype.kind == "U":
        return np.isin(values, np.array(marks, dtype=np.str_))
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)
    for number in filter(None, map(_number, marks)):
        missing |= values == number[0]
    return missing


def option(marks: Sequence[str]) -> str:
    """Write the flags that choose marks."""
    return " ".join(f"--missing {shlex.quote(mark)}" for mark in marks)


def _number(mark: str) -> tuple[float] | None:
    try:
        return (float(mark),)
    except ValueError:
        return None
