"""Where an unfinished training is kept, so that it goes on from its last epoch after a crash."""

import io
import time
from contextlib import suppress
from typing import Any

import fsspec
import torch

_EVERY = 30.0


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

    def load(self, part: int) -> dict[str, Any] | None:
        """Return the last state of a part of the training, in memory; None if there is none."""
        try:
            content = self._files.cat_file(self._path(part))
        except FileNotFoundError:
            return None
        state: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        return state

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._every

    def save(self, part: int, state: dict[str, Any]) -> None:
        """Keep a state instead of the last one; a crash in the middle leaves that one."""
        content = io.BytesIO()
        torch.save(state, content)
        path = self._path(part)
        self._files.makedirs(self._folder, exist_ok=True)
        self._files.pipe_file(f"{path}.new", content.getvalue())
        self._files.mv(f"{path}.new", path)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Forget every state: the training has ended."""
        with suppress(FileNotFoundError):
            self._files.rm(self._folder, recursive=True)

    def _path(self, part: int) -> str:
        return f"{self._folder}/part-{part}.pt"
