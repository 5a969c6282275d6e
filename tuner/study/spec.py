"""What a study is asked to do: a frozen, self-checking description that identifies it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from tuner.data.options import DataOptions
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.study.prior import Prior
from tuner.study.scoring.constraints import Constraint, written
from tuner.study.space import LambdaSpace

Sampler = Literal["gp", "tpe", "random", "grid"]
NuisanceMode = Literal["none", "first", "joint"]
NuisanceName = Literal["learning_rate", "weight_decay", "temperature", "hidden"]
SearchPhase = Literal["search", "confirm"]
FoldCount = Annotated[int, Field(ge=1, le=5)]
MetricName = Literal["auto", "accuracy", "balanced_accuracy", "macro_f1", "mae", "r2"]


_HALVED = 8  # confirming seeds, from which on half of them tell how much they vary
# More than any study was worth: an order of magnitude that was mistyped is no study of years.
_MOST_TRIALS, MOST_SEEDS = 1_000, 10_000


class Seeded(BaseModel):
    """What follows from the options of any search: its λs and seeds."""

    if TYPE_CHECKING:  # each kind of study has them as fields, in an order of its own
        replicates: int
        confirm_replicates: int
        looks: tuple[int, ...]
        halving: int
        stop_early: bool
        max_lambda: float
        seed: int
        subject_to: tuple[str, ...]

    @model_validator(mode="after")
    def _looks_rise(self) -> Self:
        seeds = (self.confirm_replicates, *self.looks)
        if any(later <= sooner for sooner, later in pairwise(seeds)):
            raise ValueError(
                f"looks: each has more seeds than the one before, {seeds[0]} at first, not "
                f"{self.looks}"
            )
        return self

    @field_validator("subject_to", mode="before", check_fields=False)
    @classmethod
    def _bounds(cls, bounds: object) -> object:
        return written(bounds)

    @field_validator("gpus", check_fields=False)
    @classmethod
    def _whole_or_a_part(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("more than one GPU has to be a whole number of them")
        return gpus

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What a λ has to keep to be recommended."""
        return tuple(map(Constraint.parse, self.subject_to))

    @property
    def space(self) -> LambdaSpace:
        """The λs that may be tried."""
        return LambdaSpace(maximum=self.max_lambda)

    def seeds(self, phase: SearchPhase) -> tuple[int, ...]:
        """Return the seeds of a phase's replicates, the same at every λ; of all looks together."""
        stream, count = {
            "search": (0, self.replicates),
            "confirm": (1, (self.confirm_replicates, *self.looks)[-1]),
        }[phase]
        return tuple(
            int(np.random.SeedSequence([self.seed, stream, r]).generate_state(1)[0])
            for r in range(count)
        )

    @property
    def confirmed_in_parts(self) -> tuple[tuple[int, ...], ...]:
        """The seeds that confirm, by the look that adds them.

        Where the study may stop early, those that were planned come in two halves.
        """
        planned, fewest = self.confirm_replicates, max(_HALVED, 2 * self.fewest_seeds)
        halves = (planned // 2, planned) if self.stop_early and planned >= fewest else (planned,)
        seeds, ends = self.seeds("confirm"), (0, *halves, *self.looks)
        return tuple(seeds[start:end] for start, end in pairwise(ends))

    @property
    def fewest_seeds(self) -> int:
        """Confirming seeds that tell how much they vary, at least."""
        return 2

    def dealt(self, seeds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Divide confirming seeds: those of each are trained on the same rows."""
        return (seeds,)

    def extended(self, seeds: int) -> Self:
        """Return the same question with confirming seeds added, so many in all.

        Raises:
            SpecError: If it has as many, or they are more than there may be.
        """
        has = len(self.seeds("confirm"))
        if seeds <= has:
            raise SpecError(
                f"--seeds {seeds}: it has {has} confirming seeds already; the number is that of "
                "all together"
            )
        if seeds > MOST_SEEDS:
            raise SpecError(f"--seeds {seeds}: there may be {MOST_SEEDS:,} confirming seeds in all")
        return self.model_copy(update={"looks": (*self.looks, seeds)})

    @property
    def shorter(self) -> tuple[Self, ...]:
        """The same question with fewer looks, the most of them first."""
        return tuple(
            self.model_copy(update={"looks": self.looks[:count]})
            for count in reversed(range(len(self.looks)))
        )


class WarmStart(BaseModel):
    """Where an earlier study of the same data under another spec saw the best λ.

    Attributes:
        study: Which study that was.
        interval: Its 95 % interval of the best λ: the first λs tried are denser there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    study: str
    interval: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]


class StudySpec(Seeded, DataOptions):
    """One question about one data set.

    Two specs that are equal, on data of equal fingerprint, are the same study and have the same
    answer: whatever does not change the answer (number of workers, time budget) is not in here.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    metric: Annotated[
        MetricName,
        Field(description="what is measured; auto is accuracy, or the mean absolute error"),
    ] = "auto"
    smallest_gain: Annotated[
        float | None,
        Field(
            gt=0,
            description="the smallest gain worth having, in units of the metric; by default .01, "
            "or of an error 2 % of the baseline's",
            exclude_if=lambda smallest: smallest is None,  # as before it could be said
        ),
    ] = None
    subject_to: Annotated[
        tuple[str, ...],
        Field(
            description="what a λ has to keep to be recommended, as 'a >= baseline - .01': the "
            "score of a, b or joint against that at λ = 0",
            exclude_if=lambda bounds: not bounds,  # as before it could be said
        ),
    ] = ()
    trials: Annotated[int, Field(ge=3, le=_MOST_TRIALS, description="λs tried, λ = 0 included")] = 8
    replicates: Annotated[
        int, Field(ge=2, le=_MOST_TRIALS, description="seeds trained at every λ")
    ] = 4
    confirm_replicates: Annotated[
        int,
        Field(
            ge=2,
            le=MOST_SEEDS,
            description="fresh seeds trained to confirm the answer on test rows",
        ),
    ] = 16
    folds: Annotated[
        FoldCount | Literal["auto"],
        Field(
            description="confirm in so many folds, 3 say: all labelled rows but those of "
            "validation are test rows in turn, and seeds are dealt out to the folds: intervals are "
            "narrower by a third to a half at as many trainings, of encoders trained on fewer "
            "rows. auto: in 3 where the split has fewer than 1,000 labelled test rows",
            exclude_if=lambda folds: folds == 1,  # as before it could be said
        ),
    ] = 1
    validation_folds: Annotated[
        FoldCount,
        Field(
            description="choose λ by the validation rows of so many folds, 4 say: each has others, "
            "taken out of the training rows, and seeds are dealt out to the folds, so that λ does "
            "not hang on the luck of one division; test rows stay. 1: by those of the split",
            exclude_if=lambda folds: folds == 1,  # as before it could be said
        ),
    ] = 1
    looks: Annotated[
        tuple[Annotated[int, Field(le=MOST_SEEDS)], ...],
        Field(
            description="confirming seeds in all at each later look at the answer, ascending: "
            "what tuner extend adds",
            exclude_if=lambda looks: not looks,  # as before it could be said
        ),
    ] = ()
    stop_early: Annotated[
        bool,
        Field(
            description="end the search where no gain worth having is left to be found, and the "
            "confirmation at half of its seeds where more would hardly change a verdict: for "
            "trainings that cost much; intervals are wider then",
            exclude_if=lambda early: not early,  # as before it could be said
        ),
    ] = False
    batch: Annotated[
        int,
        Field(ge=1, le=_MOST_TRIALS, description="λs proposed at a time, the first time laid out"),
    ] = 4
    max_lambda: Annotated[float, Field(gt=0, description="the largest λ to try")] = 4.0
    sampler: Annotated[
        Sampler, Field(description="what proposes λs after the first batch; grid lays all out")
    ] = "gp"
    seed: Annotated[
        int,
        Field(
            ge=0,
            lt=2**32,
            description="what splits, initial weights, batches and search derive from",
        ),
    ] = 0
    nuisance: Annotated[
        NuisanceMode,
        Field(
            description="search of training settings before that of λ, at λ = 0 (first) or "
            "together with λ (joint)"
        ),
    ] = "none"
    nuisance_trials: Annotated[
        int,
        Field(ge=2, le=_MOST_TRIALS, description="training settings tried, the given one included"),
    ] = 8
    nuisance_parameters: Annotated[
        tuple[NuisanceName, ...],
        Field(min_length=1, description="training settings that are searched"),
    ] = get_args(NuisanceName)
    halving: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="for long trainings: one λ in so many goes on to so many times the epochs; "
            "1 trains all in full",
        ),
    ] = 1
    warm_start: Annotated[
        WarmStart | None,
        Field(
            description="id of an earlier study of these data, under other options: the first λs "
            "tried are denser where it saw the best; none of its measurements is taken over. Of "
            "other data, its curve is a tenth of what is expected, as of prior"
        ),
    ] = None
    prior: Annotated[
        Prior | None,
        Field(
            description="what past studies lead one to expect, which has a say in where the best λ "
            "is sought, and none in whether it gains: none, shipped (those that come with the "
            "program), own (with your own studies), or a file of tuner corpus export",
            exclude_if=lambda prior: prior is None,  # as before it could be said
        ),
    ] = None
    # Sums of several threads round differently: the last digits depend on `cpus`.
    cpus: Annotated[int, Field(ge=1, description="CPUs of a process that trains")] = 1
    gpus: Annotated[float, Field(ge=0, description="GPUs of such a process; .25: four on one")] = 0
    ranks: Annotated[int, Field(ge=1, description="processes that train a trial together")] = 1
    training: Annotated[TrainingConfig, Field(description="how encoders are built and trained")] = (
        TrainingConfig()
    )

    @field_validator("warm_start", "prior", mode="before")
    @classmethod
    def _made_of_the_past(cls, told: object, info: ValidationInfo) -> object:
        if not isinstance(told, str):
            return told
        said = f"{told!r}, settings"
        if info.field_name == "warm_start":
            said = f"'none', settings, warm_start={told!r}"
        raise ValueError(
            "the past joins a study of its data: "
            f"tuner.run_study(tuner.expecting(study, {said}), settings)"
        )

    @field_validator("subject_to")
    @classmethod
    def _of_encoders(cls, bounds: tuple[str, ...]) -> tuple[str, ...]:
        for bound in map(Constraint.parse, bounds):
            if bound.target not in ("a", "b", "joint"):
                raise ValueError(f"{bound}: there are a, b and joint to set a bound to")
        return bounds

    @field_validator("folds")
    @classmethod
    def _two_seeds_each(
        cls, folds: int | Literal["auto"], info: ValidationInfo
    ) -> int | Literal["auto"]:
        seeds = info.data.get("confirm_replicates")
        if folds != "auto" and seeds is not None and seeds < 2 * folds and folds > 1:
            raise ValueError(
                f"each fold needs two confirming seeds, {2 * folds} in all, not {seeds}: use "
                f"--confirm-replicates {2 * folds} or more"
            )
        return folds

    @field_validator("validation_folds")
    @classmethod
    def _a_seed_each(cls, folds: int, info: ValidationInfo) -> int:
        seeds = info.data.get("replicates")
        if seeds is not None and seeds < folds:
            raise ValueError(
                f"each fold needs a seed of the search, {folds} in all, not {seeds}: use "
                f"--replicates {folds} or more"
            )
        if folds > 1 and info.data.get("folds") not in (1, "auto", None):
            raise ValueError(
                "with --folds, rows would be tested by which λ was chosen: use --validation-folds "
                "or --folds, not both"
            )
        return folds

    @property
    def fold_count(self) -> int:
        """In how many folds it confirms; 1 as long as that waits for the data."""
        return 1 if self.folds == "auto" else self.folds

    @property
    def fewest_seeds(self) -> int:
        """Confirming seeds that tell how much they vary, at least: two of each fold."""
        return 2 * self.fold_count

    @property
    def folds_of_seeds(self) -> dict[int, int]:
        """The fold of each confirming seed: they are dealt out in turn."""
        return {seed: n % self.fold_count for n, seed in enumerate(self.seeds("confirm"))}

    @property
    def validation_folds_of_seeds(self) -> dict[int, int]:
        """The validation fold of each seed: those of each phase are dealt out in turn."""
        phases: tuple[SearchPhase, ...] = get_args(SearchPhase)
        return {
            seed: n % self.validation_folds
            for phase in phases
            for n, seed in enumerate(self.seeds(phase))
        }

    def dealt(self, seeds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Divide confirming seeds by their folds, those that get any."""
        if self.fold_count == 1:
            return (seeds,)
        of_seed = self.folds_of_seeds
        parts = (tuple(s for s in seeds if of_seed[s] == fold) for fold in range(self.fold_count))
        return tuple(part for part in parts if part)

    @property
    def data_options(self) -> dict[str, Any]:
        """How the data set is read: the options of `tuner.data.read`."""
        return {name: getattr(self, name) for name in DataOptions.model_fields}

    def study_id(self, fingerprint: str, *code: str) -> str:
        """Identify the study of this spec on the data of that fingerprint (16 hex characters).

        Args:
            fingerprint: Of the data set.
            code: Digests of code that the answer depends on: users' own encoders.
        """
        question = "\n".join([fingerprint, *code, self.model_dump_json()])
        return hashlib.sha256(question.encode()).hexdigest()[:16]


# Every option of a study by its name, flat, as the command and the service take them.
OPTIONS: dict[str, FieldInfo] = {
    name: field for name, field in StudySpec.model_fields.items() if name != "training"
} | TrainingConfig.model_fields


def spec_from_options(options: Mapping[str, Any]) -> StudySpec:
    """Make a spec of flat options: see `OPTIONS`.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
    """
    training = {n: value for n, value in options.items() if n in TrainingConfig.model_fields}
    rest = {n: value for n, value in options.items() if n not in training}
    return StudySpec(**rest, training=TrainingConfig(**training))


def options_of(spec: StudySpec) -> dict[str, Any]:
    """Return the flat options that differ from their defaults: `spec_from_options`, undone."""
    values = dict(spec) | dict(spec.training)
    return {n: values[n] for n, field in OPTIONS.items() if values[n] != field.default}


_KIND = re.compile(r"\W|^(int|float|str|bool)$")  # as pydantic names one of several
_NAMED = re.compile(r"(\w+): (.*)", re.DOTALL)
_SHOULD = "Input should be "


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
    """Say what is wrong with options, each once.

    What an option of several kinds might have been instead is one reason, and a fault of all
    options together that begins with the name of one is that one's.

    Args:
        faults: `errors()` of a validation error of pydantic's or of FastAPI's.
    """
    told: dict[str, OptionError] = {}
    for fault in faults:
        option = ".".join(str(part) for part in fault["loc"] if not _KIND.search(str(part)))
        value, reason = fault.get("input"), str(fault["msg"]).removeprefix("Value error, ")
        if fault["type"] == "string_pattern_mismatch" and option in OPTIONS:
            reason = f"{value!r} is not of the form: {OPTIONS[option].description}"
        if not option and (named := _NAMED.match(reason)):
            option, reason = named.groups()
            value = value.get(option) if isinstance(value, Mapping) else value
        if option in told:
            first, more = told[option].reason.split(", ")[0], reason.removeprefix(_SHOULD)
            reason = f"{first}, or {more}"
        if fault["type"] == "too_short" and any(each.startswith(f"{option}.") for each in told):
            continue  # for its parts were left out
        option = option or "spec"
        told[option] = OptionError(option=option, value=value, reason=reason)
    return list(told.values())
