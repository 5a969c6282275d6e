"""Data sets that come in: streamed to disk, checked before they are accepted, kept by content."""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import fsspec
from fastapi import UploadFile
from sqlalchemy import select

from tuner.data.formats.sources import is_uri
from tuner.service.routes.problems import ProblemError
from tuner.settings import Settings
from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow

_CHUNK = 2**20
_SUFFIXES = (".npz", ".parquet")
_CHECK_SECONDS = 600.0


@asynccontextmanager
async def received(file: UploadFile, settings: Settings) -> AsyncIterator[Path]:
    """Copy an upload into the folder of uploads; what is still there at the end is removed.

    Raises:
        ProblemError: If it is neither .npz nor .parquet.
    """
    suffix = Path(file.filename or "").suffix.lower()
    if suffix not in _SUFFIXES:
        raise ProblemError(422, "file: its name has to end in .npz or .parquet")
    handle, name = tempfile.mkstemp(prefix="incoming-", suffix=suffix, dir=settings.uploads)
    os.close(handle)
    path = Path(name)
    try:
        async with await anyio.open_file(path, "wb") as copy:
            while chunk := await file.read(_CHUNK):
                await copy.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def keep(path: Path, fingerprint: str, settings: Settings) -> str:
    """Move a checked upload to where its content is kept, once for all who send it.

    Returns:
        Path or URI of it.
    """
    name = f"{fingerprint}{path.suffix}"
    if settings.kept_uploads is None or not is_uri(settings.kept_uploads):
        place = settings.uploads / name
        path.replace(place)
        return str(place)
    files, folder = fsspec.url_to_fs(settings.kept_uploads)
    files.put_file(str(path), f"{folder}/{name}")
    return f"{settings.kept_uploads.rstrip('/')}/{name}"


def discard_unused(store: StudyStore, fingerprint: str, settings: Settings) -> None:
    """Remove an uploaded data set that no study is about."""
    about = select(StudyRow.id).where(StudyRow.fingerprint == fingerprint).limit(1)
    if store.run(lambda session: session.scalar(about)) is not None:
        return
    for path in settings.uploads.glob(f"{fingerprint}.*"):
        path.unlink(missing_ok=True)
    if settings.kept_uploads is not None and is_uri(settings.kept_uploads):
        files, folder = fsspec.url_to_fs(settings.kept_uploads)
        for suffix in _SUFFIXES:
            with suppress(FileNotFoundError):
                files.rm_file(f"{folder}/{fingerprint}{suffix}")


def stem(name: str | None) -> str | None:
    """Return a name for a data set from the name of its file."""
    safe = re.sub(r"[^\w.-]+", "-", Path(name or "").stem).strip("-.")[:64]
    return safe or None


class Checker:
    """Checks submissions in processes of their own, a few at a time.

    Args:
        at_a_time: How many.
    """

    def __init__(self, at_a_time: int = 2) -> None:
        self._free = asyncio.Semaphore(at_a_time)

    async def check(self, source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
        """Return what the study would be.

        Raises:
            ProblemError: With all that is wrong.
        """
        asked = json.dumps({"source": source, "options": options, "name": name})
        async with self._free:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing of the working directory is imported
                "-m",
                "tuner.service.processes.check",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                told = process.communicate(asked.encode())
                output, _ = await asyncio.wait_for(told, _CHECK_SECONDS)
            except TimeoutError:
                raise ProblemError(422, "the data set could not be checked in time") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            raise ProblemError(422, "the data set could not be read: the file breaks its reader")
        found: dict[str, Any] = json.loads(output)
        if "errors" in found:
            raise ProblemError(422, "the submission cannot be accepted", found["errors"])
        return found
