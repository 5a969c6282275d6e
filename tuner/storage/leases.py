"""A lease: the right to be the one process that works on a study.

It lies in the database that all drivers share, so it holds between machines. Its owner renews it
from a thread; if the owner dies, it ends by itself, at once where another process on the same
machine can see that the owner is gone.
"""

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, Float, delete, func, literal_column, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from tuner.errors import StudyInUseError
from tuner.storage.database import Database, fault_of_database
from tuner.storage.tables import LeaseRow, StudyRow

_log = logging.getLogger(__name__)

_DURATION = 30.0  # seconds that a machine may be out of reach before another takes over
_RENEWALS = 3  # in that time
_ATTEMPTS = 15  # in that time, where the database does not answer
_here_held: "dict[str, Lease]" = {}  # leases of this process, by study


class Lease:
    """Holds a study from `with` to its end.

    What is promised: one process at a time is inside, of all that share the database; it knows
    within `duration` if it is no longer the one; and one that dies leaves the study to others.

    Args:
        database: Where leases are kept.
        study: The study.
        duration: Seconds after which the lease of an owner that fell silent ends.

    Attributes:
        database: Where leases are kept.
        is_unwanted: Whether the study was cancelled, or is gone, as far as the last renewal knows.

    Raises:
        StudyInUseError: On entering, if another process holds the study.
    """

    def __init__(self, database: Database, study: str, *, duration: float = _DURATION) -> None:
        self.database, self._study, self._duration = database, study, duration
        self._owner = f"{_here()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._ended = threading.Event()
        self._heard = 0.0  # when the database last confirmed that the lease is ours
        self._lost = False
        self.is_unwanted = False
        self._thread = threading.Thread(target=self._renew_until_ended, daemon=True)

    def __enter__(self) -> Self:
        self._heard = time.monotonic()
        self._acquire()
        self._thread.start()
        _here_held[self._study] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _here_held.pop(self._study, None)
        self._ended.set()
        self._thread.join()
        try:
            with self.database.session() as session:
                session.execute(delete(LeaseRow).where(*self._ours()))
        except SQLAlchemyError as fault:  # the lease ends by itself
            words = fault_of_database(fault)
            _log.warning("could not give back the lease of study %s: %s", self._study, words)

    def check(self) -> None:
        """Do nothing while the study is ours.

        Raises:
            StudyInUseError: If another process may have taken the study over: this one was
                frozen, or out of the database's reach, for longer than the lease lasts.
        """
        if self._lost or time.monotonic() - self._heard > self._duration:
            raise StudyInUseError(
                f"study {self._study} was not in this process's hands for {self._duration:.0f} s, "
                "another may have taken it over; run the command again to see how it stands"
            )

    def _acquire(self) -> None:
        """Take the lease; a server that is away is waited for, as in the middle of a study."""
        try:
            holder = self.database.run(self._taken)
        except IntegrityError:
            holder = "another process"
        if holder is not None:
            raise StudyInUseError(f"{holder} is working on study {self._study}")

    def _taken(self, session: Session) -> str | None:
        """Make the lease ours if it is free; else return whose it is."""
        held = session.get(LeaseRow, self._study)
        free = (LeaseRow.expires < clock(session)) | (LeaseRow.owner == self._owner)
        if held is not None and _is_dead(held.owner):
            free |= LeaseRow.owner == held.owner
        if self._write(session, LeaseRow.study_id == self._study, free):
            return None
        if held is not None:
            return f"process {_words(held.owner)}"
        expires = session.scalar(select(clock(session) + self._duration))
        session.add(LeaseRow(study_id=self._study, owner=self._owner, expires=expires))
        return None

    def _renew_until_ended(self) -> None:
        pause = self._duration / _RENEWALS
        while not self._ended.wait(pause):
            now = time.monotonic()
            try:
                found = self._renewed()
            except SQLAlchemyError as fault:
                _log.warning("could not renew the lease of study %s: %s", self._study, fault)
                pause = self._duration / _ATTEMPTS
                continue
            if not found:
                self._lost = True
                return
            (is_cancelled,) = found
            self.is_unwanted, self._heard = is_cancelled is not False, now
            pause = self._duration / _RENEWALS

    def _renewed(self) -> list[bool | None]:
        """Renew the lease and look whether its study is cancelled, in one statement.

        Returns:
            Whether it is, None if it is gone; nothing if the lease is ours no more.
        """
        is_cancelled = select(StudyRow.cancel_requested).where(StudyRow.id == self._study)
        with self.database.session() as session:
            renewal = (
                update(LeaseRow)
                .where(*self._ours())
                .values(expires=clock(session) + self._duration)
                .returning(is_cancelled.scalar_subquery())
                .execution_options(synchronize_session=False)
            )
            return list(session.scalars(renewal))

    def _write(self, session: Session, *conditions: ColumnElement[bool]) -> bool:
        """Make the lease ours for its duration if the conditions hold, in one statement."""
        changed = session.execute(
            update(LeaseRow)
            .where(*conditions)
            .values(owner=self._owner, expires=clock(session) + self._duration)
        )
        return bool(changed.rowcount)  # type: ignore[attr-defined]  # a CursorResult

    def _ours(self) -> tuple[ColumnElement[bool], ...]:
        return LeaseRow.study_id == self._study, LeaseRow.owner == self._owner


def lease_of(study: str) -> Lease | None:
    """Return the lease by which this process holds a study, if it does."""
    return _here_held.get(study)


def held_studies(session: Session, studies: Collection[str]) -> set[str]:
    """Return those of some studies that a process works on, as far as can be seen from here."""
    among = LeaseRow.study_id.in_(studies)
    leases = select(LeaseRow.study_id, LeaseRow.owner).where(
        among, LeaseRow.expires > clock(session)
    )
    return {study for study, owner in session.execute(leases) if not _is_dead(owner)}


def orphaned_studies(session: Session) -> set[str]:
    """Return studies whose lease has not ended, but whose owner was a process here that is gone."""
    leases = select(LeaseRow.study_id, LeaseRow.owner).where(
        LeaseRow.owner.startswith(f"{_here()}:", autoescape=True),
        LeaseRow.expires > clock(session),
    )
    return {study for study, owner in session.execute(leases) if _is_dead(owner)}


def clock(session: Session):  # type: ignore[no-untyped-def]  # a column expression
    """Seconds since 1970 by the clock of the database, which all drivers share."""
    if session.get_bind().dialect.name == "sqlite":
        return literal_column("(julianday('now') - 2440587.5) * 86400.0", Float)
    return func.extract("epoch", func.clock_timestamp())


def _here() -> str:
    """Name what process ids are unique in: a machine, or a container on it."""
    space = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{space.readlink() if space.is_symlink() else ''}"


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process here that is there no more."""
    here, pid, _ = owner.rsplit(":", 2)
    if here != _here():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _words(owner: str) -> str:
    here, pid, _ = owner.rsplit(":", 2)
    return f"{pid} on {here.partition('/')[0]}"
