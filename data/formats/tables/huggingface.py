"""Opens what `datasets.Dataset.save_to_disk` wrote: a folder of Arrow streams, named by a file.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.data.formats.reading import Reading
from tuner.data.formats.shards import parts_of
from tuner.data.formats.tables.table import Table, first_line, joined
from tuner.data.validation.findings import Findings, listing

if TYPE_CHECKING:
    import pyarrow as pa

_NOTES = "state.json"
_NOTES_OF_SEVERAL = "dataset_dict.json"
# Of a data set under which an Arrow type is described that has a class of its own.
_EXTENSION, _PLAIN = b"ARROW:extension:name", b"plain:extension:name"


def saved_files(folder: Path, findings: Findings) -> list[str] | None:
    """Return the files of a saved data set in their order; None if a folder holds none.

    Raises:
        DataError: If it holds several data sets, or one that cannot be used.
    """
    if (folder / _NOTES_OF_SEVERAL).is_file():
        return _files_of_all(folder, findings)
    if not (folder / _NOTES).is_file():
        return None
    notes = _read(folder / _NOTES, findings)
    if notes.get("_indices_data_files"):
        findings.fail(
            "is a selection of rows of another data set. Save it by itself: "
            "datasets.load_from_disk(path).flatten_indices().save_to_disk('flat')."
        )
    files = notes.get("_data_files")
    names = [file.get("filename") for file in files] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        findings.fail(f"has a damaged {_NOTES}. Save it again with save_to_disk.")
    return [str(folder / name) for name in names]


def _files_of_all(folder: Path, findings: Findings) -> list[str]:
    """Return the files of several data sets that are the splits of one."""
    names = _read(folder / _NOTES_OF_SEVERAL, findings).get("splits")
    splits = [str(name) for name in names] if isinstance(names, list) else []
    if not splits or any(Path(name).name != name for name in splits):
        findings.fail(f"has a damaged {_NOTES_OF_SEVERAL}. Save it again with save_to_disk.")
    files: list[str] = []
    for name in splits:
        if not (saved := saved_files(folder / name, findings)):
            findings.fail(f"lacks the data set {name!r}. Copy the folder again, with all in it.")
        files += saved
    if len(splits) > 1 and parts_of(files, findings) is None:
        findings.fail(
            f"holds several data sets, {listing(splits)}, whose names are not those of splits. "
            f"Name one of them, such as {folder / splits[0]}; or join them by the pattern "
            f"'{folder}/*/data-*.arrow'."
        )
    return files


def _read(path: Path, findings: Findings) -> dict[str, Any]:
    try:
        notes = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict):
        findings.fail(f"has a damaged {path.name}. Save it again with save_to_disk.")
    return notes


def arrow_table(paths: Sequence[Path], reading: Reading) -> Table:
    """Open streams, whose rows follow each other.

    Raises:
        DataError: If they cannot be used.
    """
    return joined([_shard(path, reading.findings) for path in paths], reading.findings)


def _shard(path: Path, findings: Findings) -> Table:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            schema, batches = _opened(file)
            rows = sum(batch.num_rows for batch in batches)
    except (pa.ArrowException, OSError, ValueError) as error:
        findings.fail(
            f"file {path.name} is not a whole Arrow stream ({first_line(error)}). Copy it again, "
            "or save the data set again with save_to_disk."
        )
    return Table(name=path.name, schema=schema, rows=rows, batches=partial(_batches, path))


def _batches(path: Path, names: list[str]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        _, batches = _opened(file)
        for batch in batches:
            yield batch.select(names)


def _opened(file: Any) -> tuple["pa.Schema", Iterator["pa.RecordBatch"]]:
    """Open a stream with no type that would run code: each is read as what it is stored as."""
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(file)
    first = next(messages, None)
    if first is None or first.type != "schema":
        raise ValueError("it does not begin with a schema")
    described = first.serialize().to_pybytes().replace(_EXTENSION, _PLAIN)
    schema = pa.ipc.read_schema(pa.py_buffer(described))
    _ = schema.names  # are decoded only here
    return schema, _read_batches(messages, schema)


def _read_batches(messages: Any, schema: "pa.Schema") -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    for message in messages:
        if message.type != "record batch":
            raise ValueError(f"it holds a {message.type}, which no data set does")
        yield pa.ipc.read_record_batch(message, schema)
