"""Sees which studies have news, by one statement for all who follow any."""

import asyncio
import time

import anyio

from tuner.storage.requests.submissions import Submissions

LOOK = 0.5  # seconds between looks for new events
_REMEMBERED = 10_000  # studies that had news


class Watch:
    """Looks for new events; all calls come from one event loop.

    Args:
        submissions: Where the events are.
    """

    def __init__(self, submissions: Submissions) -> None:
        self._submissions = submissions
        self._lock = asyncio.Lock()
        self._looked, self._newest = -LOOK, 0
        self._latest: dict[str, int] = {}  # event of a study, since this began to look

    async def has_news(self, study: str, after: int) -> bool:
        """Whether something was told of a study after an event, as far as half a second ago."""
        async with self._lock:
            if time.monotonic() - self._looked >= LOOK:
                latest = await anyio.to_thread.run_sync(self._submissions.news, self._newest)
                self._looked = time.monotonic()
                self._newest = max((self._newest, *latest.values()))
                if len(self._latest) > _REMEMBERED:
                    self._latest = {}
                self._latest |= latest
        return self._latest.get(study, 0) > after
