"""What happens to a study, as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from tuner.service.problems import OF_A_STUDY
from tuner.service.routes.dependencies import DatabaseOf, Mine, Reader, SubmissionsOf, WatchOf
from tuner.storage.accounts import is_let_in
from tuner.storage.database import LAST_NUMBER
from tuner.storage.requests.submissions import Submissions
from tuner.study.result import ENDED

_LEAST = 0.1  # seconds between any two looks
_AT_ONCE = 500  # events that one look returns
_UNREAD = 30.0  # seconds that an event may wait to be read
Wait = Callable[[int, float], Awaitable[None]]
Look = Callable[[int], tuple[list[tuple[int, ServerSentEvent]], ServerSentEvent | None]]
router = APIRouter(tags=["studies"])


@router.get(
    "/studies/{id}/events",
    response_class=EventSourceResponse,
    responses=OF_A_STUDY | {200: {"content": {"text/event-stream": {}}}},
)
async def get_events(
    submissions: SubmissionsOf,
    database: DatabaseOf,
    watch: WatchOf,
    caller: Reader,
    mine: Mine,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> EventSourceResponse:
    """Follow a study: `status` and `progress` events, to its end.

    A client that lost its connection sends `Last-Event-ID` and misses nothing. The stream ends
    when its key is revoked, its session is closed, or the study is shown no more.
    """
    look = partial(look_at, submissions, caller.user, mine.id, mine.study)
    wait = partial(watch.wait, mine.study)
    return followed(look, wait, partial(is_let_in, database, caller), last_event_id)


def followed(
    look: Look, wait: Wait, may_look: Callable[[], bool], last_event_id: str | None
) -> EventSourceResponse:
    """Answer with what happens to a study, to its end or that of the right to see it.

    Nothing is told to whoever has lost that right; the stream ends within seconds.

    Args:
        look: Returns what happened after an event, by number, and the end if there is one.
        wait: Given what was seen and when, returns once there may be something to see.
        may_look: Whether whoever follows may go on.
        last_event_id: What they have seen.
    """
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    seen = min(after, LAST_NUMBER)

    async def events() -> AsyncIterator[ServerSentEvent]:
        nonlocal seen
        await wait(seen, 0.0)  # what happens from here on is news
        since = time.monotonic()
        while await anyio.to_thread.run_sync(may_look):
            news, end = await anyio.to_thread.run_sync(look, seen)
            for number, event in news:
                seen = number
                yield event
            if end is not None:
                yield end
                return
            await asyncio.sleep(_LEAST)
            if len(news) < _AT_ONCE:
                await wait(seen, since)
            since = time.monotonic()

    return EventSourceResponse(events(), ping=15, send_timeout=_UNREAD)


def look_at(
    submissions: Submissions, user: int, submission: str, study: str, after: int
) -> tuple[list[tuple[int, ServerSentEvent]], ServerSentEvent | None]:
    """Return what happened after an event, by number, and the end if there is one."""
    now = submissions.get(user, submission)  # first: what happened before the end is not missed
    if now is None:
        return [], ServerSentEvent(json.dumps({"status": "deleted"}), event="end")
    news = [
        (row.id, ServerSentEvent(json.dumps(row.content), event=row.kind, id=str(row.id)))
        for row in submissions.events(study, after=after, limit=_AT_ONCE)
    ]
    if now.status not in ENDED:
        return news, None
    return news, ServerSentEvent(json.dumps({"status": now.status}), event="end")
