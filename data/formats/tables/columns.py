"""Turns columns of a table that may be damaged or hostile into arrays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.errors import NoRoomError
from tuner.data.formats.contents import Contents
from tuner.data.formats.reading import Reading
from tuner.data.formats.tables.conversion import (
    ColumnError,
    filled,
    is_number,
    is_text,
    kind_of,
    plain,
    plain_type,
    refuse_nulls,
    text_of,
    to_numpy,
)
from tuner.data.formats.tables.images import ImageError, holds_images, read_images
from tuner.data.formats.tables.table import Table, first_line
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings
from tuner.data.validation.roles import BY_FILE, Roles

if TYPE_CHECKING:
    import pyarrow as pa


_BATCHES_A_STEP = 100
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


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
        columns = {c.name: Contents(shape=rows, kind=kind_of(c.type)) for c in self.table.schema}
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
            except MemoryError:  # of Arrow, too: the data are whole
                raise
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
        if roles.is_modality(name) and is_text(self.table.schema.field(name).type):
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
        if not (is_number(field.type) or pa.types.is_decimal(field.type)):
            odd = _odd_cells(chunks, field.name) if is_text(field.type) else None
            raise ColumnError(
                odd
                or f"column {field.name!r}, which it matches, holds values of type "
                f"{kind_of(field.type)}, where numbers are wanted. Choose a pattern that leaves it "
                "out."
            )
    kinds = [plain_type(field.type).to_pandas_dtype() for field in fields]
    dtype = np.result_type(*kinds)
    spool, row = Spool(), 0
    for batch in chunks:
        for field in fields:
            refuse_nulls(batch.column(field.name), [len(batch)], row, f"column {field.name!r}")
        columns = [plain(batch.column(f.name)).to_numpy(zero_copy_only=False) for f in fields]
        spool.append(np.stack(columns, axis=1).astype(dtype, copy=False))
        row += len(batch)
    return spool.array(dtype, (row, len(fields)))


def _odd_cells(chunks: Iterator["pa.RecordBatch"], name: str) -> str | None:
    """Say which cells of a column of text are no numbers; None where most of them are not."""
    rows = 0
    odd: list[tuple[int, str]] = []
    for batch in chunks:
        cells = enumerate(batch.column(name).to_pylist(), rows)
        odd += [(n, cell) for n, cell in cells if not _NUMBER.fullmatch((cell or "").strip())]
        rows += len(batch)
    if len(odd) > rows / 2:
        return None
    row, cell = odd[0]
    return (
        f"column {name!r}, which it matches, holds {cell!r} in row {row:,} (counting from 0), "
        f"where a number is wanted; {len(odd):,} of its {rows:,} values are none. Write numbers "
        "there, such as 1234.5; where none is known drop these rows, in pandas "
        f"frame[pandas.to_numeric(frame[{name!r}], errors='coerce').notna()], or leave the column "
        "out of the pattern."
    )


def _stack(chunks: Iterator["pa.Array"]) -> Array:
    """Join pieces of a column to (rows, ...)."""
    spool, texts, first, row = Spool(), [], None, 0
    for chunk in chunks:
        array = to_numpy(chunk, row)
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
    for chunk in map(plain, chunks):
        missing.append(chunk.is_null().to_numpy(zero_copy_only=False))
        arrays.append(text_of(chunk) if is_text(chunk.type) else to_numpy(filled(chunk), row))
        row += len(chunk)
    values = np.concatenate(arrays)
    mask = np.concatenate(missing)
    return np.ma.masked_array(values, mask) if values.ndim == 1 and mask.any() else values
