"""Starts a driver for every study that waits for one.

Any number of runners may work on one database. A study whose driver died is started again, and goes
on from its finished trials.
"""

import logging
import time
from dataclasses import dataclass, field

from tuner.service.incoming.uploads import discard_unused
from tuner.service.launcher import RunningDriver, launcher
from tuner.settings import Settings
from tuner.storage.connections import QUEUE
from tuner.storage.database import Database
from tuner.storage.requests.listener import Announcement, Listener
from tuner.storage.requests.queue import StudyQueue
from tuner.storage.studies import StudyStore
from tuner.storage.weights import WeightStore

_log = logging.getLogger(__name__)
_LAPSED = 15.0  # seconds without its lease after which a driver that had it is given up
_AT_A_TIME = 16  # drivers that are started before anything else is looked after
_SELDOM = 5.0  # seconds between looks where one is told of what has changed
_ENDING = 20.0  # seconds that a driver whose study has ended may take to end, too
_TRUSTED = 60.0  # seconds for which a driver that has its lease is not asked whether it runs
_BEGINS = 3600.0  # seconds after which one is that never had it: large data take minutes to read


@dataclass
class _Watched:
    """A driver, and what its study's lease tells of it.

    A cluster can take a job for running whose machine is gone: a head that was started again knows
    of its jobs from Redis.
    """

    driver: RunningDriver
    launched: float = field(default_factory=lambda: time.monotonic())
    has_begun: bool = False
    is_put_off: bool = False
    is_told_to_stop: bool = False
    silent_since: float | None = None
    asked: float = field(default_factory=lambda: time.monotonic())

    def is_over(self, *, holds: bool) -> bool:
        """Whether it ended, or has to be given up; `holds` is whether it has the lease."""
        now = time.monotonic()
        if not holds or now - self.asked > _TRUSTED:  # a cluster takes milliseconds to answer
            self.asked = now
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
    """Runs studies, up to `settings.slots` at a time: somebody has to call `tick` over and over.

    Studies that run go on without it: their drivers are processes or jobs of their own.

    Args:
        database: Where the studies are.
        settings: Slots, limits, and what drivers need to know.
        listener: What hears of changes, of the same database; without one it is looked for them.
    """

    def __init__(
        self, database: Database, settings: Settings, listener: Listener | None = None
    ) -> None:
        self._settings, self._listener = settings, listener
        self._queue, self._store = StudyQueue(database), StudyStore(database)
        self._weights = WeightStore(database, settings.weights)
        self._launch = launcher(settings)
        self._drivers: dict[str, _Watched] = {}
        self._looks_until = self._looked = 0.0
        if listener is not None:
            listener.tell(self._hear)

    def tick(self) -> None:
        """Look once at what has ended and what is to be started, unless nothing has changed."""
        if not self._has_to_look():
            return
        self._looked = time.monotonic()
        self._look_after_drivers()
        self._stop_unwanted()
        deleted = self._queue.end_unwanted()
        for fingerprint in deleted:
            discard_unused(self._store, fingerprint, self._settings)
        if deleted:
            self._weights.sweep()
        if slots := self._free_slots():
            self._start(self._queue.claim(slots, max_running=self._settings.max_running))

    def _hear(self, announcement: Announcement | None) -> None:
        """Hear in another thread that something has changed."""
        now = time.monotonic()
        if announcement is None or announcement.kind == QUEUE:
            self._looks_until = max(self._looks_until, now)
        elif announcement.kind == "status" and announcement.study in self._drivers:
            self._looks_until = now + _ENDING

    def _has_to_look(self) -> bool:
        if self._listener is None or not self._listener.is_listening:
            return True
        is_told = self._looks_until >= self._looked
        return is_told or time.monotonic() - self._looked >= _SELDOM

    def _stop_unwanted(self) -> None:
        """Stop drivers whose studies were cancelled: they would hear of it by their leases."""
        running = [s for s, watched in self._drivers.items() if not watched.is_told_to_stop]
        for study in self._queue.unwanted(running):
            self._drivers[study].is_told_to_stop = True
            self._drivers[study].driver.terminate()

    def _free_slots(self) -> int:
        """How many studies may be started now: those that wait for others hold no slot.

        These have no room on a cluster, or their trainings are trained elsewhere.

        They are drivers all the same: where they are many, the first one gives way.
        """
        waiting = self._queue.waiting_for_others(list(self._drivers))
        slots, drivers = self._settings.slots, len(self._drivers)
        free = slots - (drivers - len(waiting))
        if free <= 0:
            return 0
        if drivers < 2 * slots:
            return min(free, 2 * slots - drivers, _AT_A_TIME)
        study, watched = next(each for each in self._drivers.items() if each[0] in waiting)
        _log.info("study %s: waits for others, and gives way", study)
        watched.is_put_off = True
        watched.driver.terminate()
        return 0

    def _look_after_drivers(self) -> None:
        held = self._queue.held(list(self._drivers))
        over = [s for s, watched in self._drivers.items() if watched.is_over(holds=s in held)]
        for study in over:
            watched = self._drivers.pop(study)
            if watched.driver.poll() is None:
                _log.warning("study %s: its driver fell silent, another is started", study)
                watched.driver.terminate()
            self._queue.release(study, is_put_off=watched.is_put_off)
        if self._drivers:
            self._queue.keep(list(self._drivers))

    def _start(self, studies: list[str]) -> None:
        for number, study in enumerate(studies):
            _log.info("study %s: starting its driver", study)
            try:
                self._drivers[study] = _Watched(self._launch(study))
            except Exception:  # it was not the fault of the study, nor of those behind it
                for waiting in studies[number:]:
                    self._queue.release(waiting, was_started=False)
                raise
