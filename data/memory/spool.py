"""Keeps what becomes an array: in memory, or in a file that is mapped to it if it is large.

A mapped array is read as any other. The system brings its pages in as they are used and drops
them when it needs room, so that a data set can be larger than memory.
"""

import errno
import itertools
import mmap
import os
import resource
import weakref
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.errors import NoRoomError
from tuner.data.memory.blocks import row_blocks
from tuner.data.memory.scratch import scratch
from tuner.data.typing import Array, Ints

Order = Literal["C", "F"]

_SHARE = 16  # of memory, how much one array may take: a data set is several, and copies of them
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # versions 2 and 1


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, its container's or its own."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        path = Path("/sys/fs/cgroup") / name
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            limits.append(int(text))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limits += [limit for limit in resource.getrlimit(kind)[:1] if limit > 0]
    return min(limits)


IN_MEMORY_BYTES = memory() // _SHARE


class _Held(bytearray):
    """Memory of a spool, which nothing writes to once it is an array."""


class Spool:
    """Takes bytes, and makes an array of them."""

    def __init__(self) -> None:
        self._held = _Held()
        self._file: IO[bytes] | None = None
        self._removal: weakref.finalize[..., Spool] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes.

        Raises:
            NoRoomError: If there is no room for them.
        """
        if self._file is None:
            if len(self._held) + memoryview(data).nbytes <= IN_MEMORY_BYTES:
                self._held += data
                return
            path = scratch().path / f"{next(_numbers)}"
            self._file = path.open("xb")
            self._removal = weakref.finalize(self, _discard, self._file)
            held, self._held = self._held, _Held()
            self._to_file(held)
        self._to_file(data)

    def append(self, block: Array) -> None:
        """Add the elements of an array, in C order."""
        self.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...], *, order: Order = "C") -> Array:
        """Return what was written as an array; nothing may be written after.

        One in a file is a read-only `numpy.memmap`, and the file goes when it does.
        """
        if self._file is None or self._removal is None:
            return np.frombuffer(self._held, dtype).reshape(shape, order=order)
        self._file.close()
        path = Path(self._file.name)
        array = map_file(path, dtype, shape, order=order)
        self._removal.detach()
        weakref.finalize(array, _discard, self._file)
        return array

    def _to_file(self, data: bytes | bytearray | memoryview) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise NoRoomError(
                str(scratch().path.parent),
                [
                    "has no room for what does not fit into memory. Make room, or set TMPDIR to a "
                    "folder that has it."
                ],
            ) from error


def is_spooled(array: Array) -> bool:
    """Whether an array lies in memory that a spool filled and nobody else knows: it stays so."""
    held: Any = array
    while isinstance(held, np.ndarray):
        held = held.base
    if isinstance(held, memoryview):
        held = held.obj
    return isinstance(held, _Held)


_numbers = itertools.count()


def _discard(file: IO[bytes]) -> None:
    file.close()
    Path(file.name).unlink(missing_ok=True)


def map_file(
    path: Path,
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
    *,
    order: Order = "C",
    offset: int = 0,
) -> Array:
    """Map a file read-only, from a byte of it on."""
    if 0 in shape:  # there is nothing to map
        return np.empty(shape, dtype)
    mapped: Array = np.memmap(path, np.dtype(dtype), "r", offset, shape, order)
    return mapped


def select(array: Array, rows: Ints) -> Array:
    """Copy rows of an array; those of a mapped one are never in memory all at once."""
    if not isinstance(array, np.memmap):
        return np.asarray(array[rows])
    spool = Spool()
    for block in row_blocks(array, len(rows)):
        spool.append(array[rows[block]])
    return spool.array(array.dtype, (len(rows), *array.shape[1:]))


def will_read(array: Array, rows: Ints) -> None:
    """Have the system begin to bring rows of a mapped array (rows, ...) in, all at once.

    Otherwise each would be waited for in turn when it is read, and much that lies near it (up to
    megabytes, by the settings of the disk) would be brought in as well, in place of rows that are
    wanted: from now on nothing is that was not asked for here.
    """
    base: Any = array.base
    size, page = array[:1].nbytes, mmap.PAGESIZE
    base.madvise(mmap.MADV_RANDOM)
    for start in (rows * size).tolist():
        first = start // page * page
        base.madvise(mmap.MADV_WILLNEED, first, start + size - first)
