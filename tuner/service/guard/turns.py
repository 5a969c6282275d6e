"""Places that users take in turns."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Ticket:
    user: Hashable
    called: asyncio.Event = field(default_factory=asyncio.Event)


class FairQueue:
    """A few places, for which users wait in turns.

    What is promised: whoever has the fewest places goes first, and of these whoever has waited
    longest; the last free place is kept for somebody who has none, so that one user who holds
    places for long keeps nobody else waiting. All calls come from one event loop.

    Args:
        places: How many there are; at least 2.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._taken: Counter[Hashable] = Counter()
        self._waiting: list[_Ticket] = []

    @asynccontextmanager
    async def place(self, user: Hashable) -> AsyncIterator[None]:
        """Wait for a place, and have it meanwhile."""
        ticket = _Ticket(user)
        self._waiting.append(ticket)
        self._call()
        try:
            await ticket.called.wait()
            yield
        finally:
            if ticket.called.is_set():
                self._free += 1
                self._taken[user] -= 1
                self._taken += Counter()  # forgets who has none
            else:
                self._waiting.remove(ticket)
            self._call()

    def _call(self) -> None:
        """Give free places to those whose turn it is."""
        while self._free:
            ticket = min(self._waiting, key=lambda each: self._taken[each.user], default=None)
            if ticket is None or (self._free == 1 and self._taken[ticket.user]):
                return
            self._waiting.remove(ticket)
            self._free -= 1
            self._taken[ticket.user] += 1
            ticket.called.set()


class Bound:
    """How many of something one user and all together may have under way.

    Args:
        each: Of one user.
        all_together: Of all.
    """

    def __init__(self, each: int, all_together: int) -> None:
        self._each, self._all = each, all_together
        self._taken: Counter[Hashable] = Counter()

    def take(self, user: Hashable) -> bool:
        """Count one more, unless that is too many; whether it was counted."""
        if self._taken[user] >= self._each or self._taken.total() >= self._all:
            return False
        self._taken[user] += 1
        return True

    def give_back(self, user: Hashable) -> None:
        """Count one less."""
        self._taken[user] -= 1
        self._taken += Counter()
