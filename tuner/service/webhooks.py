"""Tells the URLs that users gave that their studies have ended.

Messages are signed after the Standard Webhooks specification (standardwebhooks.com), with a secret
of the user's. What is to be sent lies in the database: any number of services may look after it,
and none has to be there at the end of a study.
"""

import json
import logging
from datetime import UTC, datetime

import httpx2
from standardwebhooks.webhooks import Webhook

from tuner.service.schemas import StudyView
from tuner.storage.accounts import webhook_secret
from tuner.storage.database import Database
from tuner.storage.outbox import Message, WebhookOutbox
from tuner.storage.submissions import Submissions

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds that a receiver has
_PAUSES = (5.0, 30.0, 300.0, 1800.0, 7200.0, 36000.0)  # seconds before it is tried again


def send_due(database: Database) -> int:
    """Send what is due, and put off what does not arrive; after half a day it is given up.

    Returns:
        How many messages arrived.
    """
    arrived, outbox = 0, WebhookOutbox(database)
    while (message := outbox.claim()) is not None:
        if _send(database, message):
            arrived += 1
            pause = None
        else:
            pause = dict(enumerate(_PAUSES)).get(message.attempts)
        outbox.plan(message, pause)
    return arrived


def _send(database: Database, message: Message) -> bool:
    """Send a message; whether it arrived."""
    submission = Submissions(database, max_queued=0).get(message.user, message.submission)
    if submission is None:
        return True  # deleted meanwhile: nobody waits for it
    view = StudyView.of(submission).model_dump(mode="json", by_alias=True)
    now = datetime.now(UTC)
    body = json.dumps({"type": "study.ended", "timestamp": now.isoformat(), "data": view})
    name = (
        f"study.ended.{submission.id}"  # the same at every attempt: a receiver may count them once
    )
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(webhook_secret(database, message.user)).sign(name, now, body),
    }
    try:
        answer = httpx2.post(
            message.url, content=body, headers=headers, timeout=_TIMEOUT, follow_redirects=False
        )
    except httpx2.HTTPError as fault:
        _log.warning("webhook of study %s: %s", submission.id, fault)
        return False
    if not answer.is_success:
        _log.warning("webhook of study %s: answered %d", submission.id, answer.status_code)
    return answer.is_success
