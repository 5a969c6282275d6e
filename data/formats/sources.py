"""Finds and opens what a user calls a data set: a path, a URI, or the name of an example."""

import difflib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tuner.data.errors import DataError
from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.remote import explain
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
    """Check that a path leads to a file; what is at a URI is found out by opening it.

    Raises:
        DataError: If it does not.
    """
    path = Path(source)
    if is_uri(source) or path.is_file():
        return
    if (link := _broken_link(path)) is not None:
        findings.fail(
            f"does not exist: the link {link} leads to {link.readlink()}, where nothing is. "
            "Mend the link, bring back what it leads to (is its disk mounted?), or name another "
            "file."
        )
    if path.is_dir():
        findings.fail("is a folder. Name the .npz or .parquet file in it.")
    findings.fail(f"does not exist, or is not a file.{_suggestion(path)}")


def _broken_link(path: Path) -> Path | None:
    """The link in a path, itself or a folder of it, that leads nowhere."""
    with suppress(OSError, ValueError):  # a name that no file can have
        for part in (path, *path.parents):
            if part.is_symlink() and not part.exists():
                return part
    return None


@contextmanager
def open_source(source: str, findings: Findings, *, max_bytes: int) -> Iterator[IO[bytes]]:
    """Open a path, or a local copy of what is at a URI, as a seekable stream of bytes.

    Raises:
        DataError: If it cannot be opened or copied.
    """
    if is_uri(source):
        with tempfile.TemporaryFile() as copy:
            _download(source, copy, findings, max_bytes)
            yield copy
    else:
        with _open_path(Path(source), findings) as file:
            yield file


def _open_path(path: Path, findings: Findings) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        findings.fail(f"cannot be opened: {error.strerror}. Check your rights to read it.")


def _suggestion(path: Path) -> str:
    names = list(EXAMPLES)
    if path.parent.is_dir() and os.access(path.parent, os.R_OK):
        names += [child.name for child in path.parent.iterdir() if child.name != path.name]
    near = difflib.get_close_matches(path.name, names, n=3)
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    return f" Check the path; shipped examples are {', '.join(EXAMPLES)}."


def _patience(source: str) -> dict[str, Any]:
    """How long to wait for a web server: for a sign of life, not for the whole of a large file."""
    if not source.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {
        "client_kwargs": {
            "timeout": ClientTimeout(
                total=None, sock_connect=SECONDS_WITHOUT_A_SIGN, sock_read=SECONDS_WITHOUT_A_SIGN
            )
        }
    }


def _download(source: str, copy: IO[bytes], findings: Findings, max_bytes: int) -> None:
    import fsspec

    try:
        with fsspec.open(source, "rb", **_patience(source)) as remote:
            while copy.tell() <= max_bytes and (chunk := remote.read(CHUNK_BYTES)):
                copy.write(chunk)
    except ImportError as error:
        findings.fail(f"needs a package that is not installed: {error}")
    except Exception as error:  # every file system has error classes of its own
        raise DataError(findings.source, [*findings.errors, explain(error)]) from error
    if copy.tell() > max_bytes:
        findings.fail(
            f"is larger than the limit of {max_bytes:,} bytes. Save less, or raise the limit "
            "(TUNER_MAX_DATA)."
        )
    copy.seek(0)
