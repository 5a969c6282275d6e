"""Opens a data set, whatever its format: what is in it, and the arrays that are wanted."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.data.formats.arrays.npy import NpyFiles, npy_names
from tuner.data.formats.arrays.npz import NpzArchive
from tuner.data.formats.arrays.safetensors import Safetensors
from tuner.data.formats.contents import Contents
from tuner.data.formats.foreign import conversion
from tuner.data.formats.reach import Reach
from tuner.data.formats.reading import Reading, Source
from tuner.data.formats.shards import data_name, files_of, is_pattern, parts_of
from tuner.data.formats.sources import check_exists, file_name, is_uri, local_files
from tuner.data.formats.tables.columns import TableSource
from tuner.data.formats.tables.delimited import delimited_table
from tuner.data.formats.tables.huggingface import arrow_table, saved_files
from tuner.data.formats.tables.parquet import parquet_table
from tuner.data.formats.tables.table import Table
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.options import DataOptions
from tuner.data.typing import Arrays
from tuner.data.validation.findings import Findings, listing
from tuner.data.validation.roles import Roles

Open = Callable[[Sequence[Path], Reading], Source]


def _single(opener: Callable[[Path, Reading], Source]) -> Open:
    """Open files of a format whose data sets are one file each."""

    def open_one(paths: Sequence[Path], reading: Reading) -> Source:
        if len(paths) > 1:
            reading.findings.fail(
                f"holds {len(paths)} {paths[0].suffix} files, and each is a data set of its own. "
                f"Name one of them, such as {paths[0]}."
            )
        return opener(paths[0], reading)

    return open_one


def _table(opener: Callable[[Sequence[Path], Reading], Table]) -> Open:
    """Open files whose rows follow each other."""
    return lambda paths, reading: TableSource(opener(paths, reading), reading)


# How files of a format are opened; in a service, only those that are a data set by themselves.
FORMATS: dict[str, Open] = {
    ".npz": _single(NpzArchive),
    ".npy": NpyFiles,
    ".safetensors": _single(Safetensors),
    ".parquet": _table(parquet_table),
    ".arrow": _table(arrow_table),
    ".csv": _table(delimited_table),
    ".tsv": _table(delimited_table),
}
_STARTS = {b"PAR1": ".parquet", b"PK\x03\x04": ".npz", b"ARROW1": ".arrow"}
UPLOADS = (".npz", ".safetensors", ".parquet", ".csv", ".tsv")


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFile:
    """An open data set.

    Attributes:
        stem: Name of its file without a suffix, or of its folder.
        source: What holds its arrays.
        findings: Where faults are noted.
        max_bytes: Limit on what is unpacked of it.
    """

    stem: str
    source: Source
    findings: Findings
    max_bytes: int

    def contents(self) -> Mapping[str, Contents]:
        """List every array, by name.

        Raises:
            DataError: If the data set as a whole cannot be used.
        """
        return self.source.contents()

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name; what is wrong with one becomes a finding.

        Raises:
            DataError: If the data set as a whole cannot be used.
        """
        return self.source.arrays(roles)


@contextmanager
def open_data(
    location: str,
    findings: Findings,
    *,
    options: DataOptions,
    max_bytes: int,
    alone: bool = False,
    reach: Reach | None = None,
    on_step: OnStep = silent,
) -> Iterator[DataFile]:
    """Open the data set at a path or URI.

    Args:
        location: Of a file or folder, or a pattern of files.
        findings: Where faults are noted.
        options: How arrays are read.
        max_bytes: Limit on what is downloaded and unpacked.
        alone: Whether it has to be one file by itself, that leads to no others.
        reach: Where it may be downloaded from; None for anywhere.
        on_step: Told what is being read, in words.

    Raises:
        DataError: If there is none, or none that can be read.
    """
    if alone and (is_pattern(location) or Path(location).is_dir()):
        findings.fail(
            f"is more than one file, and a service takes one: {listing(UPLOADS, show=str)}. Join "
            "them, or use `tuner run` on your own machine."
        )
    if not is_pattern(location):
        check_exists(location, findings)
    files = _files(location, options, findings)
    suffix = _checked_suffix(files[0], UPLOADS if alone else tuple(FORMATS), findings)
    with local_files(files, findings, max_bytes=max_bytes, reach=reach) as paths:
        _check_content(paths[0], suffix, findings)
        reading = Reading(
            findings=findings,
            options=options,
            max_bytes=max_bytes,
            on_step=on_step,
            parts=parts_of(files, findings),
            folder=None if alone or is_uri(location) else _folder(location, paths),
        )
        yield DataFile(
            stem=data_name(location),
            source=FORMATS[suffix](paths, reading),
            findings=findings,
            max_bytes=max_bytes,
        )


def _checked_suffix(file: str, known: tuple[str, ...], findings: Findings) -> str:
    suffix = file_name(file).suffix.lower()
    if suffix not in known:
        findings.fail(
            _conversion(file)
            or f"has the suffix {suffix!r}; a data set is one of {listing(known, show=str)}. Save "
            f"it as one of these{_called_otherwise(suffix)}."
        )
    return suffix


def _check_content(path: Path, suffix: str, findings: Findings) -> None:
    """Check that a file does not begin as those of another format do."""
    start = b""
    with suppress(OSError), path.open("rb") as stream:
        start = stream.read(512)
    begun = (kind for first, kind in _STARTS.items() if start.startswith(first))
    is_table = suffix not in (".csv", ".tsv") and _is_table(start)
    kind = next(begun, ".csv" if is_table else suffix)
    if kind == ".npz" != suffix and not _holds_arrays(path):  # .xlsx and .pt are archives, too
        return
    if kind != suffix:
        what = "a table in plain text" if is_table else f"a {kind} file"
        findings.fail(
            f"is {what} by what it holds, and {suffix} by its name. Rename it to "
            f"{path.with_suffix(kind).name}."
        )


def _is_table(start: bytes) -> bool:
    """Whether the first line is text with commas or the like, and no HTML or JSON."""
    line = start.splitlines()[0] if start else b""
    with suppress(UnicodeDecodeError):
        text = line[:-3].decode() if len(line) == len(start) else line.decode()  # it may be cut
        is_text = all(each.isprintable() or each == "\t" for each in text)
        return is_text and text[:1] not in "<{[" and any(each in text for each in ",;\t")
    return False


def _holds_arrays(path: Path) -> bool:
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        return bool(names) and all(name.endswith(".npy") for name in names)
    return False


def _called_otherwise(suffix: str) -> str:
    plain = (".txt", ".dat", ".data", ".tab")
    return "; a table in plain text, rename to .csv or .tsv" if suffix in plain else ""


def _files(location: str, options: DataOptions, findings: Findings) -> list[str]:
    """The files that a location stands for, or those of its folder that options name."""
    path, named = Path(location), npy_names(options)
    if named and path.is_dir():
        return [str(path / name) for name in named]
    if path.suffix.lower() == ".npy" and path.is_file():
        findings.fail(
            "is a single array. Name its folder and the files in it: "
            f"{path.parent} --a {path.name} --b OTHER.npy --y LABELS.npy."
        )
    if path.is_dir() and (saved := saved_files(path, findings)) is not None:
        return saved
    return files_of(location, tuple(FORMATS), findings)


def _folder(location: str, paths: Sequence[Path]) -> Path:
    """Where relative paths begin."""
    return Path(location) if Path(location).is_dir() else paths[0].parent


def _conversion(file: str) -> str | None:
    path, start = Path(file), b""
    if is_uri(file):
        return conversion(file_name(file), start)
    with suppress(OSError), path.open("rb") as stream:
        start = stream.read(32)
    return conversion(path, start)
