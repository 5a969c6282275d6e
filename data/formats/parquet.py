"""Reads the wanted columns of a Parquet file that may be damaged or hostile."""

import base64
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tuner.data.errors import NoRoomError
from tuner.data.formats.contents import Contents
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings, counted
from tuner.data.validation.roles import Roles
from tuner.data.validation.text import MAX_LETTERS

if TYPE_CHECKING:
    import pyarrow as pa


# Few rows at a time: what a compressed column unpacks to is known only once it is unpacked.
BATCH_ROWS = 256


class ColumnError(Exception):
    """One column cannot be read; the message says why. Never leaves the package."""


def read_parquet(file: IO[bytes], roles: Roles, findings: Findings, max_bytes: int) -> Arrays:
    """Read the columns that the roles name; every one that cannot be read becomes a finding.

    Features are lists of numbers, all of one length; lists of lists are further axes. Labels,
    split and group are plain columns, and a label that is null is missing.

    Args:
        file: Seekable, stands at its beginning.
        roles: The columns that are wanted.
        findings: Where faults are noted.
        max_bytes: Limit on the unpacked size of one column.

    Raises:
        DataError: If the file as a whole cannot be used.
    """
    import pyarrow as pa

    table = _opened(file, findings)
    names = roles.present_in(table.schema_arrow.names, findings)
    arrays: Arrays = {}
    for name in names:
        try:
            chunks = _chunks(table, name, max_bytes)
            sides = (roles.name("a"), roles.name("b"))
            read = _labels if name == roles.name("y") else _stack
            if name in sides and _is_text(table.schema_arrow.field(name).type):
                read = _whole_texts
            array = read(chunks)
            if name in sides and _are_single_numbers(name, array, findings):
                continue
            arrays[name] = array
        except NoRoomError:
            raise
        except ColumnError as error:
            findings.error(f"array {name!r} cannot be read: {error}")
        except (pa.ArrowException, OSError, ValueError, LookupError) as error:
            findings.error(
                f"array {name!r} is damaged ({_first_line(error)}). Copy the file or save it again."
            )
    return arrays


def parquet_contents(file: IO[bytes], findings: Findings, max_bytes: int) -> dict[str, Contents]:
    """List the columns of a file.

    Raises:
        DataError: If the file as a whole cannot be used.
    """
    del max_bytes  # nothing is unpacked
    table = _opened(file, findings)
    rows = (table.metadata.num_rows,)
    columns = table.schema_arrow
    return {column.name: Contents(shape=rows, kind=_kind(column.type)) for column in columns}


def _kind(dtype: Any) -> str:
    if _is_list(dtype):
        return f"lists of {_kind(dtype.value_type)}"
    if _is_text(dtype):
        return "text"
    return {"float": "float32", "double": "float64"}.get(str(dtype), str(dtype))


def _opened(file: IO[bytes], findings: Findings) -> Any:
    """Open a file with no type that would run code, its text columns as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse_extension_types(file, findings)
    try:
        # Text as dictionaries, so that a long name does not take its memory again in every row.
        text = _plain_text_columns(pq.ParquetFile(file).metadata)
        table = pq.ParquetFile(file, read_dictionary=text, page_checksum_verification=True)
        _ = table.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        findings.fail(
            f"is not a whole Parquet file ({_first_line(error)}). It is damaged or was cut short; "
            "copy it or save it again."
        )
    return table


def _are_single_numbers(name: str, array: Array, findings: Findings) -> bool:
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        return False
    findings.error(
        f"array {name!r} has shape {array.shape}, one value a row, where lists of numbers are "
        "wanted. Save them as lists of one number, in pandas "
        f"frame[{name!r}] = [[value] for value in frame[{name!r}]]."
    )
    return True


def _refuse_extension_types(file: IO[bytes], findings: Findings) -> None:
    """Refuse extension types before Arrow sees them.

    Arrow hands the bytes that describe such a type to whatever class the process has registered
    for it while it opens the file, and some of those classes unpickle them. The types stand in a
    base64 copy of Arrow's schema in the footer.
    """
    start, size = file.read(4), file.seek(0, 2)
    if size == 0:
        findings.fail("is empty (0 bytes). Save or copy it again.")
    if start != b"PAR1" or size < 12:
        findings.fail("is not a Parquet file. Save it as one, or as .npz with numpy.savez.")
    file.seek(size - 8)
    footer_bytes = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - 8 - footer_bytes))
    footer = file.read(footer_bytes)
    file.seek(0)
    if b"ARROW:extension" in footer or any(
        b"ARROW:extension" in text for text in _base64_texts(footer)
    ):
        findings.fail(
            "has columns of an extension type (such as tensors), which may run code when read. "
            "Save them as plain lists, for example column.storage in pyarrow."
        )


def _base64_texts(footer: bytes) -> Iterator[bytes]:
    for run in re.findall(rb"[A-Za-z0-9+/]{64,}", footer):
        for start in range(4):  # a length before the text can look like a part of it
            usable = (len(run) - start) // 4 * 4
            yield base64.b64decode(run[start : start + usable])


def _plain_text_columns(metadata: Any) -> list[str]:
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    return [c.path for c in columns if c.physical_type == "BYTE_ARRAY" and c.path == c.name]


def _chunks(table: Any, name: str, max_bytes: int) -> Iterator["pa.Array"]:
    """Yield a column in pieces, and stop when they take more than the limit.

    The sizes in the file's metadata would tell sooner, but Arrow (25.0) ends the process when it
    is asked for those of a column and they are damaged.
    """
    rows = used = 0
    for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=[name], use_threads=False):
        column = batch.column(0)
        column.validate(full=True)  # damaged offsets would be followed without a check
        rows, used = rows + len(column), used + column.nbytes
        if used > max_bytes:
            raise ColumnError(
                f"it unpacks to more than the limit of {max_bytes:,} bytes. Save less, or raise "
                "the limit (TUNER_MAX_DATA)."
            )
        yield column
    if rows == 0:
        raise ColumnError("it has no rows. Save it with values.")


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
    import pyarrow as pa

    shape = [len(column)]
    while _is_list(column.type):
        _refuse_nulls(column, shape, first_row)
        shape.append(_common_length(column, shape, first_row))
        column = column.flatten()
    _refuse_nulls(column, shape, first_row)
    if pa.types.is_dictionary(column.type) and not _is_text(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        if len(shape) > 1:
            raise ColumnError("it holds lists of text; encode them as numbers.")
        return _text(column)
    if not _is_number(column.type):
        raise ColumnError(f"it holds values of type {column.type}. Save it as (lists of) numbers.")
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_list(dtype: Any) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(dtype) for is_kind in kinds)


def _is_number(dtype: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype)
    )


def _refuse_nulls(column: "pa.Array", shape: list[int], first_row: int) -> None:
    if column.null_count:
        cells_a_row = max(1, len(column) // max(1, shape[0]))
        row = (
            first_row + int(column.is_null().to_numpy(zero_copy_only=False).argmax()) // cells_a_row
        )
        raise ColumnError(
            f"it has empty cells (null; first: row {row}, counting from 0). Fill them in, or drop "
            "these rows."
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
    for chunk in chunks:
        missing.append(chunk.is_null().to_numpy(zero_copy_only=False))
        arrays.append(_text(chunk) if _is_text(chunk.type) else _to_numpy(_filled(chunk), row))
        row += len(chunk)
    values = np.concatenate(arrays)
    mask = np.concatenate(missing)
    return np.ma.masked_array(values, mask) if values.ndim == 1 and mask.any() else values


def _filled(column: "pa.Array") -> "pa.Array":
    """Put 0 where numbers are missing."""
    import pyarrow as pa

    if not _is_number(column.type):
        return column
    return column.fill_null(pa.scalar(0, pa.int8()).cast(column.type))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
