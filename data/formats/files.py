"""Opens a data set's file, whatever its format: what is in it, and the arrays that are wanted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from tuner.data.formats.contents import Contents
from tuner.data.formats.npz import npz_contents, read_npz
from tuner.data.formats.parquet import parquet_contents, read_parquet
from tuner.data.formats.sources import check_exists, file_name, open_source
from tuner.data.typing import Arrays
from tuner.data.validation.findings import Findings
from tuner.data.validation.roles import Roles


@dataclass(frozen=True, kw_only=True)
class Format:
    """How files of one format are read.

    Attributes:
        contents: Lists what is in a file without reading it.
        read: Reads the arrays that roles name.
    """

    contents: Callable[[IO[bytes], Findings, int], Mapping[str, Contents]]
    read: Callable[[IO[bytes], Roles, Findings, int], Arrays]


FORMATS = {
    ".npz": Format(contents=npz_contents, read=read_npz),
    ".parquet": Format(contents=parquet_contents, read=read_parquet),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFile:
    """An open file of a data set.

    Attributes:
        stem: Its name without a suffix.
        format: How it is read.
        file: Its bytes, seekable.
        findings: Where faults are noted.
        max_bytes: Limit on what is unpacked of it.
    """

    stem: str
    format: Format
    file: IO[bytes]
    findings: Findings
    max_bytes: int

    def contents(self) -> Mapping[str, Contents]:
        """List every array, by name.

        Raises:
            DataError: If the file as a whole cannot be used.
        """
        self.file.seek(0)
        return self.format.contents(self.file, self.findings, self.max_bytes)

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name; what is wrong with one becomes a finding.

        Raises:
            DataError: If the file as a whole cannot be used.
        """
        self.file.seek(0)
        return self.format.read(self.file, roles, self.findings, self.max_bytes)


@contextmanager
def open_data(location: str, findings: Findings, *, max_bytes: int) -> Iterator[DataFile]:
    """Open the file at a path or URI.

    Raises:
        DataError: If there is none, or none that can be read.
    """
    check_exists(location, findings)
    suffix = file_name(location).suffix.lower()
    if suffix not in FORMATS:
        findings.fail(
            f"has the suffix {suffix!r}; a data set is an .npz or a .parquet file. "
            "Save it as one of these."
        )
    with open_source(location, findings, max_bytes=max_bytes) as file:
        yield DataFile(
            stem=file_name(location).stem,
            format=FORMATS[suffix],
            file=file,
            findings=findings,
            max_bytes=max_bytes,
        )
