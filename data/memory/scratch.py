"""Folders of files that end with the processes that use them, and files that are never half there.

The folder of a process lies below the one for temporary files (TMPDIR).
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PREFIX, _REMOVED = "tuner-rows-", "removed-"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, which takes its place once all is written.

    Whoever reads meanwhile sees the old file or the new one, never half of it. If the block raises,
    `path` is as it was before.
    """
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


class Scratch:
    """A folder of files, and the claim of this process to them: it ends with the process.

    A folder that nobody claims is removed by the last who lets go of it, or by the next process
    that makes one.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Claim a folder, making it if it is not there."""
        self.path = path
        self._lock = self._held()
        for other in path.parent.glob(f"{PREFIX}*"):
            if other != path:
                _remove_unheld(other)
        for half_gone in path.parent.glob(f"{_REMOVED}{PREFIX}*"):
            shutil.rmtree(half_gone, ignore_errors=True)

    def _held(self) -> int:
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:  # somebody is removing the folder
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            if os.fstat(lock).st_nlink:
                return lock
            os.close(lock)

    def close(self) -> None:
        """Let go of the folder, and remove it if nobody else claims it."""
        os.close(self._lock)
        _remove_unheld(self.path)


@cache
def scratch() -> Scratch:
    """Return the folder of this process; it goes when the process ends, whoever claims it too."""
    folder = Scratch(Path(tempfile.gettempdir()) / f"{PREFIX}{uuid.uuid4().hex}")
    atexit.register(_remove, folder.path)
    return folder


def _remove_unheld(path: Path) -> None:
    try:
        lock = os.open(path / "lock", os.O_RDWR)
    except OSError:  # it is gone, or another user's
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        _remove(path)
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    gone = path.with_name(f"{_REMOVED}{path.name}")  # else others could find half of it
    with suppress(FileNotFoundError):
        path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
