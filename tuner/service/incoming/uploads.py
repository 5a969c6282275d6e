"""Data sets that come in: streamed to disk, checked before they are accepted, kept by content."""

import asyncio
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

import anyio
import fsspec
from fastapi import UploadFile

from tuner.data.formats.files import UPLOADS
from tuner.data.formats.reach import Reach
from tuner.data.formats.sources import is_uri
from tuner.data.memory.spool import memory
from tuner.errors import SubmissionError, TooManyError
from tuner.service.guard.turns import Bound, FairQueue
from tuner.service.processes.zygote import Zygote
from tuner.settings import Settings
from tuner.storage.studies import StudyStore

Task = Literal["check", "inspect", "plan", "predict"]
_INCOMING = "incoming-"
_CHUNK = 2**20
_CHECKS = 3  # at a time
_PILOTS = 2  # at a time
_PILOTS_WAITING = 4  # with those that are at work; one of a user
_CHECK_SECONDS = 600.0
_CHECK_MEMORY = 1536 * 2**20  # bytes that a check may have, whatever the size of the data
_MEMORY_A_BYTE = 3  # of data, for what is large
_TOO_LONG: dict[Task, str] = {
    "check": "the data set could not be checked in time",
    "inspect": "the data set could not be checked in time",
    "predict": "the data set could not be checked in time",
    "plan": f"the pilot took longer than {_CHECK_SECONDS / 60:.0f} minutes: ask for fewer --epochs "
    "or --replicates, or run tuner plan on a machine of yours",
}


_REFUSED: dict[Task, str] = {
    "check": "the submission cannot be accepted",
    "inspect": "the data set cannot be inspected",
    "plan": "there can be no pilot",
    "predict": "there can be no prediction",
}


@dataclass(frozen=True)
class SentData:
    """Data that a user sends, and what is asked of them.

    Attributes:
        source: Path of an uploaded file, or else a URI or the name of an example.
        options: Of the spec and of the budget.
        name: What the data are called, if they say so.
        user: Who sends them.
    """

    source: str
    options: dict[str, Any]
    name: str | None
    user: int = 0


@asynccontextmanager
async def received(file: UploadFile, settings: Settings) -> AsyncIterator[Path]:
    """Copy an upload into the folder of uploads; what is still there at the end is removed.

    Raises:
        SubmissionError: If a data set is never read from files of its suffix alone.
    """
    suffix = Path(file.filename or "").suffix.lower()
    if suffix not in UPLOADS:
        raise SubmissionError(f"file: its name has to end in {', '.join(UPLOADS)}")
    handle, name = tempfile.mkstemp(prefix=_INCOMING, suffix=suffix, dir=settings.uploads)
    path = Path(name)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # `clear_incoming` of another service leaves it alone
        async with await anyio.open_file(path, "wb") as copy:
            while chunk := await file.read(_CHUNK):
                await copy.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def clear_incoming(settings: Settings) -> None:
    """Remove what services that were killed had not received to its end."""
    for path in settings.uploads.glob(f"{_INCOMING}*"):
        with suppress(OSError), path.open("rb") as file:  # else it is another's, at work
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)


def keep(path: Path, fingerprint: str, settings: Settings) -> str:
    """Move a checked upload to where its content is kept, once for all who send the same file.

    Files of one fingerprint may differ all the same, in the names of their arrays or in arrays
    that are not used: the first has the fingerprint's name, the others one of their own. What is
    kept is never written again: a study may be reading it.

    Returns:
        Path or URI of it.
    """
    folder = settings.kept_uploads
    if folder is None or not is_uri(folder):
        return _keep_here(path, settings.uploads, fingerprint)
    files, root = fsspec.url_to_fs(folder)
    digest, name = _digest(path.open("rb")), f"{fingerprint}{path.suffix}"
    if files.exists(f"{root}/{name}") and _digest(files.open(f"{root}/{name}", "rb")) != digest:
        name = f"{fingerprint}-{digest[:16]}{path.suffix}"
    if not files.exists(f"{root}/{name}"):
        files.put_file(str(path), f"{root}/{name}")
    return f"{folder.rstrip('/')}/{name}"


def _keep_here(path: Path, folder: Path, fingerprint: str) -> str:
    digest = _digest(path.open("rb"))
    for name in (fingerprint, f"{fingerprint}-{digest[:16]}"):
        place = folder / f"{name}{path.suffix}"
        try:
            place.hardlink_to(path)  # fails if there is one: `replace` would take its place
        except FileExistsError:
            if _digest(place.open("rb")) != digest:
                continue
        return str(place)
    raise FileExistsError(f"{place} holds another file than its name says")


def _digest(file: IO[bytes]) -> str:
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def discard_unused(store: StudyStore, fingerprint: str, settings: Settings) -> None:
    """Remove an uploaded data set that no study is about."""
    if store.uses(fingerprint):
        return
    for path in settings.uploads.glob(f"{fingerprint}[.-]*"):
        path.unlink(missing_ok=True)
    if settings.kept_uploads is not None and is_uri(settings.kept_uploads):
        files, folder = fsspec.url_to_fs(settings.kept_uploads)
        files.invalidate_cache(folder)
        for place in files.glob(f"{folder}/{fingerprint}[.-]*"):
            with suppress(FileNotFoundError):
                files.rm_file(place)


def stem(name: str | None) -> str | None:
    """Return a name for a data set from the name of its file."""
    safe = re.sub(r"[^\w.-]+", "-", Path(name or "").stem).strip("-.")[:64]
    return safe or None


def shown_name(name: str) -> str | None:
    """Return what data are shown as: the name of a file, a URI without what may be a secret."""
    place = urlsplit(name)
    if is_uri(name):
        name = f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
    else:
        name = Path(name).name
    return "".join(letter for letter in name if letter.isprintable())[:255] or None


def is_under(uri: str, prefixes: str) -> bool:
    """Whether a URI lies under one of some prefixes, separated by commas, and stays there."""
    return Reach.of(prefixes).allows(uri)


class Checker:
    """Looks at data in processes of their own, a few at a time, users in turns.

    Pilots have places of their own: they take minutes, and checks are not to wait for them.

    Args:
        at_a_time: How many.
    """

    def __init__(self, at_a_time: int = _CHECKS) -> None:
        self._queue, self._pilots = FairQueue(at_a_time), FairQueue(_PILOTS)
        self._piloting = Bound(1, _PILOTS_WAITING)
        self._most_memory = memory() // at_a_time
        self._zygote = Zygote("tuner.service.processes.check")

    async def look(self, task: Task, data: SentData) -> dict[str, Any]:
        """Return what a task tells, with the keys that `processes.check` writes.

        Args:
            task: `check`, what the study would be; `inspect`, what is in the data, where what is
                wrong with them is a part of the answer; `plan`, what a study would show, by a
                pilot; or `predict`, what past studies lead one to expect of it.
            data: What is looked at.

        Raises:
            SubmissionError: With all that is wrong, or if it takes too long.
            TooManyError: If a pilot of the user's is under way, or too many of others' are.
        """
        async with self._place(task, data.user):
            told = await self._answer(task, data)
        if "errors" in told and "arrays" not in told:
            raise SubmissionError(_REFUSED[task], told["errors"])
        return told

    @asynccontextmanager
    async def _place(self, task: Task, user: int) -> AsyncIterator[None]:
        if task != "plan":
            async with self._queue.place(user):
                yield
            return
        if not self._piloting.take(user):
            raise TooManyError("a pilot is under way, yours or others': wait for its end")
        try:
            async with self._pilots.place(user):
                yield
        finally:
            self._piloting.give_back(user)

    async def _answer(self, task: Task, data: SentData) -> dict[str, Any]:
        request = {"task": task, "source": data.source, "options": data.options, "name": data.name}
        try:
            asked = json.dumps(request | {"memory": self._memory(data.source)}).encode()
            answer = self._zygote.answer(asked)
            found: dict[str, Any] = json.loads(await asyncio.wait_for(answer, _CHECK_SECONDS))
        except TimeoutError:
            raise SubmissionError(_TOO_LONG[task]) from None
        except ValueError:  # it died before it had answered
            raise SubmissionError(
                "the data set could not be read: the file breaks its reader"
            ) from None
        return found

    def _memory(self, source: str) -> int:
        """Bytes that the check of a source may have: most of it works on parts of the data."""
        path = Path(source)
        size = path.stat().st_size if path.is_file() else 0
        return min(self._most_memory, max(_CHECK_MEMORY, _MEMORY_A_BYTE * size))
