"""Connections of strangers: how many there are, and how long each may take to say what it wants.

Uvicorn bounds neither: a connection that sends half a header stays for ever, and asyncio accepts
until the process has no descriptor left.
"""

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # that a request's headers may take, from the connection or its first byte
BACKLOG = 32  # connections that are accepted at once, before any is counted
_MOST, _LEAST = 1024, 16
_UNREAD = 4 * 2**20  # bytes of a body that was refused, after which it is cut off
_KEPT = 96  # descriptors for all else that a service does


def most_connections() -> int:
    """How many connections a process may have, so that descriptors are left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(_LEAST, min(_MOST, soft - BACKLOG - _KEPT))


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 whose connections are timed while they ask for nothing, and are not too many.

    Where there is one too many, the one that has asked for nothing for longest makes room: who
    only holds connections open keeps nobody out.
    """

    most = most_connections()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.most:
            others = (each for each in self.connections if each is not self)
            idle = [o for o in others if isinstance(o, BoundedProtocol) and o._deadline is not None]
            first = min(idle, key=lambda other: other._due, default=self)
            first.transport.abort()
            self.connections.discard(first)  # at once: the next one may come before it is told

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; of a body that was refused only as much as lets its answer be read."""
        if self.cycle is not None and self.is_idle and self.conn.their_state is h11.SEND_BODY:
            self._unread += len(data)
            if self._unread > _UNREAD:
                self.transport.abort()
                return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of a body that nobody reads."""
        super().on_response_complete()
        self._unread = 0
        self._watch()

    def _watch(self) -> None:
        """Time a connection while it asks for nothing, however often it sends a byte."""
        if not self.is_idle:
            self._forget_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    @property
    def _due(self) -> float:
        return 0.0 if self._deadline is None else self._deadline.when()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.is_idle and not self.transport.is_closing():
            self.transport.abort()
