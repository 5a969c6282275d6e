"""Sees which studies have news: what the database tells, or by one statement for all who follow."""

import asyncio
import time
from contextlib import suppress
from weakref import WeakValueDictionary

import anyio

from tuner.storage import connections
from tuner.storage.requests.listener import Announcement, Listener
from tuner.storage.requests.submissions import Submissions

LOOK = 0.5  # seconds between looks for new events
_SELDOM = 5.0  # where they are told: programs of an older version tell nothing
_RIGHT = 3.0  # seconds between looks for the rest: the end of the right to look, a deletion
_RIGHT_IF_TOLD = 15.0  # where they are told: a right that ends by itself is not
_REMEMBERED = 10_000  # studies that had news


class Watch:
    """Looks for new events; all calls come from one event loop, what is told from a thread.

    Args:
        submissions: Where the events are.
        listener: What hears of them.
    """

    def __init__(self, submissions: Submissions, listener: Listener) -> None:
        self._submissions, self._listener = submissions, listener
        self._lock = asyncio.Lock()
        self._looked, self._newest, self._changed = -_SELDOM, 0, 0.0
        self._latest: dict[str, int] = {}  # event of a study, since this began to look
        self._awaited: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._loop: asyncio.AbstractEventLoop | None = None
        listener.tell(self._hear)

    async def has_news(self, study: str, after: int) -> bool:
        """Whether something was told of a study after an event, as far as is known.

        That is half a second ago where one has to look.
        """
        self._loop = asyncio.get_running_loop()
        async with self._lock:
            if time.monotonic() - self._looked >= self._pause:
                latest = await anyio.to_thread.run_sync(self._submissions.news, self._newest)
                self._looked = time.monotonic()
                self._newest = max((self._newest, *latest.values()))
                self._note(latest)
        return self._latest.get(study, 0) > after

    async def wait(self, study: str, after: int, since: float) -> None:
        """Return once there may be something to see of a study, and after a while in any case.

        That is seconds, or a quarter of a minute where one is told of all but what ends by itself.

        Args:
            study: The study.
            after: The last event that was seen.
            since: When one looked, by `time.monotonic`.
        """
        while not await self.has_news(study, after) and self._changed < since:
            most = _RIGHT_IF_TOLD if self._listener.is_listening else _RIGHT
            remaining = since + most - time.monotonic()
            if remaining <= 0:
                return
            told = self._awaited.setdefault(study, asyncio.Event())
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), min(remaining, self._pause))

    @property
    def _pause(self) -> float:
        return _SELDOM if self._listener.is_listening else LOOK

    def _note(self, latest: dict[str, int]) -> None:
        if len(self._latest) > _REMEMBERED:
            self._latest = {}
        for study, number in latest.items():
            self._latest[study] = max(number, self._latest.get(study, 0))

    def _hear(self, announcement: Announcement | None) -> None:
        """Hear in another thread what is told."""
        loop = self._loop
        if loop is None:  # nobody follows
            return
        with suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(self._heard, announcement)

    def _heard(self, announcement: Announcement | None) -> None:
        if announcement is None or announcement.kind == connections.LOOK:
            self._looked, self._changed = -_SELDOM, time.monotonic()
            awaited = list(self._awaited.values())
            self._awaited.clear()
        else:
            self._note({announcement.study: announcement.number})
            awaited = [self._awaited.pop(announcement.study, asyncio.Event())]
        for told in awaited:
            told.set()
