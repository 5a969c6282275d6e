"""Ctrl-C that waits until what is being written is written."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IMPORTS = "<frozen importlib"  # how the files of that code are called
_MOMENT = 0.01  # seconds
_unheard = threading.Event()


def raise_on_interrupt() -> None:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt, once more if nobody heard of the first.

    Python drops what is raised while it destroys an object or calls back from C, as Ray's often
    does: then the next `interrupts_wait` or `raise_if_unheard` raises it again, and nothing is
    printed. In the machinery of imports it would leave the lock taken that all imports share: then
    it is raised a moment later, when that code is left.
    """

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        _unheard.set()
        if frame is not None and frame.f_code.co_filename.startswith(_IMPORTS):
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
        else:
            raise KeyboardInterrupt

    tell = sys.unraisablehook

    def tell_others(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            tell(dropped)

    _unheard.clear()
    have_interrupts(interrupt)
    sys.unraisablehook = tell_others


def have_interrupts(
    handler: "Callable[[int, FrameType | None], None] | signal.Handlers",
) -> None:
    """Have SIGINT and SIGTERM do something else from here on."""
    for number in _SIGNALS:
        signal.signal(number, handler)


def is_interrupted() -> bool:
    """Whether an interrupt has come since `raise_on_interrupt`."""
    return _unheard.is_set()


def raise_if_unheard() -> None:
    """Raise KeyboardInterrupt if Python dropped one; for loops that wait for others."""
    if _unheard.is_set():
        raise KeyboardInterrupt


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block ends, then raise KeyboardInterrupt.

    An interrupt in the middle of a database library leaves its transaction open, and with it the
    lock that whoever cleans up after the interrupt waits for. Outside the main thread, which
    alone is interrupted, nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = {n: signal.signal(n, lambda *a: pending.append(a[0])) for n in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if pending:
        raise KeyboardInterrupt
    raise_if_unheard()
