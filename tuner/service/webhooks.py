"""Tells the URLs that users gave that their studies have ended.

Messages are signed after the Standard Webhooks specification (standardwebhooks.com), with a secret
of the user's. What is to be sent lies in the database: any number of services may look after it,
and none has to be there at the end of a study.
"""

import json
import logging
from datetime import UTC, datetime
from functools import partial

import httpx2
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook

from tuner.service.schemas import StudyView
from tuner.storage.accounts import webhook_secret
from tuner.storage.leases import clock
from tuner.storage.studies import StudyStore
from tuner.storage.submissions import ENDED, Submissions
from tuner.storage.tables import StudyRow, SubmissionRow

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0  # seconds that a receiver has
_PAUSES = (5.0, 30.0, 300.0, 1800.0, 7200.0, 36000.0)  # seconds before it is tried again
_SENDING = 60.0  # seconds in which nobody else sends it


def send_due(store: StudyStore) -> int:
    """Send what is due, and put off what does not arrive; after half a day it is given up.

    Returns:
        How many messages arrived.
    """
    arrived = 0
    while (row := store.run(_claim)) is not None:
        if _send(store, row):
            arrived += 1
            pause = None
        else:
            pause = dict(enumerate(_PAUSES)).get(row.webhook_attempts)
        store.run(partial(_plan, row=row, pause=pause))
    return arrived


def _claim(session: Session) -> SubmissionRow | None:
    """Take a message, so that no other service sends it, too."""
    now = float(session.scalar(select(clock(session))) or 0.0)
    is_due = SubmissionRow.webhook_due <= now
    row = session.scalar(
        select(SubmissionRow)
        .join(StudyRow)
        .where(is_due, or_(StudyRow.status.in_(ENDED), SubmissionRow.cancelled))
        .limit(1)
    )
    if row is None:
        return None
    taken = session.execute(
        update(SubmissionRow)
        .where(SubmissionRow.number == row.number, is_due)
        .values(webhook_due=now + _SENDING)
    )
    return row if taken.rowcount else None  # type: ignore[attr-defined]  # a CursorResult


def _plan(session: Session, row: SubmissionRow, pause: float | None) -> None:
    """Write down when a message is due again, if at all."""
    due = None if pause is None else clock(session) + pause
    session.execute(
        update(SubmissionRow)
        .where(SubmissionRow.number == row.number)
        .values(webhook_due=due, webhook_attempts=row.webhook_attempts + 1)
    )


def _send(store: StudyStore, row: SubmissionRow) -> bool:
    """Send a message; whether it arrived."""
    submission = Submissions(store, max_queued=0).get(row.user_id, row.id)
    if submission is None or row.webhook is None:
        return True  # deleted meanwhile: nobody waits for it
    view = StudyView.of(submission).model_dump(mode="json", by_alias=True)
    now = datetime.now(UTC)
    body = json.dumps({"type": "study.ended", "timestamp": now.isoformat(), "data": view})
    name = f"study.ended.{row.id}"  # the same at every attempt: a receiver may count them once
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(webhook_secret(store, row.user_id)).sign(name, now, body),
    }
    try:
        answer = httpx2.post(
            row.webhook, content=body, headers=headers, timeout=_TIMEOUT, follow_redirects=False
        )
    except httpx2.HTTPError as fault:
        _log.warning("webhook of study %s: %s", row.id, fault)
        return False
    if not answer.is_success:
        _log.warning("webhook of study %s: answered %d", row.id, answer.status_code)
    return answer.is_success
