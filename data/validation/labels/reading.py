"""Checks the labels, and turns them into codes (classification) or numbers (regression)."""

import re
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Classes, Task
from tuner.data.options import DataOptions
from tuner.data.typing import Array, Mask
from tuner.data.validation.findings import Findings, counted, listing, rows_where
from tuner.data.validation.kinds import AS_DAYS, unusable_kind
from tuner.data.validation.labels.doubts import (
    warn_of_classes,
    warn_of_marks,
    warn_of_missing,
    warn_of_reading,
)
from tuner.data.validation.labels.missing import is_missing, marks_of
from tuner.data.validation.labels.task import read_task
from tuner.data.validation.numbers.extremes import warn_of_far_targets
from tuner.data.validation.numbers.precision import precision_of
from tuner.data.validation.text import read_text

# 15 % of fewer rows is under five: a score on those says nothing, whatever λ.
MIN_LABELLED_ROWS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Checked labels.

    Attributes:
        y: (rows,). Classification: int64 indices into `classes`, -1 without a label.
            Regression: float32, or float64 (see `tuner.data.validation.numbers.precision`), NaN
            without a label.
        task: What the labels ask for.
        classes: The labels as they were, sorted; None in regression.
        name: Name of the array.
    """

    y: Array
    task: Task
    classes: Classes | None
    name: str = "y"

    @property
    def labelled(self) -> Mask:
        """(rows,), True where there is a label."""
        return np.logical_not(np.isnan(self.y) if self.classes is None else self.y < 0)

    @property
    def as_numbers(self) -> str:
        """A sentence on how to have classes taken for numbers to predict; "" if they are names."""
        if not self.classes:
            return ""
        if not isinstance(self.classes[0], str):
            return "If they are amounts, use --task regression. "
        return _as_numbers(self.name, self.classes, has_empty=not self.labelled.all())


def read_labels(
    name: str,
    array: Array,
    options: DataOptions,
    findings: Findings,
) -> Labels | None:
    """Check the labels.

    Args:
        name: Name of the array.
        array: (rows,) numbers, booleans or text; may be a masked array.
        options: What they ask for (by `read_task` if that is `auto`), and what marks a missing
            one: see `tuner.data.validation.labels.missing`.
        findings: Where faults and doubts are noted.

    Returns:
        The labels, or None if a fault was noted.
    """
    before, missing = len(findings.errors), options.missing
    _check_form(name, array, findings)
    if len(findings.errors) > before:
        return None
    masked = np.ma.getmaskarray(array)
    values = np.asarray(np.ma.getdata(array))
    if values.dtype.kind in "US":
        text = read_text(name, values, findings)
        if text is None:
            return None
        values = text
    task = (
        options.task if options.task != "auto" else _guess(name, values, masked, missing, findings)
    )
    marks = marks_of(missing, task, values[~masked])
    absent = masked | is_missing(values, marks)
    read = _regression if task == "regression" else _classification
    labels = read(name, values, absent, findings)
    if labels is None:
        return None
    marked = is_missing(values, () if missing else marks) & ~(masked | is_missing(values, ()))
    warn_of_missing(name, values, absent, marked, task, findings)
    warn_of_marks(name, values, absent, marks, missing, task, findings)
    _check_enough(name, labels, findings)
    if len(findings.errors) > before:
        return None
    if labels.classes is not None:
        warn_of_classes(name, labels.y, labels.classes, findings)
    else:
        warn_of_far_targets(name, labels.y, findings)
    return labels


def _check_form(name: str, array: Array, findings: Findings) -> None:
    if holds := unusable_kind(array, "biufUS"):
        findings.error(f"array {name!r} holds {holds}.")
    if array.ndim != 1:
        mend = "Save one number or text a row"
        if array.ndim == 2 and array.shape[1] == 1:
            mend = f"Save it as {name}[:, 0]"
        elif array.ndim == 2 and array.shape[0] == 1:
            mend = f"Save it as {name}[0]"
        elif array.ndim == 2:
            mend += f"; if it is one-hot, save {name}.argmax(axis=1), or where rows may be empty "
            mend += f"(no label), numpy.where({name}.any(axis=1), {name}.argmax(axis=1), -1)"
        findings.error(
            f"array {name!r} has shape {array.shape}, where one value a row, (rows,), is wanted. "
            f"{mend}."
        )


def _guess(
    name: str, values: Array, masked: Mask, missing: Sequence[str], findings: Findings
) -> Task:
    marks = marks_of(missing, "classification", values[~masked])
    present = values[~(masked | is_missing(values, marks))]
    reading = read_task(present)
    warn_of_reading(name, reading, present, findings)
    return reading.task


def _regression(name: str, values: Array, absent: Mask, findings: Findings) -> Labels | None:
    if values.dtype.kind == "U":
        saved = _as_numbers(name, np.unique(values), has_empty=bool((values == "").any()))
        findings.error(
            f"array {name!r} holds text, and regression wants numbers. "
            f"{saved or 'Save it as numbers, or use --task classification.'}"
        )
        return None
    with np.errstate(over="ignore"):  # what overflows is reported as infinite
        y = values.astype(_precision_of(values[~absent]))
        y[absent] = np.nan
        infinite = np.isinf(y.astype(np.float32))
    if infinite.any():
        findings.error(
            f"array {name!r} holds infinite labels (or beyond 3.4e38) in {rows_where(infinite)}. "
            "Correct them; NaN stands for a missing label."
        )
        return None
    return Labels(y=y, task="regression", classes=None, name=name)


def _precision_of(targets: Array) -> npt.DTypeLike:
    """Return the type of targets: outliers do not hide that the others lie close together."""
    if not np.isfinite(targets).any() or np.can_cast(targets.dtype, np.float32):
        return np.float32
    low, high = np.quantile(targets[np.isfinite(targets)], (0.05, 0.95))
    middle = targets[(targets >= low) & (targets <= high)]
    types = (precision_of(part[:, None]) for part in (targets, middle))
    return np.float64 if np.float64 in types else np.float32


def _classification(name: str, values: Array, absent: Mask, findings: Findings) -> Labels | None:
    if values.dtype.kind == "f" and not _are_whole(name, values, absent, findings):
        return None
    distinct, codes = np.unique(values[~absent], return_inverse=True)
    y = np.full(len(values), -1, dtype=np.int64)
    y[~absent] = codes
    return Labels(y=y, task="classification", classes=names_of(distinct), name=name)


def names_of(distinct: Array) -> Classes:
    """Return the elements of an array of text or whole numbers as Python's own str or int."""
    if distinct.dtype.kind == "U":
        return tuple(str(name) for name in distinct.tolist())
    return tuple(int(name) for name in distinct.tolist())


def _as_numbers(array: str, texts: Collection[str], *, has_empty: bool) -> str:
    """A sentence on how to save numbers or dates that are stored as text; "" if they are none."""
    name = f"numpy.where({array} == '', 'nan', {array})" if has_empty else array
    present = np.array([text for text in texts if text], dtype=np.str_)
    for saved, cleaned in (
        (name, present),
        (f"numpy.char.rstrip({name}, '%')", np.char.rstrip(present, "%")),
        (f"numpy.char.lstrip({name}, '$€£')", np.char.lstrip(present, "$€£")),
        (f"numpy.char.replace({name}, ',', '.')", np.char.replace(present, ",", ".")),
        (f"numpy.char.replace({name}, ',', '')", np.char.replace(present, ",", "")),
    ):
        with suppress(ValueError):
            cleaned.astype(np.float64)
            return f"These are numbers stored as text: save {saved}.astype(float). "
    return _as_dates(array, present)


def _as_dates(name: str, texts: Array) -> str:
    """A sentence on how to save dates that are stored as text; "" if they are none."""
    if not all(re.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d", text) for text in texts.tolist()):
        return ""
    import pandas as pd

    options: list[dict[str, Any]] = [{}, {"dayfirst": True}, {"format": "mixed"}]
    for how in options:
        with suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the format, which it guesses
            pd.to_datetime(pd.Series(texts), utc=True, **how)
            also = "".join(f", {option}={value!r}" for option, value in how.items())
            advice = AS_DAYS.replace("(x)", f"({name})").replace("utc=True", f"utc=True{also}")
            return f"These are dates stored as text: save {advice}. "
    return ""


def _are_whole(name: str, values: Array, absent: Mask, findings: Findings) -> bool:
    broken = ~(absent | (np.isfinite(values) & (values == np.rint(values))))
    if not broken.any():
        return True
    findings.error(
        f"array {name!r} holds labels that are not whole numbers in {rows_where(broken)}, so they "
        "cannot be classes. Use --task regression, or save the classes as integers or text."
    )
    return False


def _check_enough(name: str, labels: Labels, findings: Findings) -> None:
    number = int(labels.labelled.sum())
    if number == 0:
        findings.error(
            f"array {name!r} has no label in any of its {counted(len(labels.y), 'row')}. Labels "
            "are missing where they are -1, empty (text), NaN, or what --missing names; some are "
            f"needed, at least {MIN_LABELLED_ROWS}."
        )
        return
    if number < MIN_LABELLED_ROWS:
        findings.error(
            f"array {name!r} has {counted(number, 'labelled row')}, too few: at least "
            f"{MIN_LABELLED_ROWS} are needed to train, choose and test on. Add labelled rows."
        )
    if labels.classes is None:
        _check_spread(name, labels, findings)
    else:
        _check_classes(name, labels, labels.classes, number, findings)


def _check_spread(name: str, labels: Labels, findings: Findings) -> None:
    values = labels.y[labels.labelled]
    if len(values) > 1 and values.min() == values.max():
        findings.error(
            f"array {name!r} has the same value, {values[0]:g}, in every labelled row, so there "
            "is nothing to predict. Check how it was made."
        )


def _check_classes(
    name: str, labels: Labels, classes: Classes, number: int, findings: Findings
) -> None:
    if len(classes) == 1:
        hint = ""
        if (labels.y < 0).any():
            hint = (
                " (-1 means that a label is missing, and so does an empty text; if it is a class, "
                "use --missing none)"
            )
        findings.error(
            f"array {name!r} has only one class, {listing(classes)}, so there is nothing to tell "
            f"apart{hint}. Save at least two classes."
        )
    elif has_too_many_classes(labels):
        other = "Choose another label with --y."
        if labels.as_numbers:
            other = "Or choose another label with --y."
        findings.error(
            f"array {name!r} has {len(classes):,} classes in {counted(number, 'labelled row')}: "
            "these are numbers to predict or identifiers rather than classes. "
            f"{labels.as_numbers}{other}"
        )


def has_too_many_classes(labels: Labels) -> bool:
    """Whether labels hold more classes than every second labelled row could be."""
    return labels.classes is not None and 2 * len(labels.classes) > int(labels.labelled.sum()) > 2
