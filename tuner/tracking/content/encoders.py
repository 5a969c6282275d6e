"""What MLflow is shown of a study of encoders and its trials: names, tags, parameters and metrics.

Everything derives from the study store alone, times included, so that writing it twice leaves
what writing it once does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.data import Modality
from tuner.data.naming import names_of
from tuner.models.evaluation.similarity import calibrations
from tuner.models.outcome import TrainingOutcome
from tuner.reporting.note import experiment_note, result_note
from tuner.study.result import StudyResult
from tuner.study.scoring.scores import TARGETS, Scorer
from tuner.study.study import Study
from tuner.study.trial import OF_THE_MACHINE, TrialRequest
from tuner.tracking.connection import TAG_FINGERPRINT, TAG_STUDY, Point

_POINTS_A_CURVE = 40
_DIGEST = 16  # of the 36 characters that MLflow takes: the whole fingerprint is in a tag


def study_tags(study: Study) -> dict[str, str]:
    """Tags of a study's run."""
    return {
        TAG_STUDY: study.id,
        TAG_FINGERPRINT: study.dataset.fingerprint,
        "mlflow.source.name": "tuner",
        "mlflow.source.type": "LOCAL",
    }


def study_params(study: Study) -> dict[str, object]:
    """Parameters of a study's run: its spec, flat; of a prior no numbers, which are thousands."""
    spec = study.spec.model_dump(mode="json", exclude={"training": True, "prior": {"targets"}})
    training = study.training.model_dump(mode="json")
    return {name: value for name, value in spec.items() if value is not None} | {
        f"training.{name}": value for name, value in training.items()
    }


def dataset_fields(study: Study) -> dict[str, Any]:
    """What MLflow's data set entity says, but for its source."""
    dataset = study.dataset
    return {
        "name": f"{dataset.name} ({dataset.a.name} + {dataset.b.name}, {dataset.rows:,} pairs)",
        "digest": dataset.fingerprint[:_DIGEST],
        "profile": {
            "rows": dataset.rows,
            "labelled": int(dataset.labelled.sum()),
            "task": dataset.task,
            "classes": None if dataset.classes is None else len(dataset.classes),
            "fingerprint": dataset.fingerprint,
        },
        "schema": {
            "mlflow_tensorspec": {
                "features": [_features(side) for side in (dataset.a, dataset.b)],
                "targets": [_tensor("y", dataset.y)],
            }
        },
    }


def trial_name(request: TrialRequest) -> str:
    """Name of a trial's run."""
    detail: str = request.phase
    if request.phase == "nuisance":
        detail = f"nuisance {request.number}"
    if request.phase == "rung":
        detail = f"{dict(request.settings)['epochs']} epochs"
    return f"λ = {request.strength:.3g} ({detail})"


def trial_params(study: Study, request: TrialRequest) -> dict[str, object]:
    """Parameters of a trial's run."""
    return {
        "lambda": request.strength,
        "phase": request.phase,
        "replicates": len(request.seeds),
        "seeds": " ".join(map(str, request.seeds)),
        **request.training(study.training).model_dump(mode="json"),
    }


def environment_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """Where and how a trial was trained, as tags of its run, or of its study's."""
    return {f"tuner.{name}": words for name, words in environment.items()}


def trial_points(study: Study, outcome: TrainingOutcome, ended: int) -> list[Point]:
    """Metrics of a trial's run: summaries first, then each replicate's curves.

    Args:
        study: What was asked.
        outcome: What training gave.
        ended: When, in milliseconds since 1970.
    """
    if study.folds is not None and outcome.test_predictions is not None:
        outcome = study.folds.placed(outcome)
    points = _scores("validation", study.validation, outcome.predictions, ended)
    if outcome.test_predictions is not None:
        points += _scores("test", study.test, outcome.test_predictions, ended)
    points += _best_epochs("best_epoch", outcome.best_epoch, ended)
    if (other := outcome.by_accuracy) is not None:
        points += _scores("test_by_accuracy", study.test, other.test_predictions, ended)
        points += _best_epochs("best_epoch_by_accuracy", other.best_epoch, ended)
    for measure, values in outcome.similarity.items():
        points += with_error(f"similarity_{measure}", values, ended)
    for measure, beyond in calibrations(outcome.similarity, outcome.similarity_null).items():
        name = f"similarity_{measure}"
        points += [
            Point(f"{name}_calibrated", beyond.value, ended),
            Point(f"{name}_null_quantile", beyond.quantile, ended),
            Point(f"{name}_p", beyond.p, ended),
        ]
    points += [Point("steps", outcome.steps, ended), Point("seconds", outcome.seconds, ended)]
    return points + curve_points(outcome, ended)


def answer_points(result: StudyResult, now: int) -> list[Point]:
    """The answer as metrics of the study's run, to compare studies by.

    MLflow shows metrics in the order in which they were first written: those of both come first.
    """
    values: dict[str, float | None] = {}
    for target in reversed(TARGETS):
        answer, name = result.answers[target], "answer" if target == "joint" else f"answer_{target}"
        gain, interval = answer.tested
        low, high = interval or (None, None)
        values |= {f"{name}/gain": gain, f"{name}/gain_low": low, f"{name}/gain_high": high}
        values[f"{name}/lambda"] = answer.strength
    for side, modality in (("a", result.modalities.a), ("b", result.modalities.b)):
        values[f"answer_{side}/test_at_zero"] = modality.test.baseline
        values[f"answer_{side}/test"] = modality.test.best
    for measured, scores in ({} if result.together is None else result.together.measured).items():
        low, high = scores.gain_interval or (None, None)
        name = f"together/{measured}"
        values |= {f"{name}_at_zero": scores.baseline, name: scores.best}
        values |= {f"{name}_gain": scores.gain, f"{name}_low": low, f"{name}_high": high}
    return [Point(name, value, now) for name, value in values.items() if value is not None]


def answer_tags(result: StudyResult) -> dict[str, str]:
    """The answer as tags of the study's run."""
    tags: dict[str, str] = {}
    answers = (("a", result.modalities.a), ("b", result.modalities.b), ("joint", result.joint))
    for target, answer in answers:
        tags[f"tuner.verdict.{target}"] = answer.verdict
        tags[f"tuner.lambda.{target}"] = f"{answer.strength:.6g}"
    for environment in result.environments[:1]:
        tags |= environment_tags(environment)
    return tags


def _scores(split: str, scorer: Scorer, predictions: dict[str, Any], ended: int) -> list[Point]:
    points = []
    for target in TARGETS:
        scores = scorer.scores(predictions, target)
        points += with_error(f"{split}_{scorer.metric.name}_{target}", scores, ended)
    return points


def _best_epochs(name: str, epochs: dict[str, Any], ended: int) -> list[Point]:
    return [Point(f"{name}_{side}", float(each.mean()), ended) for side, each in epochs.items()]


def with_error(name: str, values: NDArray[np.floating], ended: int) -> list[Point]:
    """Mean over replicates, and its standard error."""
    points = [Point(name, float(values.mean()), ended)]
    if len(values) > 1:
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
        points.append(Point(f"{name}_sem", error, ended))
    return points


def curve_points(outcome: TrainingOutcome, ended: int) -> list[Point]:
    """Points of epochs, spread over the time that training took; none after a replicate ended.

    MLflow takes a tenth of a millisecond for each, whose core others need: of a long curve it gets
    as many as can be told apart in a chart, the first and the last among them.
    """
    points = []
    for name, curves in outcome.curves.items():
        replicates, epochs = curves.shape
        took = 1000 * outcome.seconds / epochs
        times = [ended - round(took * (epochs - epoch)) for epoch in range(epochs)]
        for replicate in range(replicates):
            known = np.flatnonzero(np.isfinite(curves[replicate]))
            spread = np.linspace(0, len(known) - 1, min(len(known), _POINTS_A_CURVE)).round()
            for epoch in known[spread.astype(np.int64)]:
                value = float(curves[replicate, epoch])
                points.append(
                    Point(f"{name}/replicate_{replicate}", value, times[epoch], int(epoch))
                )
    return points


def _features(side: Modality) -> dict[str, Any]:
    if side.holds != "text":
        return _tensor(side.name, side.values)
    return {"name": side.name, "type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}


def _tensor(name: str, array: Any) -> dict[str, Any]:
    shape = [-1, *array.shape[1:]]
    return {
        "name": name,
        "type": "tensor",
        "tensor-spec": {"dtype": str(array.dtype), "shape": shape},
    }


@dataclass(frozen=True)
class EncoderContent:
    """What is shown of a study of encoders: see `RunContent`.

    Attributes:
        study: The study.
    """

    study: Study

    @property
    def id(self) -> str:
        """Identifier of the study."""
        return self.study.id

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def fingerprint(self) -> str:
        """Of the data set."""
        return self.study.dataset.fingerprint

    @property
    def experiments(self) -> Sequence[str]:
        """Names for the data set's experiment: another data set of its name has its own."""
        return names_of(self.study.dataset.name, self.fingerprint)

    @property
    def experiment_note(self) -> str:
        """Describes the experiment."""
        return experiment_note(self.study.dataset)

    @property
    def spec(self) -> dict[str, Any]:
        """What is asked."""
        return self.study.spec.model_dump(mode="json")

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the study's run."""
        return study_tags(self.study)

    @property
    def params(self) -> dict[str, object]:
        """Parameters of the study's run."""
        return study_params(self.study)

    @property
    def inputs(self) -> list[Any]:
        """The data set, as MLflow has it."""
        return [_dataset_input(self.study)]

    def is_tried_again(self, reason: str) -> bool:
        """Whether the machine failed, not the training."""
        return reason.startswith(OF_THE_MACHINE)

    def trial_name(self, request: TrialRequest) -> str:
        """Name of a trial's run."""
        fold = self.study.fold_of(request)
        return trial_name(request) + ("" if fold is None else f", fold {fold + 1}")

    def trial_tags(self, request: TrialRequest) -> dict[str, str]:
        """There are none but those that all have."""
        del request
        return {}

    def trial_params(self, request: TrialRequest) -> dict[str, object]:
        """Parameters of a trial's run."""
        return trial_params(self.study, request)

    def trial_points(self, outcome: TrainingOutcome, ended: int) -> list[Point]:
        """Metrics of a trial's run."""
        return trial_points(self.study, outcome, ended)

    def answer_points(self, result: StudyResult, now: int) -> list[Point]:
        """The answer as metrics of the study's run."""
        return answer_points(result, now)

    def answer_tags(self, result: StudyResult) -> Mapping[str, str]:
        """The answer as tags of the study's run."""
        return answer_tags(result)

    def answer_note(self, result: StudyResult) -> str:
        """Describes the answer."""
        return result_note(result)


def _dataset_input(study: Study) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    fields = dataset_fields(study)
    source = {"tags": {"fingerprint": study.dataset.fingerprint}}
    dataset = Dataset(
        name=fields["name"],
        digest=fields["digest"],
        source_type="code",
        source=json.dumps(source),
        schema=json.dumps(fields["schema"]),
        profile=json.dumps(fields["profile"]),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
