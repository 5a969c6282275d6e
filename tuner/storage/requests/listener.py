"""What others tell over a PostgreSQL server, heard as it is told.

Whoever changes something that others wait for tells so in the same transaction (`announce`); one
connection of a process listens. Where nobody can be heard, all look for themselves: of a SQLite
file, while the server is away, and behind a PgBouncer that pools transactions, which passes on
nothing that is told.
"""

import logging
import os
import secrets
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.storage.connections import CHANNEL, announce, driver_options
from tuner.storage.database import Database

if TYPE_CHECKING:
    import psycopg

_log = logging.getLogger(__name__)
_PROBES = 20.0  # seconds between two words to oneself
_HEARD = 5.0  # seconds in which such a word has to come back
_NOT_HEARD = "a word to itself did not come back, as behind a pooler of transactions"
_AGAIN, _DEAF = 2.0, 60.0  # seconds until it is tried again: of a server that is away; else


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What was told.

    Attributes:
        kind: An event's, or one of `tuner.storage.connections`: `QUEUE`, `LOOK`.
        study: The event's study.
        number: The event's.
    """

    kind: str
    study: str = ""
    number: int = 0


class _DeafError(ConnectionError):
    """Nothing is heard over this connection."""


Hears = Callable[[Announcement | None], None]


class Listener:
    """Listens from `with` to its end.

    What is promised: while `is_listening`, all that is told is heard, a word to itself every twenty
    seconds proves it; where it is not, it becomes so by itself.

    Args:
        database: Whose server others tell of.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hear: list[Hears] = []
        self._is_heard, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._end, self._ending = os.pipe()
        if self._database.engine.driver == "psycopg":
            self._thread = threading.Thread(target=self._work, name="listener", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        os.close(self._ending)  # which ends what waits for the other end
        if self._thread is not None:
            self._thread.join()
        os.close(self._end)

    @property
    def is_listening(self) -> bool:
        """Whether all is heard at the moment: then nobody has to look."""
        return self._is_heard.is_set()

    def tell(self, hears: Hears) -> None:
        """Have somebody told what is heard, in a thread; None where something may be missed."""
        self._hear.append(hears)

    def _work(self) -> None:
        engine = create_engine(
            self._database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            **driver_options(self._database.url),
        )
        is_known = False  # that nothing is heard
        while not self._ended.is_set():
            try:
                with engine.connect() as connection:
                    self._listen(connection.connection.driver_connection)  # type: ignore[arg-type]
            except (SQLAlchemyError, ConnectionError) as fault:
                level = logging.DEBUG if is_known and not self.is_listening else logging.WARNING
                reason = getattr(fault, "orig", fault)
                _log.log(level, "the database tells nothing, and is asked instead: %s", reason)
                is_known = True
                self._is_heard.clear()
                self._ended.wait(_DEAF if isinstance(fault, _DeafError) else _AGAIN)
        engine.dispose()

    def _listen(self, connection: "psycopg.Connection") -> None:
        """Pass on what is told, until the end.

        Raises:
            ConnectionError: If the server is away, or a word to itself does not come back.
        """
        import psycopg

        try:
            connection.execute(f"LISTEN {CHANNEL}")
            while not self._ended.is_set():
                token = secrets.token_hex(8)
                with self._database.session() as session:
                    announce(session, f"probe {token}")
                if not self._pass_on(connection, _HEARD, token) and not self._ended.is_set():
                    raise _DeafError(_NOT_HEARD)
                if not self._is_heard.is_set():
                    self._is_heard.set()
                    self._told(None)
                self._pass_on(connection, _PROBES)
        except psycopg.Error as fault:
            raise ConnectionError(str(fault)) from fault

    def _pass_on(
        self, connection: "psycopg.Connection", seconds: float, token: str | None = None
    ) -> bool:
        """Pass on what is told for so long, or until that word comes; whether it came."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for file in (connection.fileno(), self._end):
                selector.register(file, selectors.EVENT_READ)
            while not self._ended.is_set():
                if self._pass_on_now(connection, token):
                    return True
                remaining = end - time.monotonic()
                if remaining <= 0:
                    return False
                selector.select(remaining)
        return False

    def _pass_on_now(self, connection: "psycopg.Connection", token: str | None) -> bool:
        is_heard = False
        for told in connection.notifies(timeout=0):
            kind, *rest = told.payload.split(" ")
            if kind == "probe":
                is_heard |= rest == [token]
            else:
                self._told(_announcement(kind, rest))
        return is_heard

    def _told(self, announcement: Announcement | None) -> None:
        for hears in self._hear:
            hears(announcement)


def _announcement(kind: str, rest: list[str]) -> Announcement:
    if len(rest) != 2 or not rest[1].isdecimal():
        return Announcement(kind=kind)
    return Announcement(kind=kind, study=rest[0], number=int(rest[1]))
