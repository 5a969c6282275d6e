"""The database of the study store: its connections, its transactions, and its absence.

Only this room imports SQLAlchemy: what others need of it has names of ours here.
"""

import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Engine, TableClause, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool
from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_exception
from tenacity.stop import stop_after_delay
from tenacity.wait import wait_exponential

from tuner.storage.connections import BriefPool, driver_options
from tuner.storage.schema import exclusive, migrate

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_PATIENCE = 300.0  # seconds that a database server may be away in the middle of a study
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts
_OURS = ("sqlite:", "postgresql+psycopg:")  # of the study store
_DATABASES = ("sqlite:", "postgresql:", "postgresql+")  # of MLflow's, too

LAST_NUMBER = 2**31 - 1  # the largest that a row can have in every database
DatabaseError = SQLAlchemyError  # what goes wrong with a database: ours, Optuna's or MLflow's
DatabaseAwayError = OperationalError  # it does not answer, or not now


class Database:
    """A database with the tables of the tuner; it is a context manager.

    What is promised on SQLite and on PostgreSQL alike: on opening, the tables are built or brought
    to the version of this program, whoever else opens it at the same time; those of a newer one
    that leaves room for this program stay as they are. A transaction happens
    as a whole or not at all, and has reached the disk when it ends.

    Args:
        url: SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.
        patience: Seconds to wait for a database server that goes away, before giving up.
        keeps_connections: Whether connections to a server stay open that nobody uses at the
            moment: for the few programs that ask again and again, as a service does.

    Raises:
        DatabaseAwayError: If it does not answer.
        DatabaseError: If its URL is another's.
        NewerStoreError: If its tables are of a version that leaves this program no room.
    """

    def __init__(
        self, url: str, *, patience: float = _PATIENCE, keeps_connections: bool = False
    ) -> None:
        if not url.startswith(_OURS):
            raise ArgumentError(
                "a URL is wanted as postgresql+psycopg://USER:PASSWORD@HOST/NAME or sqlite:///FILE"
            )
        self.url, self._patience = url, patience
        if (file := sqlite_file(url)) is not None:
            make_private(file)
        options = driver_options(url) if keeps_connections else brief_connections(url)
        self._engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), **options)
        if self._is_a_file:
            event.listen(self._engine, "connect", _durable_sqlite)
        try:
            migrate(self._engine)
        except BaseException:
            self.close()
            raise
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_on_a_server(self) -> bool:
        """Whether each question goes to a server, which others ask, too."""
        return not self._is_a_file

    @property
    def engine(self) -> Engine:
        """The connections."""
        return self._engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction that commits at the end, or rolls back on an error."""
        with self._sessions.begin() as session:
            yield session

    def run(self, work: Callable[[Session], _Answer]) -> _Answer:
        """Do work in a transaction; again if the database server went away in the middle.

        Raises:
            DatabaseAwayError: If it stayed away.
        """

        def attempt() -> _Answer:
            with self.session() as session:
                return work(session)

        retrying = Retrying(
            retry=retry_if_exception(self._may_come_back),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential(multiplier=_SHORTEST_PAUSE, max=_LONGEST_PAUSE),
            before_sleep=_tell_absence,
            reraise=True,
        )
        return retrying(attempt)

    def ping(self) -> None:
        """Do nothing if the database answers.

        Raises:
            DatabaseAwayError: If it does not, now.
        """
        with self.session() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @property
    def _is_a_file(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _may_come_back(self, fault: BaseException) -> bool:
        return is_away(fault) and not self._is_a_file


def brief_connections(url: str) -> dict[str, Any]:
    """Return options of an engine that lets go of connections to a server, if there is one."""
    return {} if url.startswith("sqlite:") else driver_options(url) | {"poolclass": BriefPool}


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Keep every other process from building tables in a database meanwhile.

    Args:
        url: Of the database. That of a server, as MLflow's may be, needs no such care.
    """
    if not url.startswith(_DATABASES):
        yield
        return
    engine = create_engine(url, **driver_options(url))
    try:
        with exclusive(engine):
            yield
    finally:
        engine.dispose()


def has_rows(url: str, table: str) -> bool:
    """Whether a database has a table, and something is in it."""
    engine = create_engine(url, poolclass=NullPool, **driver_options(url))
    try:
        with engine.connect() as connection:
            first = select(1).select_from(TableClause(table)).limit(1)
            return inspect(connection).has_table(table) and connection.scalar(first) is not None
    finally:
        engine.dispose()


def make_private(file: Path) -> None:
    """Let nobody else of this machine read a database, which is made if it is not there.

    One that is there is not opened: closing it would end the locks that connections of this
    process hold, all of them, and another process would take it for its own.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            with suppress(PermissionError):  # it is another's
                file.chmod(0o600)
    except OSError as error:
        _log.debug("%s: %s", file, error)  # SQLite says what is wrong


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None if the URL is another's, or has no file."""
    if not url.startswith("sqlite:"):
        return None
    name = make_url(url).database
    return None if name in (None, "", ":memory:") else Path(name)


def is_away(error: BaseException) -> bool:
    """Whether a database said that it does not answer, or lost the connection: it may come back."""
    is_cut = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_cut or isinstance(error, (OperationalError, InterfaceError))


def fault_of_database(error: BaseException | None) -> str | None:
    """Return what a database says, ours or another's, that an error comes of; None if of none."""
    while error is not None:
        if isinstance(error, (SQLAlchemyError, sqlite3.Error)):
            return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def _tell_absence(attempt: RetryCallState) -> None:
    fault = attempt.outcome and attempt.outcome.exception()
    _log.warning("the database is away, trying again: %s", getattr(fault, "orig", fault))


def _durable_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
