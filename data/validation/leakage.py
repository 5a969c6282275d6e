"""Finds the label among the features: a column that is the label, or was made from it.

Such a column is one of two things. Each class has one value of it: the label itself, other codes of
it, one column of its one-hot form, a group of classes. Or it puts all rows in the order of a label
that hardly repeats: the label in another unit, its logarithm, its rank.
"""

from collections.abc import Sequence

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import row_blocks
from tuner.data.typing import Array, Ints, Mask
from tuner.data.validation.findings import Findings, listing
from tuner.data.validation.labels.reading import Labels

_FEWEST = 10  # rows of other values: fewer may be alike by chance in one of many features
_REPEATS = 4  # rows a value, on average, from which on numbers are compared as classes are
_SAMPLE = 64  # rows that rule out most features


def warn_of_leakage(
    side: Modality, labels: Labels, columns: Sequence[str], findings: Findings
) -> None:
    """Name the features that are the label, or were made from it.

    Args:
        side: A modality. Of numbers (rows, features), each feature is looked at; of all others,
            whole rows.
        labels: Of the same rows.
        columns: What the features are called, if each has a name.
        findings: Where it is said.
    """
    rows = np.flatnonzero(labels.labelled)
    codes, repeat = _codes(labels.y[rows])
    values = side.values.reshape(len(side.values), -1)
    by_feature = side.holds == "numbers" and side.values.ndim == 2
    if repeat:
        found = _one_value_a_class(values, rows, codes, whole=not by_feature)
        how = "all rows of a class hold one value"
    elif by_feature:
        found = _in_order(values, rows[np.argsort(labels.y[rows], kind="stable")])
        how = "all rows stand in the order of the label"
    else:
        return
    if not found:
        return
    if not by_feature:
        findings.warn(
            f"array {side.name!r} is the label in another form, or made from it: all rows of a "
            "class hold the same. If so, a new row would not have it: choose another array."
        )
        return
    _name(side, found, how, columns, findings)


def _name(
    side: Modality, found: Sequence[int], how: str, columns: Sequence[str], findings: Findings
) -> None:
    one = len(found) == 1
    which = f"feature{'' if one else 's'} {listing(found)} (counting from 0)"
    mend = f"as by numpy.delete({side.name}, {list(found)}, axis=1)"
    if len(columns) == side.values.shape[1] > 1:
        which = f"column{'' if one else 's'} {listing([columns[number] for number in found])}"
        mend = "as by a pattern that does not match"
    is_, it = ("is", "it") if one else ("are", "them")
    findings.warn(
        f"array {side.name!r}: {which} {is_} the label in another form, or made from it: {how}. If "
        f"so, a new row would not have {it}: leave {it} out, {mend}."
    )


def _codes(y: Array) -> tuple[Ints, bool]:
    """(rows,): the label's values, numbered, and whether they repeat enough to be compared so."""
    distinct, codes = np.unique(y, return_inverse=True)
    return codes.astype(np.int64), _REPEATS * len(distinct) <= len(y)


def _one_value_a_class(values: Array, rows: Ints, codes: Ints, *, whole: bool) -> list[int]:
    """Columns that have one value in each class, and not the same in all; [0] if whole rows do."""
    firsts = rows[np.unique(codes, return_index=True)[1]]
    columns, sizes = np.arange(values.shape[1]), np.bincount(codes)
    parts: list[Ints | slice] = [_some(len(rows)), *row_blocks(values, len(rows))]
    for part in parts:
        theirs = values[firsts[codes[part]]]
        columns = columns[np.all(values[rows[part]] == theirs, axis=0)[columns]]
        if not len(columns) or (whole and len(columns) < values.shape[1]):
            return []
    if whole:
        kinds = np.unique(values[firsts], axis=0, return_inverse=True)[1]
        return [0] if _tells(kinds, sizes) else []
    return [c for c in columns.tolist() if _tells(_kinds(values[firsts, c]), sizes)]


def _kinds(values: Array) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _tells(kinds: Ints, sizes: Ints) -> bool:
    """Whether classes, of such kinds and sizes, are told apart, each or many rows of some."""
    rows = np.bincount(kinds.reshape(-1), weights=sizes)
    return len(rows) == len(sizes) or bool(len(rows) > 1 and rows.sum() - rows.max() >= _FEWEST)


def _in_order(values: Array, rows: Ints) -> list[int]:
    """Columns that rise or fall all along such rows, and repeat no more than rounding makes."""
    candidates = np.flatnonzero(_are_sorted(values[rows[_some(len(rows))]]))
    found = []
    for column in candidates.tolist():
        held = np.asarray(values[:, column])[rows]
        if _are_sorted(held[:, None])[0] and 2 * len(np.unique(held)) > len(held):
            found.append(column)
    return found


def _are_sorted(values: Array) -> Mask:
    """(columns,): whether numbers never fall, or never rise."""
    steps = np.diff(values.astype(np.float64), axis=0)
    return np.asarray(np.all(steps >= 0, axis=0) | np.all(steps <= 0, axis=0))


def _some(rows: int) -> Ints:
    return np.unique(np.linspace(0, rows - 1, _SAMPLE).astype(np.int64))
