"""The end of a study: its encoders are registered, its report and answer logged."""

from collections.abc import Sequence
from importlib import import_module

from tuner.errors import EncoderNotKeptError
from tuner.settings import Settings
from tuner.storage.weights import WeightFiles
from tuner.study.result import Modalities, ModalityAnswer, RegisteredModel, StudyResult
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial
from tuner.tracking.tracker import StudyTracker


def publish(
    study: Study,
    result: StudyResult,
    finished: Sequence[FinishedTrial],
    tracker: StudyTracker,
    settings: Settings,
) -> StudyResult:
    """Register the encoders, write the report and log both; the result returned says where.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    from tuner.report.page import write_report
    from tuner.tracking.registry import register_encoders

    links = tracker.flush()
    models = tracker.retried(
        lambda: register_encoders(
            study,
            result,
            finished,
            WeightFiles(settings.weights),
            tracking_uri=settings.tracking_uri,
            run_id=links.run_id,
        )
    )
    sides = {side: _with_model(getattr(result.modalities, side), m) for side, m in models.items()}
    result = result.model_copy(update={"modalities": Modalities(**sides), "mlflow": links})
    folder = settings.reports(study.id)
    folder.mkdir(parents=True, exist_ok=True)
    write_report(study, result, finished, folder)
    tracker.finish(result, folder)
    return result


def _with_model(
    answer: ModalityAnswer, model: RegisteredModel | EncoderNotKeptError
) -> ModalityAnswer:
    if isinstance(model, EncoderNotKeptError):
        return answer.model_copy(update={"model": None, "model_error": str(model)})
    return answer.model_copy(update={"model": model, "model_error": None})


def load_publishing() -> None:
    """Load what the end of a study needs: seconds, better spent while a core is idle."""
    for module in (
        "tuner.tracking.registry",
        "tuner.report.page",
        "mlflow.pytorch",
        "torch._dynamo",
    ):
        import_module(module)
