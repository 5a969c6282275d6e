"""Takes arrays of Python objects for the labels, groups or splits that they hold."""

import datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from tuner.data.typing import Array


def is_missing_cell(cell: object) -> bool:
    """Whether it is None, NaN, or what pandas puts in their place."""
    return cell is None or str(cell) in ("nan", "<NA>", "NaT")


def hold_dates(array: Array) -> bool:
    """Whether an array of objects holds dates or times."""
    return any(isinstance(cell, datetime.date) for cell in array.ravel().tolist())


def stacked(array: Array) -> Array:
    """Return rows that are each a list or an array of numbers, as pandas holds them, as one array.

    Args:
        array: (rows,) objects.

    Returns:
        (rows, ...), or `array` itself if its rows are something else, or differ in shape.
    """
    cells = array.tolist()
    if array.ndim != 1 or not all(isinstance(cell, list | tuple | np.ndarray) for cell in cells):
        return array
    try:
        values = np.array(cells)
    except ValueError:
        return array
    return values if values.dtype.kind in "biuf" else array


def values_of(array: Array, *, numbers: bool) -> Array:
    """Return the text, decimals or numbers of an array of objects, masked where they are missing.

    Args:
        array: (rows,) objects, as pandas makes of text and of what may be missing.
        numbers: Whether their source says that they are numbers: else lone objects may be a slip.

    Returns:
        (rows,), or `array` itself if it holds anything else.
    """
    cells = array.ravel().tolist()
    missing = np.array([is_missing_cell(cell) for cell in cells], dtype=np.bool_)
    kinds: list[tuple[Any, Any]] = [(str, ""), (Decimal, Decimal(0))]
    if numbers:
        kinds += [((bool, np.bool_), False), (Real, 0)]
    for kind, filler in kinds:
        if not missing.all() and all(
            gap or isinstance(cell, kind) for cell, gap in zip(cells, missing, strict=True)
        ):
            present = [filler if gap else cell for cell, gap in zip(cells, missing, strict=True)]
            values = np.array(present, dtype=np.float64 if kind is Decimal else None)
            return np.ma.masked_array(values.reshape(array.shape), missing.reshape(array.shape))
    return array
