"""Registers what the best training of a user's own code saved in MLflow's model registry."""

from pathlib import Path
from typing import Any

from tuner.data.naming import names_of, safe_name
from tuner.reporting.note import plain
from tuner.study.answer import RegisteredModel
from tuner.study.scripts.result import ScriptResult
from tuner.tracking.connection import (
    TAG_FINGERPRINT,
    TAG_STUDY,
    as_tracking_error,
    connect,
    pages,
)


def register_saved(
    result: ScriptResult, saved: Path, *, fingerprint: str, tracking_uri: str, run_id: str
) -> RegisteredModel:
    """Register a folder as a version of the model that is called as the study; once.

    Its files go there as they are; none is read. Other code of that name has another model.

    Args:
        result: The answer.
        saved: The folder: see `tuner.study.scripts.trials.best_saved`.
        fingerprint: Of the code, whose versions are of one model.
        tracking_uri: Database or tracking server of MLflow.
        run_id: The study's run.

    Raises:
        TrackingError: If MLflow could not be reached.
    """
    with as_tracking_error(tracking_uri):
        client = connect(tracking_uri)
        names = names_of(safe_name(result.name), fingerprint)
        name = next((name for name in names if _is_free(client, name, fingerprint)), names[-1])
        version = _known_version(client, name, result.study)
        if version is None:
            tags = {
                TAG_STUDY: result.study,
                TAG_FINGERPRINT: fingerprint,
                "lambda": f"{result.answer.strength:.6g}",
                "verdict": result.answer.verdict,
            }
            version = _new_version(client, name, result, saved, tags, run_id)
        return RegisteredModel(name=name, version=version, alias=None)


def _versions(client: Any, name: str) -> list[Any]:
    return list(pages(client.search_model_versions, filter_string=f"name = '{name}'"))


def _is_free(client: Any, name: str, fingerprint: str) -> bool:
    """Whether there is no such model, or it is one of this code."""
    return {v.tags.get(TAG_FINGERPRINT) for v in _versions(client, name)} <= {fingerprint}


def _known_version(client: Any, name: str, study: str) -> str | None:
    versions = _versions(client, name)
    return next((str(v.version) for v in versions if v.tags.get(TAG_STUDY) == study), None)


def _new_version(
    client: Any, name: str, result: ScriptResult, saved: Path, tags: dict[str, str], run_id: str
) -> str:
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    try:
        described = f"What trainings of {plain(result.script.name)} saved."
        client.create_registered_model(name, description=described)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(
        experiment, name="saved", source_run_id=run_id, tags=tags, model_type="saved"
    )
    client.log_model_artifacts(logged.model_id, str(saved))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    created = client.create_model_version(
        name,
        source=logged.artifact_location,
        run_id=run_id,
        tags=tags,
        model_id=logged.model_id,
    )
    client.update_model_version(name, created.version, plain(result.headline))
    return str(created.version)
