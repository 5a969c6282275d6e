"""What happens to a study, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from tuner.service.routes.dependencies import Mine, Reader, SubmissionsOf
from tuner.service.routes.problems import OF_A_STUDY
from tuner.storage.database import LAST_NUMBER
from tuner.storage.submissions import ENDED, Submissions

_LOOK = 0.5  # seconds between looks for new events
router = APIRouter(tags=["studies"])


@router.get(
    "/studies/{id}/events",
    response_class=EventSourceResponse,
    responses=OF_A_STUDY | {200: {"content": {"text/event-stream": {}}}},
)
async def get_events(
    submissions: SubmissionsOf,
    caller: Reader,
    mine: Mine,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> EventSourceResponse:
    """Follow a study: `status` and `progress` events, to its end.

    A client that lost its connection sends `Last-Event-ID` and misses nothing.
    """
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    seen = min(after, LAST_NUMBER)
    look = partial(_look, submissions, caller.user, mine.id, mine.study)

    async def events() -> AsyncIterator[ServerSentEvent]:
        nonlocal seen
        while True:
            news, end = await anyio.to_thread.run_sync(look, seen)
            for number, event in news:
                seen = number
                yield event
            if end is not None:
                yield end
                return
            await asyncio.sleep(_LOOK)

    return EventSourceResponse(events(), ping=15)


def _look(
    submissions: Submissions, user: int, submission: str, study: str, after: int
) -> tuple[list[tuple[int, ServerSentEvent]], ServerSentEvent | None]:
    """Return what happened after an event, by number, and the end if there is one."""
    now = submissions.get(user, submission)  # first: what happened before the end is not missed
    news = [
        (row.id, ServerSentEvent(json.dumps(row.content), event=row.kind, id=str(row.id)))
        for row in submissions.events(study, after=after)
    ]
    if now is not None and now.status not in ENDED:
        return news, None
    status = "deleted" if now is None else now.status
    return news, ServerSentEvent(json.dumps({"status": status}), event="end")
