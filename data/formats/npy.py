"""Reads the .npy format without trust: nothing is unpickled, and no declared size is believed.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
NumPy's own reader allocates what the header declares; this one never keeps more than was read.
"""

import ast
import math
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tuner.data.memory.spool import Spool
from tuner.data.typing import Array
from tuner.data.validation.findings import PLAIN_ARRAY, counted

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000  # NumPy's own limit; a header of numbers or text needs under 200
MAX_RANK = 8
CHUNK_BYTES = 2**20

_DTYPE = re.compile(r"[<>|=]?[?biufcSUOMmV]\d*(\[\d*\w+\])?")


class NpyError(Exception):
    """One array cannot be read; the message says why and what to do. Never leaves the package."""


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


def read_npy(stream: Readable, *, member_bytes: int) -> Array:
    """Read one array.

    Args:
        stream: Stands at the beginning of the .npy data.
        member_bytes: Size of the .npy data, as the archive's directory has it.

    Raises:
        NpyError: If it is not a plain array of exactly that size.
    """
    header, header_bytes = read_header(stream)
    follow = member_bytes - header_bytes
    if header.data_bytes != follow:
        raise NpyError(
            f"its header declares shape {header.shape} of {header.dtype}, "
            f"{counted(header.data_bytes, 'byte')}, but {counted(follow, 'byte')} follow. "
            "The file is damaged or was made by hand; save it again with numpy.savez."
        )
    spool = Spool()
    for chunk in _chunks(stream, header.data_bytes):
        spool.write(chunk)
    return spool.array(header.dtype, header.shape, order="F" if header.fortran_order else "C")


def read_header(stream: Readable) -> tuple[Header, int]:
    """Read the header of a .npy file and the number of bytes that it took.

    Raises:
        NpyError: If the header is damaged, or declares anything but a plain array.
    """
    text, size = _header_text(stream)
    fields = _literal(text)
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise NpyError("its .npy header is damaged. Save it again with numpy.savez.")
    if not isinstance(fields["fortran_order"], bool):
        raise NpyError("its .npy header is damaged (fortran_order). Save it again.")
    dtype, shape = _dtype(fields["descr"]), _shape(fields["shape"])
    return Header(dtype=dtype, shape=shape, fortran_order=fields["fortran_order"]), size


def _header_text(stream: Readable) -> tuple[str, int]:
    start = _read_all(stream, 8)
    if start[:6] != MAGIC or tuple(start[6:]) not in {(1, 0), (2, 0), (3, 0)}:
        raise NpyError("it is not a .npy array. Save it again with numpy.savez.")
    length_format = "<H" if start[6] == 1 else "<I"
    length_bytes = _read_all(stream, struct.calcsize(length_format))
    (length,) = struct.unpack(length_format, length_bytes)
    if length > MAX_HEADER_BYTES:
        raise NpyError(
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
            raise NpyError("its .npy header is damaged. Save it again with numpy.savez.") from error


def _dtype(descr: object) -> np.dtype[Any]:
    if not isinstance(descr, str):
        raise NpyError(
            "it is a structured array (named fields). Save each field as an array of its own."
        )
    if not _DTYPE.fullmatch(descr):
        raise NpyError(f"its .npy header declares the unknown type {descr[:40]!r}. Save it again.")
    if "O" in descr:
        raise NpyError(
            "it is an object array, which only unpickling could read, and nothing is ever "
            f"unpickled. {PLAIN_ARRAY}"
        )
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise NpyError(f"its .npy header declares the unknown type {descr[:40]!r}.") from error
    if dtype.itemsize == 0:
        raise NpyError("its elements are of size 0. Save it again with its values.")
    return dtype


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(length) is int for length in shape):
        raise NpyError("its .npy header is damaged (shape). Save it again with numpy.savez.")
    if any(length < 0 for length in shape):
        raise NpyError(f"its header declares the negative shape {shape}. Save it again.")
    # Taken without the zeros: (0, 2**62, 2**62) is empty, and still more than NumPy can express.
    if len(shape) > MAX_RANK or math.prod(length or 1 for length in shape) >= 2**56:
        raise NpyError(f"its header declares a shape of {len(shape)} axes beyond any limit.")
    return shape


def _read_all(stream: Readable, size: int) -> bytes:
    return b"".join(_chunks(stream, size))


def _chunks(stream: Readable, size: int) -> Iterator[bytes]:
    """Read exactly `size` bytes, bit by bit: what was declared is not believed."""
    done = 0
    while done < size:
        chunk = stream.read(min(CHUNK_BYTES, size - done))
        if not chunk:
            raise NpyError(
                f"it ends after {counted(done, 'byte')} of {size:,}. "
                "The file was cut short; copy or save it again."
            )
        done += len(chunk)
        yield chunk
