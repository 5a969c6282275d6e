"""What a study is asked to do: a frozen, self-checking description that identifies it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tuner.models.config import TrainingConfig
from tuner.study.space import LambdaSpace

Sampler = Literal["gp", "tpe", "random", "grid"]
NuisanceMode = Literal["none", "first", "joint"]
NuisanceName = Literal["learning_rate", "weight_decay", "temperature", "hidden"]
MetricName = Literal["auto", "accuracy", "balanced_accuracy", "macro_f1", "mae", "r2"]


class WarmStart(BaseModel):
    """Where an earlier study of the same data under another spec saw the best λ.

    Attributes:
        study: Which study that was.
        interval: Its 95 % interval of the best λ: the first λs tried are denser there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    interval: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]


class StudySpec(BaseModel):
    """One question about one data set.

    Two specs that are equal, on data of equal fingerprint, are the same study and have the same
    answer: whatever does not change the answer (number of workers, time budget) is not in here.

    Attributes:
        a: Name of the array of modality A; `b` and `y` likewise.
        name: Of the study and of the models it registers; None for the data set's.
        task: What the label is.
        metric: What is measured; `auto` is accuracy, or the mean absolute error.
        trials: λs tried, λ = 0 included.
        replicates: Seeds trained at every λ, the same at each.
        confirm_replicates: Fresh seeds trained to confirm the answer on test rows.
        batch: λs proposed at a time.
        max_lambda: The largest λ.
        sampler: What proposes λs.
        seed: What all randomness derives from.
        nuisance: Whether `nuisance_parameters` are searched before λ is: `none`; `first`, at
            λ = 0; or `joint`, together with λ. See `tuner.search.nuisance`.
        nuisance_trials: Settings tried, the given one included.
        nuisance_parameters: What is searched.
        halving: η of successive halving over epochs, 1 for none: see `tuner.search.halving`.
        warm_start: An earlier study whose answer the search begins with.
        cpus: CPUs of a process that trains, and so its threads: sums of several threads round
            differently, hence the last digits depend on it.
        gpus: GPUs of such a process; .25 packs four on one.
        ranks: Processes that train one trial together, each on its share of every batch.
        training: How encoders are built and trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str | None = None
    b: str | None = None
    y: str | None = None
    name: str | None = None
    task: Literal["auto", "classification", "regression"] = "auto"
    metric: MetricName = "auto"
    trials: Annotated[int, Field(ge=3, description="λs tried, λ = 0 included")] = 6
    replicates: Annotated[int, Field(ge=2, description="seeds trained at every λ")] = 4
    confirm_replicates: Annotated[
        int, Field(ge=2, description="fresh seeds trained to confirm the answer on test rows")
    ] = 12
    batch: Annotated[int, Field(ge=1, description="λs proposed at a time")] = 4
    max_lambda: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    sampler: Sampler = "gp"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    nuisance: NuisanceMode = "none"
    nuisance_trials: Annotated[int, Field(ge=2)] = 8
    nuisance_parameters: Annotated[tuple[NuisanceName, ...], Field(min_length=1)] = get_args(
        NuisanceName
    )
    halving: Annotated[int, Field(ge=1, le=10)] = 1
    warm_start: WarmStart | None = None
    cpus: Annotated[int, Field(ge=1, description="CPUs of a process that trains")] = 1
    gpus: Annotated[float, Field(ge=0, description="GPUs of such a process; .25: four on one")] = 0
    ranks: Annotated[int, Field(ge=1, description="processes that train a trial together")] = 1
    training: TrainingConfig = TrainingConfig()

    @field_validator("gpus")
    @classmethod
    def _whole_or_a_part(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("more than one GPU has to be a whole number of them")
        return gpus

    @property
    def space(self) -> LambdaSpace:
        """The λs that may be tried."""
        return LambdaSpace(maximum=self.max_lambda)

    def seeds(self, phase: Literal["search", "confirm"]) -> tuple[int, ...]:
        """Return the seeds of a phase's replicates, the same at every λ."""
        stream, count = {
            "search": (0, self.replicates),
            "confirm": (1, self.confirm_replicates),
        }[phase]
        return tuple(
            int(np.random.SeedSequence([self.seed, stream, r]).generate_state(1)[0])
            for r in range(count)
        )

    def study_id(self, fingerprint: str, *code: str) -> str:
        """Identify the study of this spec on the data of that fingerprint (16 hex characters).

        Args:
            fingerprint: Of the data set.
            code: Digests of code that the answer depends on: users' own encoders.
        """
        question = "\n".join([fingerprint, *code, self.model_dump_json()])
        return hashlib.sha256(question.encode()).hexdigest()[:16]


def spec_from_options(options: Mapping[str, Any]) -> StudySpec:
    """Make a spec of flat options, as the command and the service take them.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
    """
    training = {n: value for n, value in options.items() if n in TrainingConfig.model_fields}
    rest = {n: value for n, value in options.items() if n not in training}
    return StudySpec(**rest, training=TrainingConfig(**training))


class OptionError(NamedTuple):
    """An option that is unknown, or whose value is not allowed; as text `option: reason`.

    Attributes:
        option: Its name, dotted where it is a part of another; `spec` for all of them together.
        value: What it was set to.
        reason: What is wrong with that.
    """

    option: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}"


def option_errors(faults: Iterable[Mapping[str, Any]]) -> list[OptionError]:
    """Say what is wrong with options.

    Args:
        faults: `errors()` of a validation error of pydantic's or of FastAPI's.
    """
    return [
        OptionError(
            option=".".join(map(str, fault["loc"])) or "spec",
            value=fault.get("input"),
            reason=str(fault["msg"]),
        )
        for fault in faults
    ]
