"""Registers the best encoder of each modality in MLflow's model registry."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tuner.analysis.headline import metric_name
from tuner.data import Split
from tuner.data.naming import names_of
from tuner.errors import EncoderNotKeptError
from tuner.models.config import TrainingConfig
from tuner.models.outcome import Rule, TrainingOutcome
from tuner.reporting.note import load_lines
from tuner.reporting.wording import headline, score, sentence, strength
from tuner.storage.weights import WeightFiles
from tuner.study.answer import ModalityAnswer, RegisteredModel, Side
from tuner.study.result import StudyResult
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, confirmations
from tuner.tracking.connection import (
    TAG_STUDY,
    as_tracking_error,
    connect,
    is_trouble,
    pages,
    summary,
)
from tuner.tracking.registered.encoder_model import example_rows, save_encoder
from tuner.tracking.registered.exporting import EncoderProcesses, Export
from tuner.tracking.registered.verification import verify_network

_log = logging.getLogger(__name__)

CHAMPION = "champion"
_TEST_ROWS = "test_rows"


@dataclass(frozen=True, kw_only=True, eq=False)
class BestEncoder:
    """The encoder of one modality that a study recommends.

    Attributes:
        side: The modality.
        trial: The confirmation at the recommended λ.
        outcome: What came of it, by the rule that the answer rests on.
        training: How that was trained.
        replicate: The best one by validation rows: test rows have no part in the choice.
        fold: On which it was tested or validated; None for the rows of the split.
        validation_score: Its score on validation rows.
        test_score: Its score on test rows.
    """

    side: Side
    trial: FinishedTrial
    outcome: TrainingOutcome
    training: TrainingConfig
    replicate: int
    fold: int | None
    validation_score: float
    test_score: float

    @classmethod
    def of(
        cls,
        study: Study,
        result: StudyResult,
        finished: Sequence[FinishedTrial],
        side: Side,
    ) -> "BestEncoder":
        """Find it among the confirmations: of the λ and by the rule of the answer.

        Raises:
            ValueError: If that λ was not confirmed.
        """
        strength = result.registered_strength(side)
        trial = confirmations(finished, study.folds).get(strength)
        outcome = None if trial is None else trial.outcome
        if trial is None or outcome is None:
            raise ValueError(f"there is no confirmation at λ = {strength}")
        if outcome.test_predictions is None:
            raise ValueError(f"the confirmation at λ = {strength} has no test predictions")
        outcome = outcome.kept_by(result.rules)
        assert outcome.test_predictions is not None
        validation = study.validation.scores(outcome.predictions, side)
        test = study.test.scores(outcome.test_predictions, side)
        best = outcome.best_replicate(side)
        return cls(
            side=side,
            trial=trial,
            outcome=outcome,
            training=trial.request.training(study.training),
            replicate=best,
            fold=study.fold_of_seed(int(outcome.seeds[best])),
            validation_score=float(validation[best]),
            test_score=float(test[best]),
        )

    @property
    def rule(self) -> Rule:
        """By which rule its weights were kept."""
        return self.outcome.rules[self.side]


def register_encoders(
    study: Study,
    result: StudyResult,
    finished: Sequence[FinishedTrial],
    weights: WeightFiles,
    processes: EncoderProcesses,
    *,
    tracking_uri: str,
    run_id: str,
) -> dict[Side, RegisteredModel | EncoderNotKeptError]:
    """Register the best encoder of each modality; once, however often it is called.

    Nothing is registered that does not predict, exported and in a process of its own, what was
    measured in training; then the error that says so takes the model's place.

    The alias `champion` moves only to a version with a better score on the same test rows by the
    same metric. A champion of others stays: the two scores do not compare. A tag of the new version
    says so. Encoders of another data set of the same name are another registered model.

    Args:
        study: What was asked.
        result: The answer.
        finished: The trials, confirmations among them.
        weights: Where the weights of these are.
        processes: Where they are exported and tried.
        tracking_uri: Database or tracking server of MLflow.
        run_id: The study's run.

    Raises:
        TrackingError: If MLflow could not be reached.
    """
    sides: tuple[Side, ...] = ("a", "b")
    with as_tracking_error(tracking_uri):
        client = connect(tracking_uri)
        registered: dict[Side, RegisteredModel | EncoderNotKeptError] = {}
        for side in sides:
            best = BestEncoder.of(study, result, finished, side)
            asked = _Registration(client, study, result, best, weights, run_id, processes)
            try:
                registered[side] = asked.run()
            except EncoderNotKeptError as error:
                registered[side] = error
            except Exception as error:
                if is_trouble(error):
                    raise
                _log.warning("registering the encoder of %s", side.upper(), exc_info=True)
                registered[side] = EncoderNotKeptError(
                    f"The encoder of {side.upper()} is not registered: {summary(error)}"
                )
        return registered


def model_name(name: str, side: Side) -> str:
    """Name of a registered model: MLflow forbids `/` and `:`, and its URIs more than that."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip("-") or "study"
    return f"{safe}-{side}-encoder"


def _test_rows(study: Study, fold: int | None) -> str:
    """Digest of which rows are those of test: a split that is made depends on the seed."""
    split = study.inputs_of(fold).split
    return hashlib.sha256((split == Split.TEST).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class _Registration:
    client: Any
    study: Study
    result: StudyResult
    best: BestEncoder
    weights: WeightFiles
    run_id: str
    processes: EncoderProcesses

    def run(self) -> RegisteredModel:
        known = self._known_version()
        number = str(known.version) if known is not None else self._new_version()
        return RegisteredModel(name=self._name, version=number, alias=self._crown(number))

    @cached_property
    def _name(self) -> str:
        """Name of the registered model: a model of other data that bears it keeps it."""
        fingerprint = self.study.dataset.fingerprint
        names = [
            model_name(name, self.best.side) for name in names_of(self.study.name, fingerprint)
        ]
        return next((name for name in names if self._is_free(name)), names[-1])

    def _is_free(self, name: str) -> bool:
        """Whether there is no such model, or it is one of these data."""
        versions = pages(self.client.search_model_versions, filter_string=f"name = '{name}'")
        known = {version.tags.get("fingerprint") for version in versions}
        return known <= {self.study.dataset.fingerprint}

    @property
    def _answer(self) -> ModalityAnswer:
        answer: ModalityAnswer = getattr(self.result.modalities, self.best.side)
        return answer

    def _open_model(self) -> None:
        from mlflow.exceptions import MlflowException

        side = self.best.side.upper()
        description = f"Encoders of modality {side}: embeddings and predictions from raw rows."
        try:
            self.client.create_registered_model(self._name, description=description)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
                raise

    def _known_version(self) -> Any:
        versions = pages(self.client.search_model_versions, filter_string=f"name = '{self._name}'")
        return next((v for v in versions if v.tags.get(TAG_STUDY) == self.study.id), None)

    def _new_version(self) -> str:
        best, outcome, folds = self.best, self.best.outcome, self.study.folds
        dataset = self.study.inputs_of(best.fold)
        if best.fold is not None and folds is not None:
            outcome = folds.taken(outcome, best.fold)
        self.processes.start()
        with tempfile.TemporaryDirectory(prefix="tuner-model-") as scratch:
            export = Export(
                outcome=self._with_weights(),
                data=self.study.rows_of(best.fold)[0],
                config=best.training,
                modality=best.side,
                example=example_rows(dataset, best.side),
                folder=Path(scratch) / "network",
            )
            encoder = export.encoder()
            program = self.processes.exports.run(export)
            verify_network(program, dataset, outcome, best.side, self.processes.networks)

            def write(folder: Path, logged: Any) -> None:
                tokenizer = self.study.tokenizers.get(best.side)
                save_encoder(
                    *(folder, export.folder, encoder, self.study.dataset, best.side, logged),
                    tokenizer=tokenizer,
                )

            return self._log_version(Path(scratch) / "model", write)

    def _with_weights(self) -> TrainingOutcome:
        best = self.best
        kept = self.weights.load(best.trial, best.side, best.rule)
        return replace(best.outcome, weights={best.side: kept})

    def _log_version(self, folder: Path, write: Callable[[Path, Any], None]) -> str:
        from mlflow.entities import LoggedModelOutput

        client, best = self.client, self.best
        self._open_model()
        tags = self._tags()
        logged = client.create_logged_model(
            client.get_run(self.run_id).info.experiment_id,
            name=f"{best.side}-encoder",
            source_run_id=self.run_id,
            tags=tags,
            params=self._params(),
            model_type="encoder",
        )
        write(folder, logged)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        created = client.create_model_version(
            self._name,
            source=logged.artifact_location,  # a models:/ URI is looked up on the global server
            run_id=self.run_id,
            tags=tags,
            model_id=logged.model_id,
        )
        client.update_model_version(self._name, created.version, self._description(created.version))
        return str(created.version)

    def _crown(self, number: str) -> str | None:
        """Move the alias to this version if it is due; return the alias if it is there."""
        champion = self._champion()
        if champion is not None and str(champion.version) == number:
            return CHAMPION
        due, reason = self._comparison(champion)
        if due:
            self.client.set_registered_model_alias(self._name, CHAMPION, number)
        self.client.set_model_version_tag(self._name, number, CHAMPION, reason)
        return CHAMPION if due else None

    def _champion(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(self._name, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _comparison(self, champion: Any) -> tuple[bool, str]:
        """Whether this version takes the alias, and why."""
        if champion is None:
            return True, "the first version with this alias"
        tags, metric = champion.tags, self.study.metric
        theirs = f"version {champion.version}"
        if tags.get("fingerprint") != self.study.dataset.fingerprint:
            return False, f"no: {theirs} was measured on other data, the scores do not compare"
        rows = _test_rows(self.study, self.best.fold)
        if tags.get(_TEST_ROWS, rows) != rows:  # an earlier program did not say which
            return False, f"no: {theirs} was measured on other test rows, the scores do not compare"
        if tags.get("metric") != metric.name:
            return False, f"no: {theirs} was measured by {tags.get('metric')}, not {metric.name}"
        old, new = float(tags["test_score"]), self.best.test_score
        values = f"{score(new, metric.name)} against {score(old, metric.name)} of {theirs}"
        if metric.sign * (new - old) > 0:
            return True, f"better on test rows: {values}"
        return False, f"no: not better on test rows: {values}"

    def _tags(self) -> dict[str, str]:
        dataset, best = self.study.dataset, self.best
        return {
            TAG_STUDY: self.study.id,
            "study": self.study.id,
            "dataset": dataset.name,
            "fingerprint": dataset.fingerprint,
            _TEST_ROWS: _test_rows(self.study, best.fold),
            "modality": best.side,
            "lambda": f"{best.outcome.strength:.6g}",
            "verdict": self._answer.verdict,
            "metric": self.study.metric.name,
            "test_score": repr(best.test_score),
            "validation_score": repr(best.validation_score),
            "seed": str(int(best.outcome.seeds[best.replicate])),
            "kept_by": best.rule,
        }

    def _params(self) -> dict[str, str]:
        training = self.best.training.model_dump(mode="json")
        params = {"lambda": self.best.outcome.strength, **training}
        return {name: str(value) for name, value in params.items()}

    def _description(self, number: str) -> str:
        best, metric = self.best, self.study.metric.name
        kept = {"loss": "least loss", "accuracy": "best accuracy"}[best.rule]
        return (
            f"{headline(self.result)}\n\n{sentence(best.side, self.result)}\n\n"
            f"Trained at λ = {strength(best.outcome.strength)}; of all epochs of "
            f"{len(best.outcome.seeds)} seeds the one of {kept} on validation rows. Its test "
            f"{metric_name(metric)}: {score(best.test_score, metric)}.\n\n"
            f"```python\n{load_lines(self._name, number)}```"
        )
