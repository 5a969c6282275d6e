"""Tells the URLs that users gave that their studies have ended.

Messages are signed after the Standard Webhooks specification (standardwebhooks.com), with a secret
of the user's. What is to be sent lies in the database: any number of services may look after it,
and none has to be there at the end of a study.

A receiver may be slow, gone or hostile: each message has its own deadline and its own failure, of
which its owner is told, and one user's never take all places.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from datetime import UTC, datetime

import aiohttp
from standardwebhooks.webhooks import Webhook

from tuner.data.formats.reach import Reach
from tuner.data.formats.remote import explain
from tuner.service.schemas import StudyView
from tuner.storage.accounts import Seal, webhook_secret
from tuner.storage.database import Database
from tuner.storage.outbox import Message, WebhookOutbox
from tuner.storage.submissions import Submissions

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds that a receiver has in all, however it drips
_AT_A_TIME, _OF_A_USER = 16, 4  # messages on their way
_ROUND = 60.0  # seconds after which a round of sending claims no more
_LOOK = 0.2  # seconds between looks for what has become due
_GENERIC = "cannot be called: {reason}. Check it."
_PAUSES = (5.0, 30.0, 300.0, 1800.0, 7200.0, 36000.0)  # seconds before it is tried again


class _UndeliveredError(Exception):
    """A message did not arrive: why, in words for its owner."""


def send_due(database: Database, reach: Reach | None = None, seal: Seal | None = None) -> int:
    """Send what is due, and put off what does not arrive; after half a day it is given up.

    Args:
        database: Where the messages are.
        reach: Whom the service may tell; None for anybody.
        seal: What the secrets are under that messages are signed with, if anything.

    Returns:
        How many messages arrived.
    """
    return asyncio.run(_Round(database, reach, seal).send())


class _Round:
    """One round of sending: messages on their way, several at a time, users in turns."""

    def __init__(self, database: Database, reach: Reach | None, seal: Seal | None) -> None:
        self._database, self._seal = database, seal
        self._client = aiohttp.ClientSession if reach is None else reach.client
        self._outbox = WebhookOutbox(database)
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
        except _UndeliveredError as fault:
            error = str(fault)
        except Exception as fault:  # noqa: BLE001  # its own, whatever it is: others wait for us
            error = explain(fault, _GENERIC)
            _log.exception("webhook of study %s failed", message.submission)
        pause = None if error is None else dict(enumerate(_PAUSES)).get(message.attempts)
        if error is not None:
            _log.warning("webhook of study %s: %s", message.submission, error)
            error += f" Tried {message.attempts + 1} times" + ("." if pause else "; given up.")
        await asyncio.to_thread(self._outbox.plan, message, pause, error)
        return error is None

    async def _post(self, message: Message) -> None:
        """Send a message.

        Raises:
            _UndeliveredError: If it did not arrive.
        """
        content = await asyncio.to_thread(_content, self._database, message, self._seal)
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
            raise _UndeliveredError(f"The webhook's URL: {explain(fault, _GENERIC)}") from fault
        if not 200 <= status < 300:
            raise _UndeliveredError(f"The webhook's URL: the server answered {status}.")


def _content(
    database: Database, message: Message, seal: Seal | None
) -> tuple[bytes, dict[str, str]] | None:
    """The body of a message and its headers; None if its submission is gone."""
    submission = Submissions(database, max_queued=0).get(message.user, message.submission)
    if submission is None:
        return None
    view = StudyView.of(submission).model_dump(mode="json", by_alias=True)
    now = datetime.now(UTC)
    body = json.dumps({"type": "study.ended", "timestamp": now.isoformat(), "data": view})
    name = f"study.ended.{submission.id}"  # the same each time: a receiver may count them once
    secret = webhook_secret(database, message.user, seal)
    signature = Webhook(secret).sign(name, now, body)
    return body.encode(), {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
