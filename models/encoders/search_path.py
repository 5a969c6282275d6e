"""Where `MODULE:NAME` is looked for: the folder of the command comes after all that is installed.

A folder of a user's is never put first: a `queue.py` in it would take the place of Python's own.
"""

import sys
from collections.abc import Iterable
from pathlib import Path


def search_path() -> tuple[str, ...]:
    """Return the absolute folders that this process looks in, and the working directory."""
    return tuple(dict.fromkeys(str(Path(folder).absolute()) for folder in (*sys.path, "")))


def extend_search_path(folders: Iterable[str]) -> None:
    """Look in these, too, after all others."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)
