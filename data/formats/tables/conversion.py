"""Turns pieces of a column into arrays, whatever type it has."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.typing import Array
from tuner.data.validation.findings import counted
from tuner.data.validation.kinds import KINDS
from tuner.data.validation.text import MAX_LETTERS

if TYPE_CHECKING:
    import pyarrow as pa


class ColumnError(Exception):
    """One column cannot be read; the message says why. Never leaves the package."""


def kind_of(dtype: Any) -> str:
    """Name the type of a column in a user's words."""
    import pyarrow as pa

    if _is_list(dtype):
        return f"lists of {kind_of(dtype.value_type)}"
    if pa.types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    if is_text(dtype):
        return "text"
    if str(dtype) == "struct<bytes: binary, path: string>":
        return "encoded images"
    names = {"halffloat": "float16", "float": "float32", "double": "float64", "binary": "bytes"}
    return names.get(str(dtype), str(dtype))


def to_numpy(column: "pa.Array", first_row: int) -> Array:
    """Convert a piece of a column; `first_row` is the number of its first row in the file."""
    shape = [len(column)]
    while _is_list(column.type):
        refuse_nulls(column, shape, first_row)
        shape.append(_common_length(column, shape, first_row))
        column = column.flatten()
    refuse_nulls(column, shape, first_row)
    column = plain(column)
    if is_text(column.type):
        if len(shape) > 1:
            raise ColumnError("it holds lists of text; encode them as numbers.")
        return text_of(column)
    if not is_number(column.type):
        raise ColumnError(_no_number(column.type))
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(shape)


def _no_number(dtype: Any) -> str:
    """Say what a column holds instead of numbers, and what to do about it."""
    import pyarrow as pa

    held = f"it holds values of type {kind_of(dtype)}"
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return f"{held}: {KINDS['M']}."
    if pa.types.is_duration(dtype):
        return f"{held}: {KINDS['m']}."
    if pa.types.is_time(dtype):
        return (
            f"{held}: times of day. Save them as numbers, in pandas x as "
            "pandas.to_timedelta(x.astype(str)) / numpy.timedelta64(1, 's')."
        )
    return f"{held}. Save it as (lists of) numbers."


def plain(column: "pa.Array") -> "pa.Array":
    """Convert what NumPy has no type for: decimals to numbers, bytes to text, codes to values."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int8())
    if is_text(kind):
        return column
    if kind != column.type:
        column = column.dictionary_decode()
    if not (
        pa.types.is_decimal(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    ):
        return column
    if pa.types.is_decimal(kind) and kind.scale > 0:
        return column.cast(pa.float64())
    try:
        return column.cast(pa.int64() if pa.types.is_decimal(kind) else pa.large_string())
    except pa.ArrowInvalid:
        held = "bytes that are not text in UTF-8"
        if pa.types.is_decimal(kind):
            held = "whole numbers of more than 64 bits"
        raise ColumnError(f"it holds {held}. Save it as text, in pandas .astype(str).") from None


def plain_type(dtype: Any) -> Any:
    """The type that a column of some type is converted to."""
    import pyarrow as pa

    return plain(pa.nulls(0, dtype)).type


def _is_list(dtype: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(dtype) for is_kind in kinds)


def is_number(dtype: Any) -> bool:
    """Whether it is a type of numbers, or of true and false, that NumPy has."""
    import pyarrow as pa

    return bool(
        pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype)
    )


def refuse_nulls(column: "pa.Array", shape: list[int], first_row: int, what: str = "it") -> None:
    """Name the first row with an empty cell.

    Raises:
        ColumnError: If there is one.
    """
    if column.null_count:
        cells_a_row = max(1, len(column) // max(1, shape[0]))
        row = (
            first_row + int(column.is_null().to_numpy(zero_copy_only=False).argmax()) // cells_a_row
        )
        raise ColumnError(
            f"{what} has empty cells (null; first: row {row}, counting from 0). Fill them in, or "
            "drop these rows."
        )


def _common_length(column: "pa.Array", shape: list[int], first_row: int) -> int:
    """Return the length of all lists of a column."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if len(lengths) == 0:
        return 0
    ragged = lengths != lengths[0]
    if ragged.any():
        position = int(ragged.argmax())
        row = first_row + position // max(1, len(column) // max(1, shape[0]))
        raise ColumnError(
            f"its lists differ in length: {counted(int(lengths[0]), 'value')} at first, "
            f"{int(lengths[position]):,} in row {row} (counting from 0). Pad them to one length "
            "(with a column NAME_mask of the real steps), or drop these rows."
        )
    return int(lengths[0])


def is_text(dtype: Any) -> bool:
    """Whether it is a type of text, or of categories that are text."""
    import pyarrow as pa

    names = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return bool(pa.types.is_string(names) or pa.types.is_large_string(names))


def text_of(column: "pa.Array") -> Array:
    """Convert text by way of its distinct values, each checked before rows repeat it."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [name or "" for name in encoded.dictionary.to_pylist()]
    if any(len(name) > MAX_LETTERS for name in names):
        raise ColumnError(f"it holds text of more than {MAX_LETTERS:,} letters. Use short names.")
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*names, ""], dtype=np.str_)[codes])


def filled(column: "pa.Array") -> "pa.Array":
    """Put 0 where numbers are missing."""
    import pyarrow as pa

    if _is_list(column.type):
        return column
    if not is_number(column.type):
        raise ColumnError(_no_number(column.type))
    return column.fill_null(pa.scalar(0, pa.int8()).cast(column.type))
