"""λ inside the user's own training code: a study of a function or of any command."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.analysis.gains.needs import deciding_seeds
from tuner.analysis.scripts import conclude_script
from tuner.drivers.driver import Driver
from tuner.drivers.orchestrator import check_gpus
from tuner.errors import SpecError, StudyFailedError, TrackingError
from tuner.execution.cluster import default_workers
from tuner.scripts.script import Script
from tuner.scripts.trial import Trial
from tuner.search.seeds import SeedPlan
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.answer import RegisteredModel
from tuner.study.budget import Budget
from tuner.study.notebook import show_progress
from tuner.study.progress import OnProgress, Progress, SeedMeter
from tuner.study.scripts.result import ScriptResult
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import best_saved
from tuner.study.trial import FinishedTrial, TrialRequest
from tuner.tracking.connection import summary
from tuner.tracking.content.scripts import ScriptContent
from tuner.tracking.tracker import StudyTracker

if TYPE_CHECKING:
    from tuner.execution.workers.worker import Job, Resources
    from tuner.storage.tables import StudyRow


def tune(
    training: "str | Sequence[str] | Callable[..., Any]",
    *,
    workers: int | None = None,
    timeout: float | None = None,
    time_budget: float | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> ScriptResult:
    """Find λ* of training code, as the command `tuner tune` does.

    Args:
        training: A function that takes a `tuner.Trial` or its name, `MODULE:NAME`; or the words of
            a command, with `{strength}`, `{seed}` and `{out}` among them.
        workers: Trainings at a time, whatever the answer; None for as many as there is room for.
        timeout: Seconds that a training may take.
        time_budget: Seconds after which the search tries no further λ.
        on_progress: Told of every training; by default a notebook shows it, and nothing else.
        options: Those of `ScriptSpec`: `trials=6`, `target="acc"`.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
        SpecError: If there is no such code, or it takes no λ or no seed.
        StudyFailedError: If the study cannot be answered.
    """
    if isinstance(training, str) or callable(training):
        script = Script.of_function(training)
    else:
        script = Script.of_command(training)
    return tune_study(
        ScriptStudy.of(ScriptSpec(**options), script).within(Budget(seconds=time_budget)),
        workers=workers,
        timeout=timeout,
        on_progress=on_progress or show_progress(),
    )


def tune_study(
    study: ScriptStudy,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    timeout: float | None = None,
    script: Script | None = None,
    on_progress: OnProgress = lambda _: None,
) -> ScriptResult:
    """Answer a study of training code, going on from the trainings that are finished already.

    Those that failed are tried again as long as there is no answer.

    Args:
        study: What is asked.
        settings: Where things are kept; None for what the environment says.
        workers: Trainings at a time; None for as many as there is room for.
        timeout: Seconds that a training may take.
        script: What is run, where the study's own tells its name alone.
        on_progress: Told of every finished training.

    Raises:
        SpecError: If it wants GPUs that are not here.
        PutOffError: If Ray does not start, or its cluster has no room: it can be tried again.
        StudyFailedError: If the study cannot be answered.
        StudyInUseError: If another process works on it.
    """
    settings = settings or Settings()
    _check_outside()
    check_gpus(study.spec, settings)
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        store = StudyStore(database)
        row = _opened(study, store)
        if row.result is not None and row.result["mlflow"] is not None:
            return ScriptResult.model_validate(row.result)
        if row.result is None:
            store.forget_failed(study.id, ("",))
        driver = ScriptDriver(
            study=study,
            settings=settings,
            store=store,
            lease=lease,
            finished=store.trials(study.id),
            spent=row.wall_seconds,
            closed=row.search_closed,
            on_progress=on_progress,
            timeout=timeout,
            script=script,
        )
        return driver.run(workers or default_workers(settings.ray_address, study.spec))


def _check_outside() -> None:
    """Do nothing unless this process is itself a training of a study.

    Raises:
        SpecError: If it is: a module that begins a study as it is imported begins one in each
            training.
    """
    if Trial.of_environment() is not None:
        raise SpecError(
            "a training begins a study of its own, as its module is imported: write the call of "
            'tuner.tune below if __name__ == "__main__":, or in another file'
        )


def _opened(study: ScriptStudy, store: StudyStore) -> "StudyRow":
    """Return the study, written down first if it is new."""
    return store.open(
        study.id,
        name=study.name,
        fingerprint=study.script.digest,
        spec=ScriptContent(study).spec,
        shorter=study.shorter,
        budget=study.budget,
    )


def longer(study_id: str, seeds: int | None, settings: Settings) -> ScriptStudy | None:
    """Return the study of training code that adds confirming seeds to another.

    It begins with all that the other has trained.

    Args:
        study_id: The other, which has its answer.
        seeds: How many there are to be in all; None for as many as would decide it.
        settings: Where things are kept.

    Returns:
        None if there is no such study, or it is not of training code.

    Raises:
        SpecError: If it has no answer or is of other code, it has as many seeds, or more of them
            would not decide it.
    """
    with Database(settings.store_url) as database:
        row = StudyStore(database).find(study_id)
    if row is None or "script" not in row.spec:
        return None
    if row.result is None:
        raise SpecError(f"study {study_id}: it has no answer yet in the store ({settings.home})")
    result = ScriptResult.model_validate(row.result)
    earlier = ScriptStudy.read(row.id, row.spec)
    spec = earlier.spec.extended(deciding_seeds(result) if seeds is None else seeds)
    then = earlier.script
    folder = Path(then.folder)
    if then.function is not None:
        now = Script.of_function(then.function, folder)
    else:
        now = Script.of_command(then.command or (), folder)
    if now.digest != then.digest:
        raise SpecError(
            f"study {study_id}: the code of {then.name} is no longer what it was about: bring back "
            "what it was"
        )
    return ScriptStudy.of(spec, now).within(Budget.of(row.options or {}))


@dataclass(kw_only=True, eq=False)
class ScriptDriver(Driver[ScriptResult]):
    """The one process that works on a study of training code.

    Attributes:
        study: What is asked.
        timeout: Seconds that a training may take.
        script: What is run; None for the study's own.
    """

    study: ScriptStudy
    timeout: float | None = None
    script: Script | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._plan = SeedPlan(study=self.study)
        self._meter = SeedMeter(self.finished)
        self._tracker = StudyTracker(
            ScriptContent(self.study),
            self.store,
            tracking_uri=self.settings.tracking_uri,
            artifact_location=self.settings.artifact_location,
        )

    @property
    def driven(self) -> ScriptStudy:
        """The study."""
        return self.study

    @property
    def folder(self) -> Path:
        """Where its trainings leave their logs and files."""
        return self.settings.trainings(self.study.id)

    def _asked(self, running: Collection[TrialRequest]) -> list[TrialRequest]:
        return self._plan.next(self.finished, running=running, closed=self.closed)

    def _job(self, resources: "Resources") -> "Job":
        from tuner.execution.workers.scripts import RunScript

        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.script or self.study.script
        return RunScript(
            script=script,
            folder=str(self.folder),
            timeout=self.timeout,
            spec=self.study.spec,
            resources=resources,
        )

    def _noted(self, trial: FinishedTrial) -> None:
        self._meter.add(trial)

    def _closed_now(self) -> bool:
        return self.study.budget.is_spent(seconds=self._wall_seconds(), steps=0)

    def _conclude(self) -> ScriptResult:
        choices = self._plan.choices(self.finished)
        trials = self._plan.trials(self.finished)
        result = conclude_script(
            self._plan.study,
            choices,
            trials,
            self.finished,
            wall_seconds=self._wall_seconds(),
        )
        saved = best_saved(
            self.finished,
            result.answer.strength,
            lambda outcome: self._plan.study.validation.utility(outcome),
        )
        spec = self.study.spec
        first, asked = "search" if spec.halving == 1 else "rung", spec.trials
        tried = sum(t.request.phase == first and t.request.number < asked for t in trials)
        cut = (self.study.budget.words(tried, asked, steps=0),)
        warnings = result.warnings + (cut if self.closed and tried < asked else ())
        return result.model_copy(update={"saved": saved, "warnings": warnings})

    def _publish(self, result: ScriptResult) -> ScriptResult:
        """Log the answer; what goes wrong costs no answer, and the result says what it was."""
        from tuner.reporting.scripts import write_script_report

        try:
            links = self._tracker.flush()
            model = self._registered(result, links.run_id)
            told = {"mlflow": links, "unpublished": None, "model": model}
            result = result.model_copy(update=told)
            folder = self.settings.reports(self.study.id)
            write_script_report(result, folder)
            self._tracker.finish(result, folder)
        except TrackingError as error:
            return result.model_copy(update={"mlflow": None, "unpublished": str(error)})
        except Exception as error:  # noqa: BLE001  # the answer is worth more than any of it
            reason = f"its runs could not be written ({summary(error)})"
            return result.model_copy(update={"mlflow": None, "unpublished": reason})
        return result

    def _registered(self, result: ScriptResult, run_id: str) -> RegisteredModel | None:
        """Register what the best confirming training saved, if it saved anything."""
        if result.saved is None or not Path(result.saved).is_dir():
            return None
        from tuner.tracking.registered.saved_model import register_saved

        return register_saved(
            result,
            Path(result.saved),
            fingerprint=ScriptContent(self.study).fingerprint,
            tracking_uri=self.settings.tracking_uri,
            run_id=run_id,
        )

    def _progress(self) -> Progress:
        try:
            trials = self._plan.trials(self.finished)
        except StudyFailedError:  # which whoever asks for more hears of
            trials = []
        validation = self._plan.study.validation
        best = max(
            (
                (validation.utility(t.outcome), t.request.strength, t.outcome)
                for t in trials
                if t.request.phase == "search" and t.outcome is not None
            ),
            key=lambda told: told[0],
            default=None,
        )
        at = None
        if best is not None:
            score = validation.scores(best[2].predictions, validation.main).mean()
            at = (best[1], float(score))
        totals = self._plan.totals(self.finished)
        totals |= {"rung": 0, "search": 0} if self.closed else {}
        return self._meter.progress(totals, at, self._plan.rung_part)
