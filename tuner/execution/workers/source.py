"""Rows that each machine reads where the data of a study lie, in place of the driver's copy.

What a large data set weighs would otherwise pass through the driver's machine once for each other
machine. Arrays are known by the digest of their content: whatever a machine reads, its workers
train on the very bits that the driver has.
"""

import fcntl
import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuner.data.memory.blocks import row_blocks
from tuner.data.memory.scratch import PREFIX, Scratch
from tuner.data.memory.spool import map_file
from tuner.models.rows import Rows, TrainingData

# Reads the data of a study, and returns its rows: training and validation rows, and test rows.
ReadRows = Callable[[], tuple[TrainingData, Rows]]

# Of rows, for which a machine rather reads them than has them sent. To read takes it seconds, and
# one more for every 25 MiB; with a gigabit the driver's sends 100 MiB a second to all together.
WORTH_BYTES = 2**28
_IN_VAIN = "in-vain"  # a file in the folder of rows that could not be read: nobody tries again


class OtherRowsError(Exception):
    """What lies at the source are not, or not all of, the rows that the driver has."""


@dataclass(frozen=True, kw_only=True)
class _Array:
    """An array, by the digest of its content."""

    digest: str
    dtype: str
    shape: tuple[int, ...]
    is_mapped: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class RowsAtSource:
    """Rows without their arrays, and how a machine comes by these.

    Attributes:
        outline: The rows, with what names each array in its place.
        read: Reads them, on any machine that reaches the data.
        driver: The machine that has them, by Ray's id.
    """

    outline: tuple[TrainingData, Rows]
    read: ReadRows
    driver: str

    @classmethod
    def of(cls, data: TrainingData, test: Rows, read: ReadRows) -> "RowsAtSource | None":
        """Name rows by their content; None if they are so few that they are rather sent.

        Args:
            data: Training and validation rows.
            test: Test rows.
            read: Reads them, on any machine that reaches the data.
        """
        if sum(array.nbytes for array in _arrays(data, test)) < WORTH_BYTES:
            return None
        outline = replaced(data, test, np.ndarray, _named)
        return cls(outline=outline, read=read, driver=ray.get_runtime_context().get_node_id())

    @property
    def is_here(self) -> bool:
        """Whether this is the driver's machine, which needs to read nothing."""
        return ray.get_runtime_context().get_node_id() == self.driver

    def claim(self) -> Scratch:
        """Claim the folder of the rows on this machine, the same for all who train on them.

        Raises:
            OSError: If it cannot be had.
        """
        names = sorted(array.digest for array in _named_in(*self.outline))
        key = hashlib.sha256(" ".join(names).encode()).hexdigest()[:32]
        folder = Scratch(Path(tempfile.gettempdir()) / f"{PREFIX}{os.getuid()}-{key}")
        if folder.path.stat().st_uid != os.getuid():  # whose name others can tell, too
            raise PermissionError(f"{folder.path} is another user's")
        return folder

    def get(self, folder: Path) -> tuple[TrainingData, Rows]:
        """Return the rows; the first worker of this machine reads them, the others wait for it.

        Args:
            folder: What this process claims.

        Raises:
            OtherRowsError: If others lie there by now, or it was tried here in vain.
            Exception: What reading them raised, if the data are gone, say.
        """
        with (folder / "reading").open("ab") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # let go of when the process ends, however
            if (folder / _IN_VAIN).exists():
                raise OtherRowsError("they could not be read on this machine")
            try:
                self._fill(folder)
            except Exception:
                (folder / _IN_VAIN).touch()
                raise
        return replaced(*self.outline, _Array, lambda array: _mapped(folder, array))

    def _fill(self, folder: Path) -> None:
        """Have another process read: what that takes of memory and disk ends with it."""
        if self._is_whole(folder):
            return
        here = ray.get_runtime_context().get_node_id()
        reading = _read_into.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False)
        ).remote(self.read, folder)
        ray.get(reading)
        if not self._is_whole(folder):
            raise OtherRowsError("others lie there by now")

    def _is_whole(self, folder: Path) -> bool:
        return all((folder / array.digest).exists() for array in _named_in(*self.outline))


@ray.remote(num_cpus=0, max_calls=1, max_retries=0)
def _read_into(read: ReadRows, folder: Path) -> None:
    """Read rows, and write each array to a file that is named by the digest of its content."""
    for array in _arrays(*read()):
        aside = folder / f"{uuid.uuid4().hex}.part"
        digest = hashlib.sha256()
        with aside.open("xb") as file:
            for rows in row_blocks(array):
                block = _bytes(array[rows])
                digest.update(block)
                file.write(block)
        aside.rename(folder / digest.hexdigest())


def replaced(
    data: TrainingData, test: Rows, kind: type, change: Callable[[Any], Any]
) -> tuple[TrainingData, Rows]:
    """Replace all arrays of a kind, or what stands for them."""

    def in_rows(rows: Rows) -> Rows:
        found = {name: held for name, held in vars(rows).items() if isinstance(held, kind)}
        return replace(rows, **{name: change(held) for name, held in found.items()})

    data = replace(data, train=in_rows(data.train), validation=in_rows(data.validation))
    return data, in_rows(test)


def _arrays(data: TrainingData, test: Rows) -> list[Any]:
    return _of_kind(data, test, np.ndarray)


def _named_in(data: TrainingData, test: Rows) -> list[_Array]:
    return _of_kind(data, test, _Array)


def _of_kind(data: TrainingData, test: Rows, kind: type) -> list[Any]:
    rows = (data.train, data.validation, test)
    return [held for each in rows for held in vars(each).values() if isinstance(held, kind)]


def _named(array: Any) -> _Array:
    digest = hashlib.sha256()
    for rows in row_blocks(array):
        digest.update(_bytes(array[rows]))
    return _Array(
        digest=digest.hexdigest(),
        dtype=array.dtype.str,
        shape=array.shape,
        is_mapped=isinstance(array, np.memmap),
    )


def _bytes(block: Any) -> memoryview:
    """Return the elements in C order."""
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data


def _mapped(folder: Path, array: _Array) -> Any:
    """Map a file; what the driver has in memory is an ordinary array, as that is."""
    found = map_file(folder / array.digest, array.dtype, array.shape)
    return found if array.is_mapped else found.view(np.ndarray)
