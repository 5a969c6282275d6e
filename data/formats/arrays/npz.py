"""Reads the wanted arrays of an .npz archive that may be damaged or hostile."""

import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tuner.data.errors import NoRoomError
from tuner.data.formats.arrays.npy import MAGIC, ArrayError, read_header, read_npy
from tuner.data.formats.contents import Contents, kind_of
from tuner.data.formats.reading import Reading, read_named
from tuner.data.formats.sources import opened
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings, counted, listing
from tuner.data.validation.roles import Roles

# No more than this is unpacked from one archive unless the caller says otherwise.
MAX_BYTES = 16 * 2**30
# Deflate reaches 1,000 to 1. Real features stay below 20 to 1, but long runs of labels or mask
# do not, so the ratio counts only from a size on that could hurt.
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 64 * 2**20

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # with its subclass NotImplementedError: what zipfile does not support
    OverflowError,
    IndexError,
)


@dataclass(frozen=True, eq=False)
class NpzArchive:
    """The arrays of an archive. One whose header cannot be read is of unknown kind.

    Attributes:
        path: Where it is.
        reading: How it is read; the limit is on the unpacked size of the archive.
    """

    path: Path
    reading: Reading

    def contents(self) -> dict[str, Contents]:
        """List the arrays: see `Source`."""
        with self._opened() as (archive, members):
            return {name: _contents(archive, member) for name, member in members.items()}

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name: see `Source`."""
        findings = self.reading.findings
        with self._opened() as (archive, members):

            def read(name: str) -> Array | None:
                return _read_member(archive, members[name], name, findings, self.reading.on_step)

            return read_named(roles, members, read, self.reading)

    @contextmanager
    def _opened(self) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
        findings = self.reading.findings
        with (
            opened(self.path, findings) as file,
            _archive(file, findings, self.reading.max_bytes) as archive,
        ):
            yield archive


def read_npz(path: Path, *, max_bytes: int = MAX_BYTES) -> Arrays:
    """Read all arrays of an archive.

    Raises:
        DataError: If it is damaged, or an array of it cannot be read.
    """
    findings = Findings(str(path))
    with opened(path, findings) as file, _archive(file, findings, max_bytes) as (archive, members):
        arrays = {
            name: _read_member(archive, member, name, findings) for name, member in members.items()
        }
    findings.raise_errors()
    return {name: array for name, array in arrays.items() if array is not None}


@contextmanager
def _archive(
    file: IO[bytes], findings: Findings, max_bytes: int
) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open an archive whose directory holds nothing strange, with its members by array name."""
    _refuse_other_formats(file, findings)
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        findings.fail(
            f"is not a whole .npz archive ({_reason(error)}). It is damaged or was cut short; "
            "copy it or save it again with numpy.savez."
        )
    with archive:
        members = archive.infolist()
        for fault in _directory_faults(members, max_bytes):
            findings.error(fault)
        findings.raise_errors()
        yield archive, {m.filename.removesuffix(".npy"): m for m in members if not m.is_dir()}


def _contents(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Contents:
    try:
        with archive.open(member) as stream:
            header, _ = read_header(stream)
    except (ArrayError, *_DAMAGE):
        return Contents(shape=(), kind="unreadable")
    return Contents(shape=header.shape, kind=kind_of(header.dtype))


def _refuse_other_formats(file: IO[bytes], findings: Findings) -> None:
    start = file.read(8)
    file.seek(0)
    if not start:
        findings.fail("is empty (0 bytes). Save or copy it again.")
    if start.startswith(MAGIC):
        findings.fail(
            "is a single .npy array, not an .npz archive. Save all arrays into one file with "
            "numpy.savez(path, a=..., b=..., y=...)."
        )
    if start.startswith(b"\x80"):
        findings.fail("is a pickle, and nothing is ever unpickled. Save it with numpy.savez.")


def _directory_faults(members: list[zipfile.ZipInfo], max_bytes: int) -> Iterable[str]:
    """Yield what is wrong with the archive's directory, before any member is opened."""
    names = [member.orig_filename for member in members]
    if unsafe := [name for name in names if _is_unsafe(name)]:
        yield (
            f"has {counted(len(unsafe), 'member')} with an absolute or parent path: "
            f"{listing(unsafe)}. Save it again with plain array names."
        )
    counts = Counter(member.filename.removesuffix(".npy") for member in members)
    if repeated := [name for name, count in counts.items() if count > 1]:
        yield f"holds more than one array called {listing(repeated)}. Give each its own name."
    if encrypted := [m.filename for m in members if m.flag_bits & _ENCRYPTED]:
        yield f"is encrypted ({listing(encrypted)}). Save it again without a password."
    plain = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if odd := [m.filename for m in members if m.compress_type not in plain]:
        yield (
            f"is packed by a method that NumPy does not use ({listing(odd)}). "
            "Save it again with numpy.savez or numpy.savez_compressed."
        )
    yield from _size_faults(members, max_bytes)


def _size_faults(members: list[zipfile.ZipInfo], max_bytes: int) -> Iterable[str]:
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        yield (
            f"would unpack to {_size(total)}, over the limit of {_size(max_bytes)}. "
            "Save only the arrays that are needed, as float32, or raise the limit (TUNER_MAX_DATA)."
        )
    for member in members:
        if member.file_size > max(RATIO_COUNTS_FROM_BYTES, MAX_RATIO * member.compress_size):
            yield (
                f"array {member.filename.removesuffix('.npy')!r} would unpack from "
                f"{_size(member.compress_size)} to {_size(member.file_size)}, as a zip bomb does. "
                "If it is meant, save it uncompressed with numpy.savez."
            )


def _is_unsafe(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return (
        not name
        or parts[0] == ""
        or ".." in parts
        or "\\" in name
        or "\0" in name
        or re.match(r"[A-Za-z]:", name) is not None
    )


def _read_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    name: str,
    findings: Findings,
    on_step: OnStep = silent,
) -> Array | None:
    try:
        with archive.open(member) as stream:
            size, step = member.file_size, f"reading {name}"
            array = read_npy(stream, member_bytes=size, step=step, on_step=on_step)
            stream.read(1)  # at the end of the member its checksum is compared
    except NoRoomError:
        raise
    except ArrayError as error:
        findings.error(f"array {name!r} cannot be read: {error}")
    except _DAMAGE as error:
        findings.error(
            f"array {name!r} is damaged ({_reason(error)}). Copy the file or save it again."
        )
    else:
        return array
    return None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _size(number: int) -> str:
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 2**power:
            return f"{number / 2**power:,.1f} {unit}"
    return counted(number, "byte")
