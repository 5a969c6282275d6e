"""A study of training code whose trainings are handed out to machines elsewhere, and told back.

Its driver trains nothing. It says what is wanted, waits for what is told, and makes the answer, as
that of `tuner tune` does.
"""

import time
from dataclasses import dataclass

from tuner.drivers.tuning import ScriptDriver
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.handouts import Handouts
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.progress import OnProgress
from tuner.study.scripts.result import ScriptResult
from tuner.study.scripts.study import ScriptStudy
from tuner.study.trial import FinishedTrial, TrialRequest

_LOOK = 0.5  # seconds between looks for what was told
_MOST = 1000  # trainings that wait to be handed out


def answer_elsewhere(
    study: ScriptStudy, settings: Settings, *, on_progress: OnProgress = lambda _: None
) -> ScriptResult:
    """Answer a study of the store whose trainings are trained by others: see `Handouts`.

    Args:
        study: What is asked.
        settings: Where things are kept.
        on_progress: Told of every finished training.

    Raises:
        KeyError: If the store has no such study.
        StudyFailedError: If the study cannot be answered.
        StudyInUseError: If another process works on it.
    """
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        store = StudyStore(database)
        row = store.get(study.id)
        if row is None:
            raise KeyError(f"there is no study {study.id}")
        driver = ElsewhereDriver(
            study=study,
            settings=settings,
            store=store,
            lease=lease,
            finished=store.trials(study.id),
            spent=row.wall_seconds,
            closed=row.search_closed,
            on_progress=on_progress,
        )
        return driver.run(workers=1)


@dataclass(kw_only=True, eq=False)
class ElsewhereDriver(ScriptDriver):
    """The one process that says what others are to train for a study."""

    def _train_all(self) -> ScriptResult:
        handouts = Handouts(self.store.database)
        while wanted := self._wanted_now():
            handouts.offer(self.study.id, wanted[:_MOST])
            for trial in self._told():
                self._record(trial)
        handouts.offer(self.study.id, ())
        return self._finish()

    def _wanted_now(self) -> list[TrialRequest]:
        """Ask the plan each time that something was told: what it wants no more costs hours."""
        self._offered = []
        return self._next_trials(())

    def _registered(self, result: ScriptResult, run_id: str) -> None:
        """Register nothing: a path that an agent tells is of its machine, not of this."""

    def _told(self) -> list[FinishedTrial]:
        """Return what was told since this was asked last; waits until something was."""
        while self.store.trained(self.study.id) <= len(self.finished):
            self.lease.check()
            time.sleep(_LOOK)
        trials = self.store.trials(self.study.id)
        return [trial for trial in trials if trial.request not in self._ended]
