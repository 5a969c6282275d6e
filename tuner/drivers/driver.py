"""The one process that works on a study, whatever is trained.

Every step can be taken up again. The store holds each trial as it finishes, the plan derives from
those what is still to be trained, and all that others show is copied from the store.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pydantic import BaseModel
from threadpoolctl import threadpool_limits

from tuner.data.memory.blocks import OnStep, silent
from tuner.drivers.faults import passing_fault
from tuner.errors import PutOffError, StudyInUseError
from tuner.execution.cluster import ray_cluster
from tuner.execution.interrupts import interrupts_wait
from tuner.execution.room import Takes
from tuner.settings import Settings
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.progress import OnProgress, Progress
from tuner.study.trial import FinishedTrial, TrialRequest
from tuner.tracking.tracker import StudyTracker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuner.execution.workers.worker import Job, Resources
    from tuner.models.training.telling import Advance

Result = TypeVar("Result", bound=BaseModel)


class Driven(Protocol):
    """What a driver has to know of a study."""

    @property
    def id(self) -> str:
        """Its identifier."""

    @property
    def spec(self) -> Takes:
        """What its trainings take."""


@dataclass(kw_only=True, eq=False)
class Driver(ABC, Generic[Result]):
    """Works on one study, whose lease it holds, until there is an answer.

    Attributes:
        settings: Where things are kept.
        store: Where its trials are; the study is in it.
        lease: The right to work on it.
        finished: Its finished trials.
        spent: Seconds that others spent on it before.
        closed: Whether no further search trial is to start.
        on_progress: Told of every finished trial.
        on_step: Told what is done before the first training, in words.
    """

    settings: Settings
    store: StudyStore
    lease: Lease
    finished: list[FinishedTrial]
    spent: float
    closed: bool
    on_progress: OnProgress
    on_step: OnStep = silent
    _started: float = field(default_factory=time.monotonic)
    _offered: list[TrialRequest] = field(default_factory=list)
    _begun: list[Callable[[], None]] = field(default_factory=list)
    _tracker: StudyTracker = field(init=False)
    _workers: int = 1

    def __post_init__(self) -> None:
        self._ended = {trial.request for trial in self.finished}

    @property
    @abstractmethod
    def driven(self) -> Driven:
        """The study."""

    @abstractmethod
    def _asked(self, running: Collection[TrialRequest]) -> list[TrialRequest]:
        """Ask the plan what to run."""

    @abstractmethod
    def _job(self, resources: "Resources") -> "Job":
        """Return what workers do."""

    @abstractmethod
    def _conclude(self) -> Result:
        """Make the answer."""

    @abstractmethod
    def _publish(self, result: Result) -> Result:
        """Show the answer elsewhere; the result returned says where."""

    @abstractmethod
    def _progress(self) -> Progress:
        """Say how far the study is."""

    def _is_complete(self) -> bool:
        """Whether nothing is left to be trained."""
        return not self._next_trials(())

    def _kept(self, trial: FinishedTrial) -> FinishedTrial:
        """Put aside what of a trial is kept elsewhere."""
        return trial

    def _noted(self, trial: FinishedTrial) -> None:
        """Copy a trial that is written down."""

    def _hear(self, news: "Mapping[TrialRequest, Advance]") -> None:
        """Hear how far the trainings are that are under way."""

    def _closed_now(self) -> bool:
        """Whether the search is to end now."""
        return False

    def _begin_tracking(self) -> None:
        """Begin to copy: it takes seconds."""
        self._tracker.start()

    def _end(self) -> None:
        """Let go of what copies."""
        self._tracker.close()

    def run(self, workers: int) -> Result:
        """Work on the study to its end, with so many trials at a time."""
        self._workers = workers
        study_id = self.driven.id
        self.store.set_status(study_id, "running")
        try:
            return self._finish() if self._is_complete() else self._train_all()
        except StudyInUseError:  # whoever has it now says how it stands
            raise
        except PutOffError as error:  # it waits, and says for what
            self.store.set_status(study_id, "queued", str(error))
            self._tracker.interrupt()
            raise
        except Exception as error:
            if (words := passing_fault(error)) is not None:
                self.store.set_status(study_id, "queued", words)
                self._tracker.interrupt()
            else:
                self.store.set_status(study_id, "failed", str(error))
                self._tracker.fail(str(error))
            raise
        except BaseException:  # interrupted: the study waits to be taken up again
            self.store.set_status(study_id, "queued")
            self._tracker.interrupt()
            raise
        finally:
            self.store.update(study_id, wall_seconds=self._wall_seconds())
            self._end()

    def _train_all(self) -> Result:
        spec = self.driven.spec
        cpus = self._workers * spec.cpus * spec.ranks
        self.on_step("starting Ray")
        with ray_cluster(self.settings.ray_address, cpus) as cluster:
            from tuner.execution.tune import run_job
            from tuner.execution.workers.worker import Resources

            resources = Resources(cpus=spec.cpus, gpus=spec.gpus, ranks=spec.ranks)
            self._next_trials(())
            cluster.wait_until_ready()
            if self.settings.ray_address is not None:
                self._wait_for_room()
            self.on_step("handing over the data")
            job = self._job(resources)
            self.on_step("starting workers")
            run_job(
                job,
                self._next_trials,
                self._record,
                workers=self._workers,
                resources=resources,
                hears=self._hear,
            )
            cluster.end()
            return self._finish()

    def _wait_for_room(self) -> None:
        """Return once the cluster has what a training takes; meanwhile the study is queued."""
        from tuner.execution.room import wait_for_room

        study = self.driven
        wait_for_room(study.spec, partial(self.store.set_status, study.id, "queued"))
        row = self.store.get(study.id)
        if row is not None and row.status == "queued":
            self.store.set_status(study.id, "running")

    def _next_trials(self, running: Collection[TrialRequest]) -> list[TrialRequest]:
        if not self.closed and self._closed_now():
            self.closed, self._offered = True, []
            self.store.update(self.driven.id, search_closed=True)
        waiting = [r for r in self._offered if r not in self._ended and r not in running]
        # The plan looks at every finished trial: it is asked when nothing is left of its answer.
        if not waiting:  # on one thread: matrices are small, and threads would wait for each other
            with threadpool_limits(1):
                waiting = self._asked(running)
        self._offered = waiting
        if self.finished:  # from here on: it takes seconds, and the first trial none
            self._begin_tracking()
        return self._offered

    def _record(self, trial: FinishedTrial) -> None:
        self.lease.check()
        with interrupts_wait():
            self._keep(trial)
        self.on_progress(self._progress())

    def _keep(self, trial: FinishedTrial) -> None:
        trial = self._kept(trial)
        self.store.record(self.driven.id, trial, wall_seconds=self._wall_seconds())
        self.finished.append(trial)
        self._ended.add(trial.request)
        if trial.outcome is None:  # which may end the study: the plan is asked anew
            self._offered = []
        self._noted(trial)
        self._tracker.notify()

    def _once(self, work: Callable[[], None]) -> None:
        """Do something that takes seconds in the background, the first time that it is asked."""
        if work not in self._begun:
            self._begun.append(work)
            threading.Thread(target=work, daemon=True).start()

    def _finish(self) -> Result:
        study_id = self.driven.id
        with threadpool_limits(1):
            result = self._conclude()
            self.store.update(study_id, result=result.model_dump(mode="json"))
            result = self._publish(result)
        self.store.update(
            study_id, result=result.model_dump(mode="json"), status="done", error=None
        )
        return result

    def _wall_seconds(self) -> float:
        return self.spent + time.monotonic() - self._started
