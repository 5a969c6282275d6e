"""What an answer is made of: a verdict, its evidence, and what would decide it."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tuner.models.outcome import Rule

if TYPE_CHECKING:
    pass


def verdict_of_today(told: str) -> str:
    """Return a stored verdict by its name of today: 0.1.0 wrote `no detectable effect`."""
    return "undecided" if told == "no detectable effect" else told


Verdict = Annotated[
    Literal["align", "do not align", "undecided"], BeforeValidator(verdict_of_today)
]


Reason = Literal[
    "gain confirmed", "harm shown", "no gain worth having", "needs more", "bound violated"
]


Interval = tuple[float, float]


Side = Literal["a", "b"]


def is_none(value: object) -> bool:
    """Whether a value is left out of the JSON."""
    return value is None


class Part(BaseModel):
    """Frozen, and takes no unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


class ValidationScores(Part):
    """Mean scores of the same encoders on validation rows, at λ = 0 and at the candidate."""

    baseline: float
    best: float | None


class TestScores(Part):
    """Mean scores of fresh seeds on test rows; the gain is positive where alignment is better.

    All but `baseline` are None if the training that was to confirm the answer failed;
    `gain_interval` alone if test rows are of too few groups for one.
    """

    __test__ = False  # no test, whatever pytest makes of its name

    baseline: float
    best: float | None
    gain: float | None
    gain_interval: Interval | None


class RegisteredModel(Part):
    """Where the best encoder of a modality is registered."""

    name: str
    version: str
    alias: str | None


class FoldNeeds(Part):
    """So many seeds in so many folds, which test so many labelled rows."""

    count: int
    seeds: int
    rows: int


class Needs(Part):
    """What would decide an undecided answer with 80 % power: any of `seeds` to `folds`.

    It takes the gain that was seen for the true one.

    Attributes:
        goal: What is nearer: to show the gain, or to rule out the smallest worth having.
        size: That gain, in units of the metric.
        has: Fresh seeds and labelled test rows that there are.
        seeds: Fresh seeds to confirm with, on the same test rows; None if no number suffices.
        rows: Labelled test rows, with the same seeds; None if no number suffices.
        both: Seeds and rows in the same proportion as now; None if no number suffices.
        folds: Seeds in folds of the same data, which test more of its rows; None if none suffice.
        search: To rule out at every λ: how many times as many search seeds and validation rows.
        trainings: Of such a study, by `seeds`, or by `folds` or `both` where seeds alone do not
            suffice.
    """

    goal: Literal["show", "rule out"]
    size: float
    has: tuple[int, int]
    seeds: int | None
    rows: int | None
    both: tuple[int, int] | None
    folds: Annotated[FoldNeeds | None, Field(exclude_if=is_none)] = None
    search: float
    trainings: int = 0


class CheckpointRule(Part):
    """Which epoch's weights were tested: see `tuner.analysis.epochs.checkpoints`.

    Attributes:
        rule: Those of the least validation loss, or of the best validation accuracy: what is
            better for λ = 0.
        baseline: Score at λ = 0 by each rule, on validation rows that did not choose the epoch.
        gain: Of the candidate on test rows, by each rule; None if its training failed.
    """

    rule: Rule
    baseline: dict[Rule, float]
    gain: dict[Rule, float] | None


EVEN = 0.5  # a bound that is violated with more than that is not kept


class BoundKept(Part):
    """A bound that the study set, measured at the λ that was tested.

    Attributes:
        bound: As it was set.
        change: Of the score of its target over λ = 0, on test rows, in its units.
        interval: Its 95 % interval; None if test rows are of too few groups for one.
        violated: The probability that the bound is violated.
    """

    bound: str
    change: float
    interval: Interval | None
    violated: float

    @property
    def is_kept(self) -> bool:
        """Whether it is as likely kept as not, or likelier."""
        return self.violated <= EVEN


class _Decided(Part):
    """Why an answer is what it is; an answer of before these were told has none of them."""

    reason: Annotated[
        Reason | None,
        Field(description="why the verdict is what it is", exclude_if=is_none),
    ] = None
    smallest_gain: Annotated[
        float | None,
        Field(
            description="the smallest gain worth having, in units of the metric",
            exclude_if=is_none,
        ),
    ] = None
    harm_from: Annotated[
        float | None,
        Field(
            description="from this λ on alignment surely loses that much or more",
            exclude_if=is_none,
        ),
    ] = None
    needs: Annotated[
        Needs | None,
        Field(description="what would decide it, if it is undecided", exclude_if=is_none),
    ] = None
    needs_epochs: Annotated[
        int | None,
        Field(
            description="so many epochs would decide, if it is undecided and λs were still "
            "learning when their epochs ended",
            exclude_if=is_none,
        ),
    ] = None
    bounds: Annotated[
        tuple[BoundKept, ...],
        Field(
            description="what the study is subject to, at the λ that was tested",
            exclude_if=lambda bounds: not bounds,
        ),
    ] = ()


class Answer(_Decided):
    """The recommended λ, and the evidence for it.

    Attributes:
        strength: λ*, 0 unless the verdict is `align`.
        interval: 95 % interval of the λ at which the score is highest; it holds `strength`, so 0
            where no gain is confirmed.
        candidate: The λ > 0 that was confirmed against λ = 0 with fresh seeds on test rows.
        gain: How much better than λ = 0 the candidate scores on test rows; None if its training
            failed.
        gain_interval: Its 95 % interval, over seeds and rows, or groups of rows; None if test rows
            are of too few groups for one.
        evidence: The verdict's reason, in words.
    """

    strength: Annotated[float, Field(alias="lambda")]
    interval: Interval
    verdict: Verdict
    candidate: float
    gain: float | None
    gain_interval: Interval | None
    evidence: str

    @property
    def tested(self) -> tuple[float | None, Interval | None]:
        """The candidate's gain over λ = 0 on test rows, and its 95 % interval."""
        return self.gain, self.gain_interval


class TargetAnswer(_Decided):
    """The answer for one target, with the scores that it rests on."""

    strength: Annotated[float, Field(alias="lambda")]
    interval: Interval
    verdict: Verdict
    candidate: float
    evidence: str
    validation: ValidationScores
    test: TestScores

    @property
    def tested(self) -> tuple[float | None, Interval | None]:
        """The candidate's gain over λ = 0 on test rows, and its 95 % interval."""
        return self.test.gain, self.test.gain_interval


class ModalityAnswer(TargetAnswer):
    """The answer for one modality's own encoder."""

    model: RegisteredModel | None
    model_error: Annotated[
        str | None,
        Field(description="why there is no model", exclude_if=is_none),
    ] = None
    checkpoint: Annotated[
        CheckpointRule | None,
        Field(description="which epoch's weights were tested", exclude_if=is_none),
    ] = None


class Modalities(Part):
    """One answer a modality."""

    a: ModalityAnswer
    b: ModalityAnswer
