"""Brings rows to the workers of a study, once to each machine.

Where each machine can read the data itself, and they are large, it does. Otherwise rows in memory
travel through Ray's object store. Those in mapped files stay in them: a worker on the driver's
machine maps the same file, and the first one on another machine copies it from there, a block at a
time.
"""

import fcntl
import logging
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuner.data.memory.scratch import Scratch
from tuner.data.memory.spool import map_file
from tuner.execution.workers.source import ReadRows, RowsAtSource, replaced
from tuner.models.rows import Rows, TrainingData

_log = logging.getLogger(__name__)
BLOCK_BYTES = 2**24
_AHEAD = 4  # blocks under way to a machine


@dataclass(frozen=True, kw_only=True)
class _File:
    """A mapped array, by the name of its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(kw_only=True, eq=False)
class SharedRows:
    """Where workers find the rows of a study; made by its driver, which has to live on."""

    _stored: list[Any]  # a reference to the rows, and files in place of what is mapped
    _source: RowsAtSource | None = None  # where other machines rather have them from
    _folder: Path | None = None  # of the files
    _server: Any = None
    _block: int = BLOCK_BYTES
    _claim: Scratch | None = None

    @classmethod
    def of(cls, data: TrainingData, test: Rows, read: ReadRows | None = None) -> "SharedRows":
        """Share training, validation and test rows.

        Args:
            data: Training and validation rows.
            test: Test rows.
            read: Reads the same on any machine, from where the data lie; None if none can.
        """
        folders: set[Path] = set()

        def named(array: Any) -> _File:
            path = Path(array.filename)
            folders.add(path.parent)
            return _File(name=path.name, dtype=array.dtype.str, shape=array.shape)

        stored = [ray.put(replaced(data, test, np.memmap, named))]
        source = None if read is None else RowsAtSource.of(data, test, read)
        if not folders:
            return cls(_stored=stored, _source=source)
        (folder,) = folders
        here = ray.get_runtime_context().get_node_id()
        server = _Server.options(  # type: ignore[attr-defined]  # ray.remote adds it
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False)
        ).remote(folder)
        return cls(_stored=stored, _source=source, _folder=folder, _server=server)

    def get(self) -> tuple[TrainingData, Rows]:
        """Return training and validation rows, and test rows; reads or copies files not here.

        They stay here while any process that called this lives, or until the last has closed them.
        """
        if self._source is not None and not self._source.is_here:
            try:
                self._claim = self._source.claim()
                return self._source.get(self._claim.path)
            except Exception as fault:  # noqa: BLE001  # whatever it is, the driver has the rows
                _log.warning("the driver sends its rows: they were not read here: %s", fault)
                self.close()
        data, test = ray.get(self._stored[0])
        if self._folder is None:
            return data, test
        local = Path(tempfile.gettempdir()) / self._folder.name
        self._claim = Scratch(self._folder if self._folder.exists() else local)
        return replaced(data, test, _File, partial(self._map, self._claim.path))

    def close(self) -> None:
        """Have the files removed if no other process here needs them."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _map(self, folder: Path, file: _File) -> Any:
        path = folder / file.name
        if not path.exists():
            # Lock and copy are one file, so that what a worker left that died is written over.
            with (folder / f"{file.name}.part").open("ab") as part:
                fcntl.flock(part, fcntl.LOCK_EX)  # let go of when the process ends, however
                if not path.exists():
                    part.truncate(0)
                    for block in self._blocks(file):
                        part.write(block)
                    part.flush()
                    Path(part.name).rename(path)
        return map_file(path, file.dtype, file.shape)

    def _blocks(self, file: _File) -> Iterator[Any]:
        coming: deque[Any] = deque()
        for start in range(0, file.size, self._block):
            coming.append(self._server.read.remote(file.name, start, self._block))
            if len(coming) == _AHEAD:
                yield ray.get(coming.popleft())
        while coming:
            yield ray.get(coming.popleft())


@ray.remote(num_cpus=0)
class _Server:
    """Reads the files of a driver on its machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, start: int, size: int) -> Any:
        """Return a block of a file, (bytes,)."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return np.frombuffer(file.read(size), np.uint8)
