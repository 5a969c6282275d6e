"""What labels ask for: classes to tell apart, or numbers to predict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuner.data.dataset import Task
from tuner.data.typing import Array, Ints
from tuner.data.validation.numbers.extremes import SENTINELS, stands_apart

Kind = Literal["codes", "a rating scale", "a scale around 0", "a count", "amounts"]

FEWEST_ROWS = 3  # of a class: one for training, validation and test each
FEW_VALUES = 20  # so many classes may be stored as floats
_SCALE = 5  # steps from which on a scale is told from codes
_COUNT = 6  # values from which on a count is


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How labels are read.

    Attributes:
        task: What they ask for.
        kind: What they seem to be; None if they are text, booleans or fractions, which leave no
            doubt.
        doubtful: Whether their owner should be told of the other reading.
    """

    task: Task
    kind: Kind | None
    doubtful: bool


def read_task(values: Array) -> Reading:
    """Decide by the values what labels ask for; `--task` overrules it.

    Text and booleans are classes. Where any number has a fraction, all are numbers to predict.
    Whole numbers are read alike as integers and as floats where the values decide:

    - steps on both sides of 0, from -2 or below, with few gaps, are a scale that is to be
      predicted: codes have no sign;
    - a rating scale, 1 to K (K at least 5) or 0 to 10 without a gap, whose rows gather around one
      value (see `_gathers`), is to be predicted;
    - a count, 6 values or more that gather around one, the rarest in fewer than three rows, so
      that they could be no classes, is to be predicted;
    - otherwise integers are the codes of classes, as custom has it, and so are floats if they are
      few (at most 20), none is below -1, each is in three rows at least, and they do not gather.
      Other floats are amounts, to be predicted.

    A number that usually stands for a missing one, such as -100, and stands apart from the others
    decides nothing.

    Args:
        values: (rows,) those labels that are not missing: numbers, booleans or text.
    """
    if values.dtype.kind in "bU" or len(values) == 0:
        return Reading(task="classification", kind=None, doubtful=False)
    floats = values.dtype.kind == "f"
    if floats and not np.all(np.isfinite(values) & (values == np.rint(values))):
        return Reading(task="regression", kind=None, doubtful=False)
    distinct, rows = _without_marks(*np.unique(values, return_counts=True))
    gathers = _gathers(rows)
    runs = bool(distinct[0] in (0, 1) and distinct[-1] - distinct[0] == len(distinct) - 1)
    scale = runs and ((distinct[0] == 1 and distinct[-1] >= _SCALE) or distinct[-1] == 10)
    few = len(distinct) <= FEW_VALUES
    signed = distinct[0] < -1 and distinct[-1] > 0
    steps = signed and float(distinct[-1]) - float(distinct[0]) < 2 * len(distinct)
    if steps:
        return Reading(task="regression", kind="a scale around 0", doubtful=True)
    if gathers and scale:
        return Reading(task="regression", kind="a rating scale", doubtful=True)
    rare = rows.min() < FEWEST_ROWS and 2 * len(distinct) <= len(values)
    if gathers and rare and len(distinct) >= _COUNT:
        return Reading(task="regression", kind="a count", doubtful=True)
    if floats:
        codes = few and distinct[0] >= -1 and rows.min() >= FEWEST_ROWS and not gathers
        task: Task = "classification" if codes else "regression"
        doubtful = len(distinct) > 1 and (codes or few)
        return Reading(task=task, kind="codes" if codes else "amounts", doubtful=doubtful)
    doubtful = bool(gathers or scale or not (few or runs))
    return Reading(task="classification", kind="codes", doubtful=doubtful)


def _without_marks(distinct: Array, rows: Ints) -> tuple[Array, Ints]:
    """Leave out numbers that stand for a missing one, of distinct ones with their rows."""
    kept = [n not in SENTINELS or not stands_apart(n, distinct) for n in distinct.tolist()]
    return distinct[kept], rows[kept]


def _gathers(rows: Ints) -> bool:
    """Whether rows gather around one value: their numbers rise to a peak and fall, once.

    The numbers of codes have no order, and those of balanced classes no peak. Differences that
    chance makes (three standard errors of a count) are none.

    Args:
        rows: How many rows hold each value, in the order of the values.
    """
    mean, values = rows.mean(), len(rows)
    if values < _SCALE or rows.max() < 1.5 * np.median(rows):
        return False
    # Against equal numbers; chi-squared has mean `values - 1`, variance twice that.
    if ((rows - mean) ** 2).sum() / mean < values + 4 * np.sqrt(2 * values):
        return False
    before, after = np.maximum.accumulate(rows), np.maximum.accumulate(rows[::-1])[::-1]
    around = np.minimum(before, after)
    return not np.any(around - rows > 3 * np.sqrt(around + rows))
