"""Finds and opens what a user calls a data set: a path, a URI, or the name of an example."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tuner.data.errors import DataError
from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.reach import Reach
from tuner.data.formats.remote import explain
from tuner.data.memory.scratch import scratch
from tuner.data.validation.findings import Findings

CHUNK_BYTES = 2**20
SECONDS_WITHOUT_A_SIGN = 60.0

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|[a-z0-9]+::")  # two letters at least: not C:\


def is_uri(source: str) -> bool:
    """Whether a source is for fsspec rather than a path of this machine."""
    return _SCHEME.match(source) is not None


def file_name(source: str) -> PurePosixPath:
    """Return the last part of a path or URI, without a query: its name and suffix."""
    if is_uri(source):
        return PurePosixPath(PurePosixPath(re.split(r"[?#]", source)[0]).name)
    return PurePosixPath(Path(source).name)


def check_exists(source: str, findings: Findings) -> None:
    """Check that a path leads to a file or folder; what is at a URI is found out by opening it.

    Raises:
        DataError: If it does not.
    """
    if not source.strip():
        findings.fail(
            "the name of the data is empty. Name a file, a folder, a URI, or an example: "
            f"{', '.join(EXAMPLES)}."
        )
    path = Path(source)
    if is_uri(source) or path.is_file() or path.is_dir():
        return
    if (link := _broken_link(path)) is not None:
        findings.fail(
            f"does not exist: the link {link} leads to {link.readlink()}, where nothing is. "
            "Mend the link, bring back what it leads to (is its disk mounted?), or name another "
            "file."
        )
    if _is_special(path):
        findings.fail(
            "is a pipe or a device, and data are read more than once. Save them to a file first, "
            "and name that."
        )
    findings.fail(f"does not exist.{_suggestion(path)}")


def _is_special(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that no file can have
        return path.exists()
    return False


def _broken_link(path: Path) -> Path | None:
    """The link in a path, itself or a folder of it, that leads nowhere."""
    with suppress(OSError, ValueError):  # a name that no file can have
        for part in (path, *path.parents):
            if part.is_symlink() and not part.exists():
                return part
    return None


@contextmanager
def local_files(
    sources: Sequence[str], findings: Findings, *, max_bytes: int, reach: Reach | None = None
) -> Iterator[list[Path]]:
    """Yield paths, and copies on this machine of what is at URIs, which go at the end.

    Args:
        sources: Paths and URIs.
        findings: Where faults are noted.
        max_bytes: Limit on all copies together.
        reach: Where copies may be made from; None for anywhere.

    Raises:
        DataError: If one cannot be copied, or all together are larger than the limit.
    """
    with ExitStack() as stack:
        paths: list[Path] = []
        left = max_bytes
        for number, source in enumerate(sources):
            path = Path(source)
            if is_uri(source):
                if not paths:
                    parent = scratch().path
                    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=parent))
                path = Path(folder) / f"{number}" / file_name(source)
                path.parent.mkdir()
                with path.open("xb") as copy:
                    _download(source, copy, findings, left, max_bytes, reach)
                    left -= copy.tell()
            paths.append(path)
        yield paths


@contextmanager
def opened(path: Path, findings: Findings) -> Iterator[IO[bytes]]:
    """Open a file.

    Raises:
        DataError: If it cannot be opened.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        findings.fail(f"cannot be opened: {error.strerror}. Check your rights to read it.")
    with file:
        yield file


def _suggestion(path: Path) -> str:
    names = list(EXAMPLES)
    if path.parent.is_dir() and os.access(path.parent, os.R_OK):
        names += [child.name for child in path.parent.iterdir() if child.name != path.name]
    near = difflib.get_close_matches(path.name, names, n=3)
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    return f" Check the path; shipped examples are {', '.join(EXAMPLES)}."


def _web_options(source: str, reach: Reach | None) -> dict[str, Any]:
    """How a web server is asked: with patience for a sign of life, within reach after redirects."""
    if not source.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(
        total=None, sock_connect=SECONDS_WITHOUT_A_SIGN, sock_read=SECONDS_WITHOUT_A_SIGN
    )
    if reach is None:
        return {"client_kwargs": {"timeout": timeout}}

    async def client(**_: Any) -> Any:  # called in fsspec's own loop
        return reach.client(timeout=timeout)

    return {"get_client": client, "skip_instance_cache": True}


def _download(
    source: str, copy: IO[bytes], findings: Findings, left: int, max_bytes: int, reach: Reach | None
) -> None:
    import fsspec

    try:
        if reach is not None:
            reach.check(source)
        with fsspec.open(source, "rb", **_web_options(source, reach)) as remote:
            while copy.tell() <= left and (chunk := remote.read(CHUNK_BYTES)):
                copy.write(chunk)
    except ImportError as error:
        findings.fail(f"needs a package that is not installed: {error}")
    except Exception as error:  # every file system has error classes of its own
        raise DataError(findings.source, [*findings.errors, explain(error)]) from error
    if copy.tell() > left:
        findings.fail(
            f"is larger than the limit of {max_bytes:,} bytes. Save less, or raise the limit "
            "(TUNER_MAX_DATA)."
        )
