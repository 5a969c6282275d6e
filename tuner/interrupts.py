"""Ctrl-C that waits until what is being written is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
    held = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *a: pending.append(a[0])) for number in held}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if pending:
        raise KeyboardInterrupt
