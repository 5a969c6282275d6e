"""Where an unfinished training is kept, so that it goes on from its last epoch after a crash.

Stacks of replicates are numbered by their first replicate among those of the whole trial, whichever
process trains them.
"""

import io
import time
from contextlib import suppress
from typing import Any

import fsspec
import torch

from tuner.models.outcome import TrainingOutcome

_EVERY = 30.0
_WORTH_KEEPING = 1.0


class Checkpoint:
    """The state of a training, in a file of this machine or of a store that all machines reach.

    Trainings shorter than `every` write nothing.

    Args:
        place: Path or URI of a folder of its own.
        every: Seconds between two states; one epoch at least lies between them.
    """

    def __init__(self, place: str, *, every: float = _EVERY) -> None:
        self._files, self._folder = fsspec.url_to_fs(place)
        self._every, self._last = every, time.monotonic()

    def load(self, stack: int) -> dict[str, Any] | None:
        """Return the last state of a stack of the training, in memory; None if there is none."""
        content = self._read(self._path(stack))
        if content is None:
            return None
        state: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return state

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._every

    def save(self, stack: int, state: dict[str, Any]) -> None:
        """Keep a state instead of the last one; a crash in the middle leaves that one."""
        content = io.BytesIO()
        torch.save(state, content)
        self._write(self._path(stack), content.getvalue())
        self._last = time.monotonic()

    def load_outcome(self, replicates: range) -> TrainingOutcome | None:
        """Return what came of a part of the trial; None if nothing has, or it was not kept."""
        content = self._read(self._outcome(replicates))
        return None if content is None else TrainingOutcome.from_bytes(content)

    def save_outcome(self, replicates: range, outcome: TrainingOutcome) -> None:
        """Keep what came of a part of the trial, until the whole is written down.

        Not if it took a second or less, which it may take again.
        """
        if outcome.seconds > _WORTH_KEEPING:
            self._write(self._outcome(replicates), outcome.to_bytes())

    def remove(self, replicates: range | None = None) -> None:
        """Forget every state, because the training has ended; or those of a part of the trial."""
        paths = [self._folder] if replicates is None else map(self._path, replicates)
        for path in paths:
            with suppress(FileNotFoundError):
                self._files.rm(path, recursive=True)

    def _read(self, path: str) -> bytes | None:
        try:
            content: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return content

    def _write(self, path: str, content: bytes) -> None:
        self._files.makedirs(self._folder, exist_ok=True)
        self._files.pipe_file(f"{path}.new", content)
        self._files.mv(f"{path}.new", path)

    def _path(self, stack: int) -> str:
        return f"{self._folder}/part-{stack}.pt"

    def _outcome(self, replicates: range) -> str:
        return f"{self._folder}/outcome-{replicates.start}-{replicates.stop}.npz"
