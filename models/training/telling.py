"""How far a training is, told to whoever listens in its process while it goes on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

PAUSE = 1.0  # seconds between two things that are told


@dataclass(frozen=True, kw_only=True)
class Advance:
    """How far the training of a trial is.

    Attributes:
        ended: Replicates of earlier stacks, which are trained.
        stacked: Replicates of the stack that is being trained.
        epoch: Passes over the training rows that this stack has made; 2.5 in the middle of the
            third.
        epochs: Of a replicate, at most.
        patience: Epochs after the best at which a replicate stops.
    """

    ended: int
    stacked: int
    epoch: float
    epochs: int
    patience: int


Listener = Callable[[Advance], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listener() -> Listener | None:
    """Return who listens to trainings of this process, if anybody."""
    return _listener.get()


@contextmanager
def told_to(hears: Listener | None) -> Iterator[None]:
    """Tell someone how far each training in the block is, at once and then every second."""
    token = _listener.set(hears)
    try:
        yield
    finally:
        _listener.reset(token)


class Teller:
    """Tells the listener how far a stack is, if there is one and the last was a second ago.

    Args:
        ended: As of `Advance`.
        stacked: As of `Advance`.
        epochs: As of `Advance`.
        patience: As of `Advance`.
    """

    def __init__(self, *, ended: int, stacked: int, epochs: int, patience: int) -> None:
        self._listener, self._due = listener(), time.monotonic()
        self._ended, self._stacked = ended, stacked
        self._epochs, self._patience = epochs, patience

    def at(self, epoch: float) -> None:
        """Say that so many epochs are made."""
        if self._listener is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PAUSE
        self._listener(
            Advance(
                ended=self._ended,
                stacked=self._stacked,
                epoch=epoch,
                epochs=self._epochs,
                patience=self._patience,
            )
        )
