"""Connections to a server that are let go of when they are not needed, and words for who listens.

A driver asks something of the database every few seconds. A thousand of them that kept what they
are connected by would keep thousands of processes of PostgreSQL, which by default has room for a
hundred. To connect takes milliseconds: it is done once for what is asked in one go.
"""

import threading
import time
from typing import Any

from sqlalchemy import func, make_url, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty

IDLE = 0.05  # seconds for which a connection is kept that nobody uses
CHANNEL = "tuner"  # of PostgreSQL, over which is told what changed
QUEUE = "queue"  # what is said where a study is to be started or stopped
LOOK = "look"  # and where who follows a study has to look again: it was cancelled, or is not theirs


def driver_options(url: str) -> dict[str, Any]:
    """Return options of every engine of a database.

    A pooler of transactions, such as PgBouncer, gives a client another connection to the server
    each time: a statement that was prepared over one is missing over the next, or is another
    client's there.
    """
    is_ours = make_url(url).get_driver_name() == "psycopg"
    return {"connect_args": {"prepare_threshold": None}} if is_ours else {}


def hears_words(session: Session) -> bool:
    """Whether the database passes on what is told: see `tuner.storage.requests.listener`."""
    return session.get_bind().dialect.name == "postgresql"


def announce(session: Session, *told: str) -> None:
    """Tell whoever listens, once the transaction is committed."""
    if hears_words(session):
        session.execute(select(*(func.pg_notify(CHANNEL, words) for words in told)))


class BriefPool(QueuePool):
    """A pool that closes its connections once nobody has used it for a moment."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._used, self._is_watched, self._watching = 0.0, False, threading.Lock()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self._used = time.monotonic()
        self._watch(IDLE)

    def _watch(self, pause: float) -> None:
        with self._watching:
            if not self._is_watched:
                self._is_watched = True
                timer = threading.Timer(pause, self._look)
                timer.daemon = True
                timer.start()

    def _look(self) -> None:
        self._is_watched = False
        rest = self._used + IDLE - time.monotonic()
        if rest > 0:
            self._watch(rest)
        else:
            self._close_idle()

    def _close_idle(self) -> None:
        """Close what nobody has, as a pool does that is given back more than it keeps."""
        while True:
            try:
                record = self._pool.get(block=False)
            except Empty:
                return
            try:
                record.close()
            finally:
                self._dec_overflow()
