"""The runs that mirror a study in MLflow: one for the study, below it one per λ.

The study store is the truth and the mirror is replayed from it: `sync` writes whatever finished
trial has no run yet. Tags find a run again that was created before a crash, and times come from
the store, so nothing is ever there twice.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tuner.reporting.note import failure_note, interrupted_note, running_note
from tuner.storage.studies import RecordedTrial, StudyStore
from tuner.study.trial import TrialRequest
from tuner.tracking.connection import TAG_FINGERPRINT, TAG_STUDY, connect, log, pages
from tuner.tracking.content.encoders import environment_tags
from tuner.tracking.content.shown import RunContent

TAG_PHASE = "tuner.phase"
TAG_NUMBER = "tuner.number"
_NOTE = "mlflow.note.content"
_REASON = "tuner.reason"


class RunMirror:
    """The runs of one study; not safe for two threads at a time, and raises what MLflow raises.

    Args:
        content: What is shown of it.
        store: Where its trials are; the study is in it.
        uri: Database or tracking server of MLflow.
        artifact_location: Where a new experiment keeps files; None leaves it to the server.
    """

    def __init__(
        self, content: RunContent, store: StudyStore, uri: str, artifact_location: str | None
    ) -> None:
        self._content, self._store, self._uri = content, store, uri
        self._artifact_location = artifact_location
        self.forget()

    def forget(self) -> None:
        """Trust nothing that was known of MLflow."""
        self._client: Any = None
        self.experiment_id = ""
        self._run_id: str | None = None
        self._children: dict[tuple[str, int], str] = {}

    def sync(self, most: int | None = None) -> str:
        """Write what is missing, so many trials at most, and return the id of the study's run."""
        if self._run_id is None:
            self._client = connect(self._uri)
            self.experiment_id = self._experiment()
            run = self._take_up()
            self._children = self._existing_children(run)
            self._describe(run)
            self._run_id = run
        for recorded in self._store.untracked(self._content.id, most):
            self._write(recorded, self._run_id)
        return self._run_id

    def is_behind(self) -> bool:
        """Whether a finished trial waits to be written."""
        return self._store.has_untracked(self._content.id)

    def finish(self, result: BaseModel, artifacts: Path) -> None:
        """Log the answer to the study's run, and end it."""
        client, run, content = self._client, self._run_id, self._content
        # A time that stays the same when the answer is replayed.
        moment = self._store.last_finished(self._content.id)
        answered = 0 if moment is None else _milliseconds(moment)
        client.log_text(run, result.model_dump_json(indent=2), "result.json")
        client.log_artifacts(run, str(artifacts))
        log(
            client,
            str(run),
            points=content.answer_points(result, answered),
            tags={**content.answer_tags(result), _NOTE: content.answer_note(result)},
        )
        self.end("FINISHED")

    def fail(self, reason: str) -> None:
        """Say why the study failed, and end its run."""
        note = failure_note(self._content.name, reason)
        log(self._client, str(self._run_id), tags={_REASON: reason, _NOTE: note})
        self.end("FAILED")

    def interrupt(self) -> None:
        """Say that the study waits to be taken up again, and end its run until then."""
        log(self._client, str(self._run_id), tags={_NOTE: interrupted_note(self._content.name)})
        self.end("KILLED")

    def end(self, status: str) -> None:
        """End the study's run."""
        self._client.set_terminated(self._run_id, status)

    def _experiment(self) -> str:
        """Find or create the experiment: what else has its name has its own."""
        for name in self._content.experiments:
            experiment = self._client.get_experiment_by_name(name) or self._created(name)
            if self._shows(experiment, self._content.fingerprint):
                break
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _created(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        tags = {
            "mlflow.experimentKind": "custom_model_development",  # else guessed
            TAG_FINGERPRINT: self._content.fingerprint,
            _NOTE: self._content.experiment_note,
        }
        try:
            self._client.create_experiment(name, self._artifact_location, tags)
        except MlflowException:  # another study of the same data was faster
            if self._client.get_experiment_by_name(name) is None:
                raise
        return self._client.get_experiment_by_name(name)

    def _shows(self, experiment: Any, fingerprint: str) -> bool:
        """Whether an experiment is of these data: it says so, or all that is in it does."""
        known = experiment.tags.get(TAG_FINGERPRINT)
        if known is None:
            others = f"tags.`{TAG_FINGERPRINT}` != '{fingerprint}'"
            return not self._client.search_runs([experiment.experiment_id], others, max_results=1)
        return bool(known == fingerprint)

    def _take_up(self) -> str:
        """Find the run of the study, or create it."""
        study = self._content.id
        row = self._store.get(study)
        noted = None if row is None else row.run_id
        run = self._active(noted) or self._tagged()
        if run is None:
            run = self._client.create_run(
                self.experiment_id, tags=self._content.tags, run_name=self._content.name
            )
        run_id = str(run.info.run_id)
        if run_id != noted:
            self._store.track(study, run_id)
        if run.info.status in ("FAILED", "KILLED"):
            self._client.update_run(run_id, status="RUNNING")
            if _REASON in run.data.tags:
                self._client.delete_tag(run_id, _REASON)
        return run_id

    def _active(self, run_id: str | None) -> Any:
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the store has another server's id
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def _tagged(self) -> Any:
        runs = self._client.search_runs(
            [self.experiment_id],
            f"tags.`{TAG_STUDY}` = '{self._content.id}'",
            order_by=["attributes.start_time ASC"],
        )
        return next((run for run in runs if "mlflow.parentRunId" not in run.data.tags), None)

    def _existing_children(self, run_id: str) -> dict[tuple[str, int], str]:
        """Return the runs of trials, but for those that failed and are tried again."""
        query = f"tags.`mlflow.parentRunId` = '{run_id}'"
        search = self._client.search_runs
        return {
            (run.data.tags[TAG_PHASE], int(run.data.tags[TAG_NUMBER])): run.info.run_id
            for run in pages(search, experiment_ids=[self.experiment_id], filter_string=query)
            if TAG_PHASE in run.data.tags and TAG_NUMBER in run.data.tags
            if not self._content.is_tried_again(run.data.tags.get(_REASON, ""))
        }

    def _describe(self, run_id: str) -> None:
        """Write what is known of a study before its first trial."""
        content, client = self._content, self._client
        ended = client.get_run(run_id).info.status == "FINISHED"
        tags = {} if ended else {_NOTE: running_note(content.name)}
        log(client, run_id, params=content.params, tags=tags)
        if inputs := content.inputs:
            client.log_inputs(run_id, inputs)
        client.log_text(run_id, json.dumps(content.spec, indent=2, ensure_ascii=False), "spec.json")

    def _write(self, recorded: RecordedTrial, parent: str) -> None:
        """Write one trial's run, over what an earlier attempt may have written."""
        trial, content, client = recorded.trial, self._content, self._client
        request, outcome, ended = trial.request, trial.outcome, _milliseconds(recorded.finished)
        key = (request.phase, request.number)
        if key not in self._children:
            took = 0 if outcome is None else round(1000 * outcome.seconds)
            run = client.create_run(
                self.experiment_id,
                start_time=ended - took,
                tags=self._trial_tags(request, parent),
                run_name=content.trial_name(request),
            )
            self._children[key] = run.info.run_id
        run_id = self._children[key]
        params = content.trial_params(request)
        if outcome is None:
            reason = str(trial.reason)
            log(client, run_id, params=params, tags={_REASON: reason, _NOTE: reason})
        else:
            tags, points = (
                environment_tags(outcome.environment),
                content.trial_points(outcome, ended),
            )
            log(client, run_id, points=points, params=params, tags=tags)
        client.set_terminated(run_id, "FAILED" if outcome is None else "FINISHED", ended)
        self._store.mark_tracked(content.id, request, run_id)

    def _trial_tags(self, request: TrialRequest, parent: str) -> dict[str, str]:
        return {
            "mlflow.parentRunId": parent,
            TAG_STUDY: self._content.id,
            TAG_PHASE: request.phase,
            TAG_NUMBER: str(request.number),
            "mlflow.source.name": "tuner",
            "mlflow.source.type": "LOCAL",
        } | self._content.trial_tags(request)


def _milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return round(1000 * moment.timestamp())
