"""Starts a driver for every study that waits for one.

Any number of runners may work on one database. Which study is next is fair between users: whoever
has the fewest running goes first, and of these whoever has waited longest. A study whose driver
died is started again, and goes on from its finished trials.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from tuner.service.launcher import RunningDriver, launcher
from tuner.service.uploads import discard_unused
from tuner.settings import Settings
from tuner.storage.leases import clock, is_held
from tuner.storage.studies import StudyStore
from tuner.storage.submissions import ENDED
from tuner.storage.tables import StudyRow, SubmissionRow, TrialRow

_log = logging.getLogger(__name__)
_TICK = 0.5  # seconds
_STARTING = 60.0  # seconds that a driver has to take its study's lease
_KEPT = 10.0  # seconds that a study is kept for a driver that runs
_LAPSED = 15.0  # seconds without its lease after which a driver that had it is given up
_BEGINS = 3600.0  # seconds after which one is that never had it: large data take minutes to read
_PATIENCE = 5  # starts without a single finished trial more


@dataclass
class _Watched:
    """A driver, and what its study's lease tells of it.

    A cluster can take a job for running whose machine is gone: a head that was started again knows
    of its jobs from Redis.
    """

    driver: RunningDriver
    launched: float = field(default_factory=lambda: time.monotonic())
    has_begun: bool = False
    silent_since: float | None = None

    def is_over(self, *, holds: bool) -> bool:
        """Whether it ended, or has to be given up; `holds` is whether it has the lease."""
        now = time.monotonic()
        if self.driver.poll() is not None:
            return True
        if holds:
            self.has_begun, self.silent_since = True, None
            return False
        if not self.has_begun:
            return now - self.launched > _BEGINS
        if self.silent_since is None:  # perhaps the database was away, and it will be heard soon
            self.silent_since = now
        return now - self.silent_since > _LAPSED


class Runner:
    """Runs studies, up to `settings.slots` at a time, until it is stopped.

    Studies that run go on when it stops: their drivers are processes or jobs of their own.

    Args:
        store: Where the studies are.
        settings: Slots, limits, and what drivers need to know.
    """

    def __init__(self, store: StudyStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._launch = launcher(settings)
        self._drivers: dict[str, _Watched] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="runner")

    def start(self) -> None:
        """Begin to work in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further study."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def tick(self) -> None:
        """Look once at what has ended and what is to be started."""
        held = self._store.run(partial(_held, studies=list(self._drivers)))
        over = [s for s, watched in self._drivers.items() if watched.is_over(holds=s in held)]
        for study in over:
            driver = self._drivers.pop(study).driver
            if driver.poll() is None:
                _log.warning("study %s: its driver fell silent, another is started", study)
                driver.terminate()
            self._store.run(partial(_let_go, study=study))
        if self._drivers:
            self._store.run(partial(_keep_hold, studies=list(self._drivers)))
        for fingerprint in self._store.run(_end_unwanted):
            discard_unused(self._store, fingerprint, self._settings)
        while len(self._drivers) < self._settings.slots:
            claimed = self._store.run(self._claim)
            if claimed is None:
                return
            _log.info("study %s: starting its driver", claimed)
            try:
                self._drivers[claimed] = _Watched(self._launch(claimed))
            except Exception:  # it was not the study's fault: the attempt does not count
                self._store.run(partial(_let_go, study=claimed, attempts=-1))
                raise

    def _work(self) -> None:
        while not self._stopped.wait(_TICK):
            try:
                self.tick()
            except Exception:  # noqa: BLE001  # told, and tried again: a runner outlives a database
                _log.exception("the runner could not look after the studies, it will try again")
                time.sleep(_TICK)

    def _claim(self, session: Session) -> str | None:
        """Take the next study, so that no other runner starts it, too."""
        now = float(session.scalar(select(clock(session))) or 0.0)
        live = list(session.scalars(select(StudyRow).where(_is_live())))
        busy = {s.id for s in live if s.starting_until > now or is_held(session, s.id)}
        asked: dict[str, list[tuple[int, int]]] = {}
        for study, user, number in session.execute(
            select(SubmissionRow.study_id, SubmissionRow.user_id, SubmissionRow.number).where(
                SubmissionRow.study_id.in_([s.id for s in live]),
                SubmissionRow.cancelled.is_(False),
            )
        ):
            asked.setdefault(study, []).append((user, number))
        running: dict[int, int] = {}
        for study in busy:
            for user, _ in asked.get(study, [])[:1]:
                running[user] = running.get(user, 0) + 1
        waiting = sorted(
            (running.get(user, 0), number, study)
            for study, users in asked.items()
            if study not in busy
            for user, number in users
        )
        for already, _, study in waiting:
            if already < self._settings.max_running and _take(session, study, now):
                return study
        return None


def _held(session: Session, studies: list[str]) -> set[str]:
    return {study for study in studies if is_held(session, study)}


def _is_live() -> ColumnElement[bool]:
    return StudyRow.status.in_(("queued", "running")) & StudyRow.cancel_requested.is_(False)


def _take(session: Session, study: str, now: float) -> bool:
    row = session.get(StudyRow, study)
    trials = session.scalar(
        select(func.count()).select_from(TrialRow).where(TrialRow.study_id == study)
    )
    if row is not None and row.attempts >= _PATIENCE + (trials or 0):
        row.status = "failed"
        row.error = f"its driver died {row.attempts} times; the log of the service says why"
        return False
    taken = session.execute(
        update(StudyRow)
        .where(StudyRow.id == study, StudyRow.starting_until <= now)
        .values(starting_until=now + _STARTING, attempts=StudyRow.attempts + 1)
    )
    return bool(taken.rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _let_go(session: Session, study: str, attempts: int = 0) -> None:
    """Let a study be started at once, should it have to be: no driver is starting any more."""
    session.execute(
        update(StudyRow)
        .where(StudyRow.id == study)
        .values(starting_until=0.0, attempts=StudyRow.attempts + attempts)
    )


def _keep_hold(session: Session, studies: list[str]) -> None:
    """Keep other runners from studies whose drivers are there, but have not begun yet."""
    until = clock(session) + _KEPT
    session.execute(
        update(StudyRow)
        .where(StudyRow.id.in_(studies), StudyRow.starting_until < until)
        .values(starting_until=until)
    )


def _end_unwanted(session: Session) -> list[str]:
    """End what was cancelled while no driver was there to hear of it.

    Returns:
        Fingerprints of the data of studies that are gone, because nobody has a submission left.
    """
    unwanted = select(StudyRow).where(
        StudyRow.cancel_requested.is_(True), StudyRow.status.in_(("queued", "running"))
    )
    now = float(session.scalar(select(clock(session))) or 0.0)
    for row in session.scalars(unwanted):
        if not is_held(session, row.id) and (row.starting_until <= now or row.status == "queued"):
            row.status, row.cancel_requested = "cancelled", False
    forgotten = select(StudyRow).where(
        StudyRow.status.in_(ENDED),
        StudyRow.source.is_not(None),
        ~select(SubmissionRow.id).where(SubmissionRow.study_id == StudyRow.id).exists(),
    )
    gone = list(session.scalars(forgotten))
    for row in gone:
        session.delete(row)
    return [row.fingerprint for row in gone]
