"""Reads the .npy format without trust: nothing is unpickled, and no declared size is believed.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
NumPy's own reader allocates what the header declares; this one never keeps more than was read.
"""

import ast
import math
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tuner.data.formats.contents import Contents, kind_of
from tuner.data.formats.reading import Reading, read_named
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.memory.spool import Order, Spool, map_file
from tuner.data.options import DataOptions
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import PLAIN_ARRAY, counted
from tuner.data.validation.roles import Roles

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000  # NumPy's own limit; a header of numbers or text needs under 200
MAX_RANK = 8
CHUNK_BYTES = 2**20
_MB = 10**6
_TOLD_FROM = 16 * _MB

_DTYPE = re.compile(r"[<>|=]?[?biufcSUOMmV]\d*(\[\d*\w+\])?")


class ArrayError(Exception):
    """An array of a file cannot be read; says why and what to do. Never leaves the package."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a .npy file says about itself.

    Attributes:
        dtype: Type of the elements, never object.
        shape: At most `MAX_RANK` lengths, none negative.
        fortran_order: Whether the first axis varies fastest.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool

    @property
    def data_bytes(self) -> int:
        """Number of bytes that have to follow the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(
    stream: Readable, *, member_bytes: int, step: str = "", on_step: OnStep = silent
) -> Array:
    """Read one array.

    Args:
        stream: Stands at the beginning of the .npy data.
        member_bytes: Size of the .npy data, as the archive's directory has it.
        step: What this is a part of, in words.
        on_step: Told how much is read of what takes a moment.

    Raises:
        ArrayError: If it is not a plain array of exactly that size.
    """
    header, header_bytes = read_header(stream)
    _check_size(header, member_bytes - header_bytes)
    spool, done = Spool(), 0
    for chunk in _chunks(stream, header.data_bytes):
        spool.write(chunk)
        done += len(chunk)
        if header.data_bytes > _TOLD_FROM:
            on_step(f"{step}: {done // _MB:,} of {header.data_bytes // _MB:,} MB")
    return spool.array(header.dtype, header.shape, order="F" if header.fortran_order else "C")


def map_npy(path: Path) -> Array:
    """Map the array of a file, which may be larger than memory.

    Raises:
        ArrayError: If it is not a plain array of exactly that size.
        OSError: If the file cannot be opened.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        header, header_bytes = read_header(file)
    _check_size(header, size - header_bytes)
    order: Order = "F" if header.fortran_order else "C"
    return map_file(path, header.dtype, header.shape, order=order, offset=header_bytes)


def read_header(stream: Readable) -> tuple[Header, int]:
    """Read the header of a .npy file and the number of bytes that it took.

    Raises:
        ArrayError: If the header is damaged, or declares anything but a plain array.
    """
    text, size = _header_text(stream)
    fields = _literal(text)
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise ArrayError("its .npy header is damaged. Save it again with numpy.savez.")
    if not isinstance(fields["fortran_order"], bool):
        raise ArrayError("its .npy header is damaged (fortran_order). Save it again.")
    dtype, shape = _dtype(fields["descr"]), check_shape(fields["shape"])
    return Header(dtype=dtype, shape=shape, fortran_order=fields["fortran_order"]), size


def _check_size(header: Header, follow: int) -> None:
    if header.data_bytes != follow:
        raise ArrayError(
            f"its header declares shape {header.shape} of {header.dtype}, "
            f"{counted(header.data_bytes, 'byte')}, but {counted(follow, 'byte')} follow. "
            "The file is damaged or was made by hand; save it again with numpy.savez."
        )


def _header_text(stream: Readable) -> tuple[str, int]:
    start = _read_all(stream, 8)
    if start[:6] != MAGIC or tuple(start[6:]) not in {(1, 0), (2, 0), (3, 0)}:
        raise ArrayError("it is not a .npy array. Save it again with numpy.savez.")
    length_format = "<H" if start[6] == 1 else "<I"
    length_bytes = _read_all(stream, struct.calcsize(length_format))
    (length,) = struct.unpack(length_format, length_bytes)
    if length > MAX_HEADER_BYTES:
        raise ArrayError(
            f"its .npy header is {length:,} bytes long (limit {MAX_HEADER_BYTES:,}). "
            "Save it as a plain array of numbers or text."
        )
    text = _read_all(stream, length).decode("utf-8" if start[6] == 3 else "latin-1", "replace")
    return text, 8 + len(length_bytes) + length


def _literal(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged text can hold what looks like bad escapes
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ArrayError(
                "its .npy header is damaged. Save it again with numpy.savez."
            ) from error


def _dtype(descr: object) -> np.dtype[Any]:
    if not isinstance(descr, str):
        raise ArrayError(
            "it is a structured array (named fields). Save each field as an array of its own."
        )
    if not _DTYPE.fullmatch(descr):
        raise ArrayError(
            f"its .npy header declares the unknown type {descr[:40]!r}. Save it again."
        )
    if "O" in descr:
        raise ArrayError(
            "it is an object array, which only unpickling could read, and nothing is ever "
            f"unpickled. {PLAIN_ARRAY}"
        )
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise ArrayError(
            f"its .npy header declares the unknown type {descr[:40]!r}, as NumPy writes types that "
            "are not its own, such as float8. Save it with .astype('float32')."
        ) from error
    if dtype.itemsize == 0:
        raise ArrayError("its elements are of size 0. Save it again with its values.")
    return dtype


def check_shape(shape: object) -> tuple[int, ...]:
    """Return a shape that a file declares, if it is one.

    Raises:
        ArrayError: If it is none, or beyond any limit.
    """
    if not isinstance(shape, tuple) or not all(type(length) is int for length in shape):
        raise ArrayError("its header is damaged (shape). Save it again.")
    if any(length < 0 for length in shape):
        raise ArrayError(f"its header declares the negative shape {shape}. Save it again.")
    # Taken without the zeros: (0, 2**62, 2**62) is empty, and still more than NumPy can express.
    if len(shape) > MAX_RANK or math.prod(length or 1 for length in shape) >= 2**56:
        raise ArrayError(f"its header declares a shape of {len(shape)} axes beyond any limit.")
    return shape


def _read_all(stream: Readable, size: int) -> bytes:
    return b"".join(_chunks(stream, size))


def _chunks(stream: Readable, size: int) -> Iterator[bytes]:
    """Read exactly `size` bytes, bit by bit: what was declared is not believed."""
    done = 0
    while done < size:
        chunk = stream.read(min(CHUNK_BYTES, size - done))
        if not chunk:
            raise ArrayError(
                f"it ends after {counted(done, 'byte')} of {size:,}. "
                "The file was cut short; copy or save it again."
            )
        done += len(chunk)
        yield chunk


@dataclass(frozen=True, eq=False)
class NpyFiles:
    """Arrays that are files of their own, mapped: they may be larger than memory.

    An array is called as its file without the suffix. One that is wanted by the name of its file,
    "views/left.npy", may lie in another folder.

    Attributes:
        paths: The files.
        reading: How they are read.
    """

    paths: Sequence[Path]
    reading: Reading

    def contents(self) -> dict[str, Contents]:
        """List the arrays: see `Source`. One whose header cannot be read is of unknown kind."""
        return {name: _contents(path) for name, path in self._files().items()}

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name: see `Source`."""
        files, findings = self._files(), self.reading.findings

        def read(name: str) -> Array | None:
            try:
                return map_npy(files[name])
            except ArrayError as error:
                findings.error(f"array {name!r} cannot be read: {error}")
            except OSError as error:
                findings.error(f"array {name!r} cannot be opened: {error.strerror}.")
            return None

        return read_named(roles, files, read, self.reading)

    def _files(self) -> dict[str, Path]:
        folder = self.reading.folder
        named = npy_names(self.reading.options) if folder is not None else []
        own = {name: folder / name for name in named if folder and (folder / name).is_file()}
        rest = (path for path in self.paths if path not in own.values())
        return {path.stem: path for path in rest} | own


def npy_names(options: DataOptions) -> list[str]:
    """Return the names of arrays that are those of files."""
    return [value for _, value in options if isinstance(value, str) and value.endswith(".npy")]


def _contents(path: Path) -> Contents:
    try:
        with path.open("rb") as file:
            header, _ = read_header(file)
    except (ArrayError, OSError):
        return Contents(shape=(), kind="unreadable")
    return Contents(shape=header.shape, kind=kind_of(header.dtype))
