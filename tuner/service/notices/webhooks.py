"""Tells the URLs that users gave that their studies have ended.

Messages are signed after the Standard Webhooks specification (standardwebhooks.com), with a secret
of the user's. What is to be sent lies in the database: any number of services may look after it,
and none has to be there at the end of a study.

A receiver may be slow, gone or hostile: each message has its own deadline and its own failure, of
which its owner is told, and one user's never take all places.
"""

import asyncio
import html
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
from standardwebhooks.webhooks import Webhook

from tuner.data.formats.reach import Reach
from tuner.data.formats.remote import explain
from tuner.service.schemas import StudyView
from tuner.storage.accounts import Seal, webhook_secret
from tuner.storage.database import Database
from tuner.storage.requests.outbox import Message, Outbox
from tuner.storage.requests.submissions import Submission, Submissions

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds that a receiver has in all, however it drips
_AT_A_TIME, _OF_A_USER = 16, 4  # messages on their way
_ROUND = 60.0  # seconds after which a round of sending claims no more
_LOOK = 0.2  # seconds between looks for what has become due
_GENERIC = "cannot be called: {reason}. Check it."
_PAUSES = (5.0, 30.0, 300.0, 1800.0, 7200.0, 36000.0)  # seconds before it is tried again


class UndeliveredError(Exception):
    """A message did not arrive: why, in words for its owner."""


def send_due(
    database: Database,
    reach: Reach | None = None,
    seal: Seal | None = None,
    public_url: str | None = None,
) -> int:
    """Send what is due, and put off what does not arrive; after half a day it is given up.

    Args:
        database: Where the messages are.
        reach: Whom the service may tell; None for anybody.
        seal: What the secrets are under that messages are signed with, if anything.
        public_url: Where people find the service, for links.

    Returns:
        How many messages arrived.
    """
    post = _Post(database, reach, seal, public_url)
    return asyncio.run(Round(Outbox(database), post).send())


class Round:
    """One round of sending: messages on their way, several at a time, users in turns.

    Args:
        outbox: The messages.
        post: Sends one; raises an `UndeliveredError` if it does not arrive.
    """

    def __init__(self, outbox: Outbox, post: Callable[[Message], Awaitable[None]]) -> None:
        self._outbox, self._post = outbox, post
        self._under_way: dict[asyncio.Task[bool], int] = {}  # with whose message it is
        self._arrived = 0

    async def send(self) -> int:
        """Send until nothing is due, or the round is over; how many arrived."""
        end = time.monotonic() + _ROUND
        while True:
            message = await self._next() if time.monotonic() < end else None
            if message is not None:
                self._under_way[asyncio.create_task(self._deliver(message))] = message.user
            elif not self._under_way:
                return self._arrived
            else:
                await self._wait()

    async def _next(self) -> Message | None:
        if len(self._under_way) >= _AT_A_TIME:
            return None
        full = [u for u, count in Counter(self._under_way.values()).items() if count >= _OF_A_USER]
        return await asyncio.to_thread(self._outbox.claim, but=full)

    async def _wait(self) -> None:
        done, _ = await asyncio.wait(
            self._under_way, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            del self._under_way[task]
            self._arrived += task.result()

    async def _deliver(self, message: Message) -> bool:
        """Send a message and write down what came of it; whether it arrived."""
        error = None
        try:
            await self._post(message)
        except UndeliveredError as fault:
            error = str(fault)
        except Exception as fault:  # noqa: BLE001  # its own, whatever it is: others wait for us
            error = explain(fault, _GENERIC)
            _log.exception("telling %s failed", message.submission)
        pause = None if error is None else dict(enumerate(_PAUSES)).get(message.attempts)
        if error is not None:
            _log.warning("telling of study %s: %s", message.submission, error)
            error += f" Tried {message.attempts + 1} times" + ("." if pause else "; given up.")
        await asyncio.to_thread(self._outbox.plan, message, pause, error)
        return error is None


class _Post:
    """Calls webhooks."""

    def __init__(
        self, database: Database, reach: Reach | None, seal: Seal | None, public_url: str | None
    ) -> None:
        self._database, self._seal, self._public_url = database, seal, public_url
        self._client = aiohttp.ClientSession if reach is None else reach.client

    async def __call__(self, message: Message) -> None:
        """Send a message.

        Raises:
            UndeliveredError: If it did not arrive.
        """
        content = await asyncio.to_thread(
            _content, self._database, message, self._seal, self._public_url
        )
        if content is None:
            return  # deleted meanwhile: nobody waits for it
        body, headers = content
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with (
                self._client(timeout=timeout) as client,
                client.post(
                    message.url, data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise UndeliveredError(f"The webhook's URL: {explain(fault, _GENERIC)}") from fault
        if not 200 <= status < 300:
            raise UndeliveredError(f"The webhook's URL: the server answered {status}.")


def _content(
    database: Database, message: Message, seal: Seal | None, public_url: str | None
) -> tuple[bytes, dict[str, str]] | None:
    """The body of a message and its headers; None if its submission is gone."""
    submission = Submissions(database, max_queued=0).get(message.user, message.submission)
    if submission is None:
        return None
    view = StudyView.of(submission).model_dump(mode="json", by_alias=True)
    now = datetime.now(UTC)
    body = json.dumps({"type": "study.ended", "timestamp": now.isoformat(), "data": view})
    if message.format == "slack":
        body = json.dumps({"text": html.escape(notice(submission, public_url), quote=False)})
    name = f"study.ended.{submission.id}"  # the same each time: a receiver may count them once
    secret = webhook_secret(database, message.user, seal)
    signature = Webhook(secret).sign(name, now, body)
    return body.encode(), {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


def notice(submission: Submission, public_url: str | None) -> str:
    """Say in a sentence that a study ended, and where to look if that is known."""
    words = f"{submission.name} was cancelled."
    if submission.status == "failed":
        words = f"{submission.name} failed: {submission.error}"
    if submission.status == "done":
        headline = (submission.result or {}).get("headline")
        words = f"{submission.name}: {headline}" if headline else f"{submission.name} is done."
    link = "" if public_url is None else f" {public_url.rstrip('/')}/#/studies/{submission.id}"
    return words + link
