"""Studies that have their answer: seeds are added to it, or its encoders registered once more."""

from pathlib import Path

from tuner.analysis.gains.needs import deciding_seeds
from tuner.data.memory.blocks import OnStep, silent
from tuner.drivers.orchestrator import run_study
from tuner.drivers.tuning import longer, tune_study
from tuner.errors import SpecError
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow
from tuner.study.budget import Budget
from tuner.study.progress import OnProgress
from tuner.study.result import StudyResult
from tuner.study.scripts.result import ScriptResult
from tuner.study.spec import StudySpec
from tuner.study.study import Study, read_dataset
from tuner.study.trial import FinishedTrial
from tuner.tracking.publish import publish
from tuner.tracking.registered.exporting import EncoderProcesses
from tuner.tracking.tracker import StudyTracker


def extend(
    study_id: str,
    seeds: int | None = None,
    settings: Settings | None = None,
    *,
    source: str | None = None,
    workers: int | None = None,
    on_progress: OnProgress = lambda _: None,
) -> StudyResult | ScriptResult:
    """Add confirming seeds to a study that has its answer, as the command `tuner extend` does.

    Args:
        study_id: As of `extension`.
        seeds: As of `extension`.
        settings: Where things are kept; None for what the environment says.
        source: As of `extension`.
        workers: As of `run_study`.
        on_progress: As of `run_study`.

    Raises:
        SpecError: As of `extension`.
        DataError: If the data cannot be read.
        StudyFailedError: If the study cannot be answered.
    """
    settings = settings or Settings()
    tuned = longer(study_id, seeds, settings)
    if tuned is not None:
        return tune_study(tuned, settings, workers=workers, on_progress=on_progress)
    study, source = extension(study_id, seeds, settings, source=source)
    return run_study(study, settings, workers=workers, on_progress=on_progress, source=source)


def report_again(
    study_id: str, settings: Settings | None = None, *, source: str | None = None
) -> Path:
    """Write the report of a study that has its answer once more; returns where it is.

    Args:
        study_id: The study.
        settings: Where things are kept; None for what the environment says.
        source: Path or URI of its data; where it was run from if not given.

    Raises:
        SpecError: If there is no such study or no answer, or its data are others now.
        DataError: If the data cannot be read.
    """
    from tuner.reporting.page import write_report

    settings = settings or Settings()
    with Database(settings.store_url) as database:
        store = StudyStore(database)
        row, result = _answered(store, study_id, settings)
        study, _ = _study_of(row, source, settings)
        folder = settings.reports(row.id)
        folder.mkdir(parents=True, exist_ok=True)
        write_report(study, result, store.trials(row.id), folder)
    return folder / "report.html"


def finished_study(
    study_id: str, settings: Settings, *, source: str | None = None
) -> tuple[Study, list[FinishedTrial]]:
    """Return a study that has its answer, and its trials.

    Args:
        study_id: The study.
        settings: Where things are kept.
        source: Path or URI of its data; where it was run from if not given.

    Raises:
        SpecError: If there is no such study or no answer, or its data are others now.
        DataError: If the data cannot be read.
    """
    with Database(settings.store_url) as database:
        store = StudyStore(database)
        row, _ = _answered(store, study_id, settings)
        study, _ = _study_of(row, source, settings)
        return study, store.trials(row.id)


def extension(
    study_id: str,
    seeds: int | None,
    settings: Settings,
    *,
    source: str | None = None,
    on_step: OnStep = silent,
) -> tuple[Study, str]:
    """Return the study that adds confirming seeds to another, and where its data are.

    It begins with all that the other has trained, and its answer is the one of a study that asks
    for so many seeds at first, but for intervals that allow for another look.

    Args:
        study_id: The other, which has its answer.
        seeds: How many there are to be in all; None for as many as would decide it.
        settings: Where things are kept.
        source: Path or URI of its data; where it was run from if not given.
        on_step: Told what is being read and checked, in words.

    Raises:
        SpecError: If there is no such study or no answer, it is of other data or other code, it
            has as many seeds, or more of them would not decide it.
        DataError: If the data cannot be read.
    """
    with Database(settings.store_url) as database:
        row, result = _answered(StudyStore(database), study_id, settings)
    spec = StudySpec.model_validate(row.spec)
    longer = spec.extended(deciding_seeds(result) if seeds is None else seeds)
    study, source = _study_of(row, source, settings, on_step)
    return Study.of(longer, study.dataset).within(study.budget), source


def publish_study(
    study_id: str, settings: Settings | None = None, *, source: str | None = None
) -> StudyResult:
    """Register the encoders of a study that is done, and log its runs and report, again.

    Args:
        study_id: The study.
        settings: Where things are kept; None for what the environment says.
        source: Path or URI of its data; where it was run from if not given.

    Returns:
        The answer as it was, and where everything is: `StudyResult.missing` is what still is not.

    Raises:
        SpecError: If there is no such study, no answer, or it is of other data or other code.
        DataError: If the data cannot be read.
        StudyInUseError: If another process works on it.
    """
    settings = settings or Settings()
    with Database(settings.store_url) as database, Lease(database, study_id):
        store = StudyStore(database)
        row, result = _answered(store, study_id, settings)
        study, _ = _study_of(row, source, settings)
        tracker = StudyTracker(
            study,
            store,
            tracking_uri=settings.tracking_uri,
            artifact_location=settings.artifact_location,
        )
        try:
            with EncoderProcesses() as processes:
                trials = store.trials(study_id)
                result = publish(study, result, trials, tracker, settings, processes)
        finally:
            tracker.close()
        store.update(study_id, result=result.model_dump(mode="json"))
        return result


def _answered(store: StudyStore, study_id: str, settings: Settings) -> tuple[StudyRow, StudyResult]:
    """Return a study and its answer.

    Raises:
        SpecError: If there is none.
    """
    row = store.find(study_id)
    if row is None or row.result is None:
        state = "there is no such study in" if row is None else "it has no answer yet in"
        raise SpecError(f"study {study_id}: {state} the store ({settings.home})")
    if "script" in row.spec:
        raise SpecError(
            f"study {study_id} is of training code, {row.name}, and has no encoders: `tuner tune` "
            "with the same code and options goes on with it"
        )
    return row, StudyResult.model_validate(row.result)


def _study_of(
    row: StudyRow, source: str | None, settings: Settings, on_step: OnStep = silent
) -> tuple[Study, str]:
    """Make a stored study of its data again; return where these are, too."""
    source = source or row.source or row.options.get("data")
    if source is None:
        raise SpecError(
            f"study {row.id}: the store does not know where its data are; say it with --data DATA"
        )
    spec = StudySpec.model_validate(row.spec)
    dataset = read_dataset(spec, source, row.name, max_bytes=settings.max_data, on_step=on_step)
    study = Study.of(spec, dataset).stored_as(row.id, Budget.of(row.options))
    if study is None:
        what = "own code or the folder of an encoder is"
        if dataset.fingerprint != row.fingerprint:
            what = f"data in {source} are"
        raise SpecError(
            f"study {row.id}: the {what} no longer what it was about; bring back what it was, and "
            "say where with --data DATA if the data lie elsewhere now"
        )
    return study, source
