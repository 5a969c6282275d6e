"""Opens Parquet files that may be damaged or hostile."""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tuner.data.formats.reading import Reading
from tuner.data.formats.sources import opened
from tuner.data.formats.tables.table import BATCH_ROWS, Table, first_line, joined
from tuner.data.validation.findings import Findings

if TYPE_CHECKING:
    import pyarrow as pa


def parquet_table(paths: Sequence[Path], reading: Reading) -> Table:
    """Open files, whose rows follow each other.

    Raises:
        DataError: If they cannot be used.
    """
    findings, several = reading.findings, len(paths) > 1
    return joined([_shard(path, several, findings) for path in paths], findings)


def _shard(path: Path, several: bool, findings: Findings) -> Table:
    which = f"file {path.name} " if several else ""
    with opened(path, findings) as file:
        parquet = _opened(file, which, findings)
        return Table(
            name=path.name,
            schema=parquet.schema_arrow,
            rows=parquet.metadata.num_rows,
            batches=partial(_batches, path, which, findings),
        )


def _batches(
    path: Path, which: str, findings: Findings, names: list[str]
) -> Iterator["pa.RecordBatch"]:
    """Yield pieces of columns.

    The sizes in the file's metadata would tell sooner how large a column is, but Arrow (25.0) ends
    the process when it is asked for those of a column and they are damaged.
    """
    with opened(path, findings) as file:
        parquet = _opened(file, which, findings)
        yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=names, use_threads=False)


def _opened(file: IO[bytes], which: str, findings: Findings) -> Any:
    """Open a file with no type that would run code, its text columns as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse_extension_types(file, which, findings)
    try:
        # Text as dictionaries, so that a long name does not take its memory again in every row.
        text = _plain_text_columns(pq.ParquetFile(file).metadata)
        table = pq.ParquetFile(file, read_dictionary=text, page_checksum_verification=True)
        _ = table.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        findings.fail(
            f"{which}is not a whole Parquet file ({first_line(error)}). It is damaged or was cut "
            "short; copy it or save it again."
        )
    return table


def _refuse_extension_types(file: IO[bytes], which: str, findings: Findings) -> None:
    """Refuse extension types before Arrow sees them.

    Arrow hands the bytes that describe such a type to whatever class the process has registered
    for it while it opens the file, and some of those classes unpickle them. The types stand in a
    base64 copy of Arrow's schema in the footer.
    """
    start, size = file.read(4), file.seek(0, 2)
    if size == 0:
        findings.fail(f"{which}is empty (0 bytes). Save or copy it again.")
    if start != b"PAR1" or size < 12:
        findings.fail(f"{which}is not a Parquet file. Save it as one, or as .npz with numpy.savez.")
    file.seek(size - 8)
    footer_bytes = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - 8 - footer_bytes))
    footer = file.read(footer_bytes)
    file.seek(0)
    if b"ARROW:extension" in footer or any(
        b"ARROW:extension" in text for text in _base64_texts(footer)
    ):
        findings.fail(
            f"{which}has columns of an extension type (such as tensors), which may run code when "
            "read. Save them as plain lists, for example column.storage in pyarrow; periods and "
            "intervals of pandas as text, frame['NAME'].astype(str)."
        )


def _base64_texts(footer: bytes) -> Iterator[bytes]:
    for run in re.findall(rb"[A-Za-z0-9+/]{64,}", footer):
        for start in range(4):  # a length before the text can look like a part of it
            usable = (len(run) - start) // 4 * 4
            yield base64.b64decode(run[start : start + usable])


def _plain_text_columns(metadata: Any) -> list[str]:
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    return [c.path for c in columns if c.physical_type == "BYTE_ARRAY" and c.path == c.name]
