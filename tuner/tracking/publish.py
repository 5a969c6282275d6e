"""The end of a study: its encoders are registered, its report and answer logged."""

import logging
from collections.abc import Callable, Sequence
from importlib import import_module

from tuner.errors import EncoderNotKeptError, TrackingError
from tuner.settings import Settings
from tuner.storage.weights import WeightFiles
from tuner.study.answer import Modalities, ModalityAnswer, RegisteredModel
from tuner.study.result import StudyResult
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial
from tuner.tracking.connection import summary
from tuner.tracking.registered.exporting import EncoderProcesses
from tuner.tracking.tracker import StudyTracker

_log = logging.getLogger(__name__)


def publish(
    study: Study,
    result: StudyResult,
    finished: Sequence[FinishedTrial],
    tracker: StudyTracker,
    settings: Settings,
    processes: EncoderProcesses,
) -> StudyResult:
    """Register the encoders, write the report and log both; the result returned says where.

    What goes wrong here costs no answer: the result returned says what is missing and why, and this
    may be called again.
    """
    result = _attempted(
        result, lambda: _register(study, result, finished, tracker, settings, processes)
    )
    registered = result
    return _attempted(result, lambda: _report(study, registered, finished, tracker, settings))


def _register(
    study: Study,
    result: StudyResult,
    finished: Sequence[FinishedTrial],
    tracker: StudyTracker,
    settings: Settings,
    processes: EncoderProcesses,
) -> StudyResult:
    from tuner.tracking.registry import register_encoders

    links = tracker.flush()
    models = tracker.retried(
        lambda: register_encoders(
            study,
            result,
            finished,
            WeightFiles(settings.weights),
            processes,
            tracking_uri=settings.tracking_uri,
            run_id=links.run_id,
        )
    )
    sides = {side: _with_model(getattr(result.modalities, side), m) for side, m in models.items()}
    update = {"modalities": Modalities(**sides), "mlflow": links, "unpublished": None}
    return result.model_copy(update=update)


def _report(
    study: Study,
    result: StudyResult,
    finished: Sequence[FinishedTrial],
    tracker: StudyTracker,
    settings: Settings,
) -> StudyResult:
    from tuner.reporting.page import write_report

    folder = settings.reports(study.id)
    folder.mkdir(parents=True, exist_ok=True)
    write_report(study, result, finished, folder)
    if result.mlflow is not None:
        tracker.finish(result, folder)
    return result


def _attempted(result: StudyResult, step: Callable[[], StudyResult]) -> StudyResult:
    try:
        return step()
    except Exception as error:  # noqa: BLE001  # the answer is worth more than any of it
        reason = str(error)
        if not isinstance(error, TrackingError):
            reason = f"the report, runs or encoders could not be written ({summary(error)})"
            _log.warning("%s", reason, exc_info=not isinstance(error, OSError))
        return result.model_copy(update={"mlflow": None, "unpublished": reason})


def _with_model(
    answer: ModalityAnswer, model: RegisteredModel | EncoderNotKeptError
) -> ModalityAnswer:
    if isinstance(model, EncoderNotKeptError):
        return answer.model_copy(update={"model": None, "model_error": str(model)})
    return answer.model_copy(update={"model": model, "model_error": None})


def load_publishing() -> None:
    """Load what the end of a study needs: seconds, better spent while a core is idle."""
    for module in ("tuner.tracking.registry", "tuner.reporting.page"):
        import_module(module)
