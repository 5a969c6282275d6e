"""Turns columns of a table that may be damaged or hostile into arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.errors import NoRoomError
from tuner.data.formats.contents import Contents
from tuner.data.formats.reading import Reading
from tuner.data.formats.tables.images import ImageError, holds_images, read_images
from tuner.data.formats.tables.table import Table, first_line
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings, counted
from tuner.data.validation.kinds import KINDS
from tuner.data.validation.roles import BY_FILE, Roles
from tuner.data.validation.text import MAX_LETTERS

if TYPE_CHECKING:
    import pyarrow as pa


_BATCHES_A_STEP = 100


class ColumnError(Exception):
    """One column cannot be read; the message says why. Never leaves the package."""


@dataclass(frozen=True, eq=False)
class TableSource:
    """The columns of a table as arrays.

    Features are lists of numbers, all of one length; lists of lists are further axes. A pattern
    stacks columns of numbers. Labels, split and group are plain columns, and a label that is null
    is missing.

    Attributes:
        table: An open one.
        reading: How it is read; the limit is on the unpacked size of an array.
    """

    table: Table
    reading: Reading

    def contents(self) -> dict[str, Contents]:
        """List the columns: see `Source`."""
        rows = (self.table.rows,)
        columns = {c.name: Contents(shape=rows, kind=_kind(c.type)) for c in self.table.schema}
        by_file = {} if self.reading.parts is None else {BY_FILE: Contents(shape=rows, kind="text")}
        return columns | by_file

    def arrays(self, roles: Roles) -> Arrays:
        """Read the columns that roles name: see `Source`."""
        import pyarrow as pa

        findings = self.reading.findings
        arrays: Arrays = {}
        if self.reading.parts is not None and roles.name("split") == BY_FILE:
            arrays[BY_FILE] = np.repeat(np.array(self.reading.parts), self.table.lengths)
        for name in roles.present_in(self.table.schema.names, findings):
            self.reading.on_step(f"reading {name}")
            try:
                array = self._array(name, roles)
                if not (roles.is_modality(name) and _are_single_numbers(name, array, findings)):
                    arrays[name] = array
            except NoRoomError:
                raise
            except ColumnError as error:
                findings.error(f"array {name!r} cannot be read: {error}")
            except (pa.ArrowException, OSError, ValueError, LookupError) as error:
                findings.error(
                    f"array {name!r} is damaged ({first_line(error)}). Copy the file or save it "
                    "again."
                )
        return arrays

    def _array(self, name: str, roles: Roles) -> Array:
        members = roles.members(name, self.table.schema.names)
        for member in members:
            if fault := self.table.faults.get(member):
                raise ColumnError(fault if member == name else f"column {member!r}: {fault}")
        if members == [name] and roles.is_modality(name) and self._holds_images(name):
            return self._images(name, side="a" if name == roles.name("a") else "b")
        chunks = _chunks(self.table, members, self.reading)
        if members != [name]:
            return _stack_columns(chunks, [self.table.schema.field(m) for m in members])
        column = (batch.column(name) for batch in chunks)
        if name == roles.name("y"):
            return _labels(column)
        if roles.is_modality(name) and _is_text(self.table.schema.field(name).type):
            return _whole_texts(column)
        return _stack(column)

    def _holds_images(self, name: str) -> bool:
        return holds_images(self.table.schema.field(name), lambda: next(self._values(name)))

    def _images(self, name: str, side: str) -> Array:
        reading = self.reading
        try:
            return read_images(
                lambda: self._values(name),
                size=reading.options.size(side),
                flag=f"--{side}-size",
                folder=reading.folder,
                max_bytes=reading.max_bytes,
            )
        except ImageError as error:
            raise ColumnError(str(error)) from error

    def _values(self, name: str) -> Iterator[Any]:
        """Yield the values of a column, one by one."""
        for batch in _chunks(self.table, [name], self.reading):
            for value in batch.column(name):
                yield value.as_py()


def _kind(dtype: Any) -> str:
    import pyarrow as pa

    if _is_list(dtype):
        return f"lists of {_kind(dtype.value_type)}"
    if pa.types.is_dictionary(dtype):
        return _kind(dtype.value_type)
    if _is_text(dtype):
        return "text"
    if str(dtype) == "struct<bytes: binary, path: string>":
        return "encoded images"
    names = {"halffloat": "float16", "float": "float32", "double": "float64", "binary": "bytes"}
    return names.get(str(dtype), str(dtype))


def _are_single_numbers(name: str, array: Array, findings: Findings) -> bool:
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        return False
    findings.error(
        f"array {name!r} has shape {array.shape}, one value a row, where lists of numbers are "
        f"wanted. Choose it by a pattern, '[{name[0]}]{name[1:]}', to have it as one feature; or "
        "save them as lists of one number, in pandas "
        f"frame[{name!r}] = [[value] for value in frame[{name!r}]]."
    )
    return True


def _chunks(table: Table, names: list[str], reading: Reading) -> Iterator["pa.RecordBatch"]:
    """Yield columns in pieces, and stop when they take more than the limit."""
    rows = used = 0
    for number, batch in enumerate(table.batches(names)):
        batch.validate(full=True)  # damaged offsets would be followed without a check
        rows, used = rows + len(batch), used + batch.nbytes
        if used > reading.max_bytes:
            raise ColumnError(
                f"it unpacks to more than the limit of {reading.max_bytes:,} bytes. Save "
                "less, or raise the limit (TUNER_MAX_DATA)."
            )
        if number % _BATCHES_A_STEP == 0:
            reading.on_step(f"reading {names[0]}: row {rows:,} of {table.rows:,}")
        yield batch
    if rows == 0:
        raise ColumnError("it has no rows. Save it with values.")


def _stack_columns(chunks: Iterator["pa.RecordBatch"], fields: list["pa.Field"]) -> Array:
    """Stack columns of numbers to (rows, features)."""
    import pyarrow as pa

    for field in fields:
        if not (_is_number(field.type) or pa.types.is_decimal(field.type)):
            raise ColumnError(
                f"column {field.name!r}, which it matches, holds values of type "
                f"{_kind(field.type)}, where numbers are wanted. Choose a pattern that leaves it "
                "out."
            )
    kinds = [_plain_type(field.type).to_pandas_dtype() for field in fields]
    dtype = np.result_type(*kinds)
    spool, row = Spool(), 0
    for batch in chunks:
        for field in fields:
            _refuse_nulls(batch.column(field.name), [len(batch)], row, f"column {field.name!r}")
        columns = [_plain(batch.column(f.name)).to_numpy(zero_copy_only=False) for f in fields]
        spool.append(np.stack(columns, axis=1).astype(dtype, copy=False))
        row += len(batch)
    return spool.array(dtype, (row, len(fields)))


def _stack(chunks: Iterator["pa.Array"]) -> Array:
    """Join pieces of a column to (rows, ...)."""
    spool, texts, first, row = Spool(), [], None, 0
    for chunk in chunks:
        array = _to_numpy(chunk, row)
        first = array[:1] if first is None else first
        if array.shape[1:] != first.shape[1:]:
            raise ColumnError(
                f"its lists differ in shape: {first.shape[1:]} in row 0, {array.shape[1:]} in "
                f"row {row} (counting from 0). Pad them, or drop these rows."
            )
        if array.dtype.kind == "U":  # each piece is as wide as its longest
            texts.append(array)
        else:
            spool.append(array)
        row += len(array)
    assert first is not None  # `_chunks` yields a row or raises
    return np.concatenate(texts) if texts else spool.array(first.dtype, (row, *first.shape[1:]))


def _to_numpy(column: "pa.Array", first_row: int) -> Array:
    """Convert a piece of a column; `first_row` is the number of its first row in the file."""
    shape = [len(column)]
    while _is_list(column.type):
        _refuse_nulls(column, shape, first_row)
        shape.append(_common_length(column, shape, first_row))
        column = column.flatten()
    _refuse_nulls(column, shape, first_row)
    column = _plain(column)
    if _is_text(column.type):
        if len(shape) > 1:
            raise ColumnError("it holds lists of text; encode them as numbers.")
        return _text(column)
    if not _is_number(column.type):
        raise ColumnError(_no_number(column.type))
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(shape)


def _no_number(dtype: Any) -> str:
    """Say what a column holds instead of numbers, and what to do about it."""
    import pyarrow as pa

    held = f"it holds values of type {_kind(dtype)}"
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


def _plain(column: "pa.Array") -> "pa.Array":
    """Convert what NumPy has no type for: decimals to numbers, bytes to text, codes to values."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int8())
    if _is_text(kind):
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


def _plain_type(dtype: Any) -> Any:
    """The type that a column of some type is converted to."""
    import pyarrow as pa

    return _plain(pa.nulls(0, dtype)).type


def _is_list(dtype: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(dtype) for is_kind in kinds)


def _is_number(dtype: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype)
    )


def _refuse_nulls(column: "pa.Array", shape: list[int], first_row: int, what: str = "it") -> None:
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


def _is_text(dtype: Any) -> bool:
    import pyarrow as pa

    names = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return bool(pa.types.is_string(names) or pa.types.is_large_string(names))


def _text(column: "pa.Array") -> Array:
    """Convert text by way of its distinct values, each checked before rows repeat it."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = [name or "" for name in encoded.dictionary.to_pylist()]
    if any(len(name) > MAX_LETTERS for name in names):
        raise ColumnError(f"it holds text of more than {MAX_LETTERS:,} letters. Use short names.")
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*names, ""], dtype=np.str_)[codes])


def _whole_texts(chunks: Iterator["pa.Array"]) -> Array:
    """Join pieces of a column of text to Python objects, None where it is null.

    Equal texts of a piece are one object, so that what is long and repeated is held once.
    """
    cells: list[str | None] = []
    for chunk in chunks:
        encoded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        texts = [*encoded.dictionary.to_pylist(), None]
        codes = encoded.indices.fill_null(len(texts) - 1).to_pylist()
        cells += [texts[code] for code in codes]
    return np.array(cells, dtype=object)


def _labels(chunks: Iterator["pa.Array"]) -> Array:
    """Join pieces of the column of labels to a masked array, masked where they are null."""
    arrays, missing, row = [], [], 0
    for chunk in map(_plain, chunks):
        missing.append(chunk.is_null().to_numpy(zero_copy_only=False))
        arrays.append(_text(chunk) if _is_text(chunk.type) else _to_numpy(_filled(chunk), row))
        row += len(chunk)
    values = np.concatenate(arrays)
    mask = np.concatenate(missing)
    return np.ma.masked_array(values, mask) if values.ndim == 1 and mask.any() else values


def _filled(column: "pa.Array") -> "pa.Array":
    """Put 0 where numbers are missing."""
    import pyarrow as pa

    if _is_list(column.type):
        return column
    if not _is_number(column.type):
        raise ColumnError(_no_number(column.type))
    return column.fill_null(pa.scalar(0, pa.int8()).cast(column.type))
