"""The trainings of a study that are trained elsewhere: who has which, and until when."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, delete, exists, select, update
from sqlalchemy.orm import Session

from tuner.storage.database import Database
from tuner.storage.leases import clock
from tuner.storage.tables import HandoutRow, TrialRow
from tuner.study.trial import TrialRequest

ELSEWHERE = "elsewhere"  # in the place of a study's data, where others train


@dataclass(frozen=True, kw_only=True)
class Handout:
    """A training that somebody has.

    Attributes:
        lease: What it is told under, and kept by heartbeats.
        request: What is to be trained: λ and one seed.
        worker: Who has it, by the name that they gave.
        until: Seconds since 1970 by the clock of the database, after which others may have it.
        seconds: The same from now on; negative once it is over.
        is_told: Whether its outcome is written down.
    """

    lease: str
    request: TrialRequest
    worker: str
    until: float
    seconds: float
    is_told: bool = False


class Handouts:
    """The trainings that are wanted of studies, each handed out to one worker at a time.

    What is promised, however many services hand out of one database: no two workers have the same
    training; a worker that asks again has what it had; a training whose lease has expired is
    handed out again, and until then its worker may still tell what came of it.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def offer(self, study: str, requests: Sequence[TrialRequest]) -> None:
        """Let these be handed out, and no others that nobody has.

        Args:
            study: A study whose lease is held: one process offers.
            requests: Of one seed each, in the order in which they are wanted.
        """

        def work(session: Session) -> None:
            places = {(request.phase, request.number) for request in requests}
            rows = list(session.scalars(_of(study)))
            for row in rows:
                if (row.phase, row.number) not in places:
                    session.execute(
                        delete(HandoutRow).where(
                            HandoutRow.id == row.id, *_free(session), ~_is_told()
                        )
                    )
            known = {(row.phase, row.number) for row in rows}
            for request in requests:
                if (request.phase, request.number) not in known:
                    session.add(_row(study, request))

        self._database.run(work)

    def take(self, study: str, worker: str, seconds: float) -> Handout | None:
        """Hand out a training: the one that this worker has, or the first that nobody has.

        Args:
            study: Its study.
            worker: A name that no other worker has.
            seconds: For how long nobody else gets it, if nothing more is heard.

        Returns:
            None if nothing is wanted now.
        """

        def work(session: Session) -> Handout | None:
            mine = HandoutRow.worker == worker
            had = session.scalar(
                _of(study).where(mine, HandoutRow.expires > clock(session), ~_is_told())
            )
            if had is not None and had.lease is not None:
                return _kept(session, had.lease, study, seconds)
            waiting = _of(study).where(*_free(session), ~_is_told())
            for row in session.scalars(waiting):
                lease = secrets.token_hex(16)
                free = (HandoutRow.id == row.id, *_free(session), ~_is_told())
                if _write(session, free, seconds, lease=lease, worker=worker):
                    return _handout(session, study, lease)
            return None

        return self._database.run(work)

    def find(self, study: str, lease: str) -> Handout | None:
        """Return a training by its lease; None if it is another's by now, or not wanted."""
        return self._database.run(lambda session: _handout(session, study, lease))

    def keep(self, study: str, lease: str, seconds: float) -> Handout | None:
        """Keep a training for so many seconds from now on, although its lease may have expired.

        Returns:
            None if it is another's by now, or not wanted.
        """
        return self._database.run(lambda session: _kept(session, lease, study, seconds))

    def release(self, study: str, lease: str) -> None:
        """Let others have a training at once; nothing happens if it is another's by now."""
        self._database.run(lambda session: _write(session, _named(study, lease), 0.0))


def _of(study: str) -> Select[HandoutRow]:
    return select(HandoutRow).where(HandoutRow.study_id == study).order_by(HandoutRow.id)


def _named(study: str, lease: str) -> tuple[ColumnElement[bool], ...]:
    return HandoutRow.study_id == study, HandoutRow.lease == lease


def _free(session: Session) -> tuple[ColumnElement[bool], ...]:
    return (HandoutRow.expires <= clock(session),)


def _is_told() -> ColumnElement[bool]:
    """Whether the outcome of a training is written down."""
    return exists().where(
        TrialRow.study_id == HandoutRow.study_id,
        TrialRow.phase == HandoutRow.phase,
        TrialRow.number == HandoutRow.number,
    )


def _write(
    session: Session, conditions: Sequence[ColumnElement[bool]], seconds: float, **values: str
) -> bool:
    """Set when a lease expires if the conditions hold, in one statement; whether they did."""
    changed = session.execute(
        update(HandoutRow)
        .where(*conditions)
        .values(expires=clock(session) + seconds, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _kept(session: Session, lease: str, study: str, seconds: float) -> Handout | None:
    _write(session, _named(study, lease), seconds)
    return _handout(session, study, lease)


def _handout(session: Session, study: str, lease: str) -> Handout | None:
    query = select(HandoutRow, clock(session), _is_told()).where(*_named(study, lease))
    found = session.execute(query.execution_options(populate_existing=True)).first()
    if found is None:
        return None
    row, now, is_told = found
    return Handout(
        lease=lease,
        request=row.request(),
        worker=row.worker or "",
        until=row.expires,
        seconds=row.expires - float(now),
        is_told=bool(is_told),
    )


def _row(study: str, request: TrialRequest) -> HandoutRow:
    (seed,) = request.seeds
    return HandoutRow(
        study_id=study,
        phase=request.phase,
        number=request.number,
        strength=request.strength,
        seed=seed,
    )
