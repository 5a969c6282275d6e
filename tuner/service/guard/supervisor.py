"""Looks after what a service does besides answering: no task of it ends unseen."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio

from tuner.service import metrics

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0  # seconds between two attempts of what fails
_HANGS = 600.0  # seconds after which one round of a task is said to hang


@dataclass(eq=False)
class _Task:
    """A task, and how it does."""

    began: float | None = None  # its round, if one is under way
    fault: str | None = None  # kind of what its last round raised
    failures: int = 0  # rounds in a row

    def trouble(self) -> str | None:
        """Say what is wrong, none of it in the words of an error: strangers may read it."""
        if self.began is not None and time.monotonic() - self.began > _HANGS:
            return f"has not come back for {time.monotonic() - self.began:.0f} s"
        if self.fault is not None:
            return f"failed {self.failures} times in a row ({self.fault}); it is tried again"
        return None


class Supervisor:
    """Runs tasks again and again; whatever one raises is logged, told, and tried again."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by task; empty if all do their work."""
        found = {name: task.trouble() for name, task in self._tasks.items()}
        return {name: words for name, words in found.items() if words is not None}

    @property
    def tasks(self) -> dict[str, bool]:
        """Whether each task does its work."""
        return {name: task.trouble() is None for name, task in self._tasks.items()}

    @asynccontextmanager
    async def keeps(
        self, name: str, work: Callable[[], object], pause: float
    ) -> AsyncIterator[None]:
        """Do some work over and over in a thread meanwhile; what is under way at the end is ended.

        Args:
            name: Of the task.
            work: One round.
            pause: Seconds between two rounds; longer after each in a row that failed.
        """
        task = self._tasks[name] = _Task()
        loop = asyncio.create_task(self._loop(name, task, work, pause), name=name)
        try:
            yield
        finally:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop
            del self._tasks[name]

    async def _loop(self, name: str, task: _Task, work: Callable[[], object], pause: float) -> None:
        while True:
            await asyncio.sleep(min(pause * 2**task.failures, max(pause, _LONGEST_PAUSE)))
            task.began = time.monotonic()
            try:
                await anyio.to_thread.run_sync(work)
                task.fault, task.failures = None, 0
            except asyncio.CancelledError:
                raise
            except BaseException as fault:  # noqa: BLE001  # SystemExit, too: nobody else would see
                task.fault, task.failures = type(fault).__name__, min(task.failures + 1, 30)
                _log.exception("the task %s failed, and is tried again", name)
                metrics.note_failure(name)
            finally:
                task.began = None
