"""When Python looks for garbage, in processes that load hundreds of thousands of objects to keep.

Looking through all of them takes a third of a second, and loading them has Python do so many times.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_LOADING = (100_000, 50, 10)  # in place of 700, 10, 10: see `gc.set_threshold`


def collect_seldom() -> None:
    """Look less often from now on, in a process that is ours to its end."""
    gc.set_threshold(*_LOADING)


@contextmanager
def loading() -> Iterator[None]:
    """Look less often while the block loads modules."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
