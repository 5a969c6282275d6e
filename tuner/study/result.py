"""The answer of a study: one JSON object, the same for CLI, Python and REST."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tuner.data.information.atoms import NAMES
from tuner.models.outcome import Rule
from tuner.study.answer import (
    Answer,
    Interval,
    Modalities,
    ModalityAnswer,
    Part,
    Side,
    TestScores,
    is_none,
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from tuner.data import PairedDataset
    from tuner.data.information.profile import Profile
    from tuner.study.scoring.targets import Target
    from tuner.typing import Indices


Status = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")


class GroupCounts(Part):
    """How many groups the labelled rows of each split are of: intervals are over these."""

    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, dataset: "PairedDataset", tested: "Indices | None" = None) -> "GroupCounts | None":
        """Count the groups of a data set; None if it has none.

        Args:
            dataset: The data set.
            tested: Which rows are tested; those of the split's test if not given.
        """
        if dataset.group is None:
            return None
        from tuner.data import Split

        counts = {
            split.name.lower(): len(set(dataset.group[dataset.indices(split, labelled_only=True)]))
            for split in Split
        }
        if tested is not None:
            counts["test"] = len(set(dataset.group[tested]))
        return cls(**counts)


class DatasetSummary(Part):
    """What was studied."""

    name: str
    fingerprint: str
    rows: int
    labelled: int
    task: Literal["classification", "regression"]
    classes: int | None
    groups: Annotated[
        GroupCounts | None,
        Field(
            description="groups of labelled rows: intervals are over these",
            exclude_if=is_none,
        ),
    ] = None

    @classmethod
    def of(cls, dataset: "PairedDataset", tested: "Indices | None" = None) -> "DatasetSummary":
        """Sum up a data set, of which other rows may be tested than those of its test split."""
        return cls(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            rows=dataset.rows,
            labelled=int(dataset.labelled.sum()),
            task=dataset.task,
            classes=None if dataset.classes is None else len(dataset.classes),
            groups=GroupCounts.of(dataset, tested),
        )


class MetricSummary(Part):
    """What was measured, and which way is better."""

    name: str
    direction: Literal["maximize", "minimize"]


class IntervalEstimate(Part):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class CrossCovarianceGate(Part):
    """A second opinion on whether alignment helps: see `tuner.data.information.gate`."""

    signal: int
    nuisance: int
    ratio: float | None
    helps: bool | None


class InformationSummary(Part):
    """Partial information decomposition of the label, bits: see `tuner.data.information.profile`.

    Attributes:
        reliable: Whether there are rows enough.
        reason: Why it is not reliable.
        entropy: Of the label, or of its bin, bits.
        rows: Labelled rows that were used.
        regime: What is expected of alignment: `align`, `interior` (some, not too much),
            `do not align`, or `unknown`.
        gate: A second opinion.
        b_from_a: The same of prediction of B from A; None where it was measured before there was
            one.
        a_from_b: The same of prediction of A from B.
        objective: Which of alignment and prediction is expected to learn the label's components
            before nuisances: `either`, `align`, `predict`, `neither`, or `unknown`.
    """

    unit: Literal["bits"] = "bits"
    R: IntervalEstimate
    U_a: IntervalEstimate
    U_b: IntervalEstimate
    S: IntervalEstimate
    reliable: bool
    reason: str | None = None
    entropy: float
    rows: int
    regime: Literal["align", "interior", "do not align", "unknown"]
    gate: CrossCovarianceGate
    b_from_a: Annotated[CrossCovarianceGate | None, Field(exclude_if=is_none)] = None
    a_from_b: Annotated[CrossCovarianceGate | None, Field(exclude_if=is_none)] = None
    objective: Annotated[
        Literal["either", "align", "predict", "neither", "unknown"] | None,
        Field(exclude_if=is_none),
    ] = None

    @classmethod
    def of(cls, profile: "Profile") -> "InformationSummary":
        """Write down a profile."""
        gate, b_from_a, a_from_b = (
            CrossCovarianceGate(**vars(gate), helps=gate.helps)
            for gate in (profile.gate, profile.b_from_a, profile.a_from_b)
        )
        r, u_a, u_b, s = (IntervalEstimate(**vars(getattr(profile, name))) for name in NAMES)
        return cls(
            R=r,
            U_a=u_a,
            U_b=u_b,
            S=s,
            reliable=profile.reliable,
            reason=profile.reason,
            entropy=profile.entropy,
            rows=profile.rows,
            regime=profile.regime,
            gate=gate,
            b_from_a=b_from_a,
            a_from_b=a_from_b,
            objective=profile.objective,
        )


class PointScore(Part):
    """Mean validation score over replicates, and its standard error over seeds."""

    mean: float
    sem: float


class Calibrated(Part):
    """A similarity against its null: see `tuner.models.evaluation.similarity.Calibration`."""

    value: Annotated[float, Field(description="0 is chance, 1 the greatest that there is")]
    quantile: Annotated[float, Field(description="95 % of permutations are less alike")]
    p: Annotated[float, Field(description="share of permutations that are as similar or more")]


class CalibratedSimilarity(Part):
    """What of each similarity is beyond chance: rows of B were permuted, one by one, 200 times."""

    cka: Calibrated
    svcca: Calibrated
    mutual_knn: Calibrated


class Similarity(Part):
    """How alike the embeddings of A and B are on validation rows: means over replicates.

    By debiased linear CKA, SVCCA and mutual-kNN; see `tuner.models.evaluation.similarity`.
    """

    cka: float
    svcca: float
    mutual_knn: float


class CurvePoint(Part):
    """What was seen at one λ on validation rows."""

    strength: Annotated[float, Field(alias="lambda")]
    replicates: int
    a: PointScore
    b: PointScore
    joint: PointScore
    similarity: Similarity | None = None
    calibrated: Annotated[
        CalibratedSimilarity | None,
        Field(
            description="similarity beyond chance, which grows with width and falls with rows",
            exclude_if=is_none,
        ),
    ] = None

    @property
    def scores(self) -> "dict[Target, PointScore]":
        """The score of each target."""
        return {"a": self.a, "b": self.b, "joint": self.joint}


class ModelledScore(Part):
    """Posterior mean of the score, and both ends of its 95 % interval, at the λs of the curve."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class ModelledCurve(Part):
    """The model of the λ-curve that λ* comes from: see `tuner.analysis.curve`."""

    strengths: Annotated[tuple[float, ...], Field(alias="lambda")]
    a: ModelledScore
    b: ModelledScore
    joint: ModelledScore

    @property
    def scores(self) -> "dict[Target, ModelledScore]":
        """The model of each target."""
        return {"a": self.a, "b": self.b, "joint": self.joint}


class PriorOnTarget(Part):
    """What past studies had to say of one target, against what was seen.

    Attributes:
        believed: Weight of the prior once the search was seen; what it had before is in
            `PriorSummary`.
        best: λ of the highest expected gain, by past studies and the search.
        alone: The same by the search alone.
        curve: The model of the curve without the prior, at the λs of `StudyResult.curve_model`.
        earlier: Weight of the earlier study's curve once the search was seen; None without one.
    """

    believed: float
    best: Annotated[float, Field(alias="lambda")]
    alone: Annotated[float, Field(alias="lambda_alone")]
    curve: ModelledScore
    earlier: Annotated[float | None, Field(exclude_if=is_none)] = None


class EarlierSummary(Part):
    """A study of other data that had a say in where the best λ was sought.

    Attributes:
        study: Its id.
        name: Its name.
        weight: Of its curve before anything was trained, as a part of the prior's.
    """

    study: str
    name: str
    weight: float


class PriorSummary(Part):
    """The past studies that had a say in where the best λ was sought: see `StudySpec.prior`.

    Attributes:
        source: Where they are from; `none` if there is but an earlier study.
        corpus: Their digest; empty without any.
        weight: Of the prior before anything was trained.
        targets: What it had to say of each.
        earlier: A study of other data among them that was named; None without one.
    """

    source: str
    corpus: str
    weight: float
    targets: dict[str, PriorOnTarget]
    earlier: Annotated[EarlierSummary | None, Field(exclude_if=is_none)] = None

    def is_right(self, target: str) -> bool:
        """Whether what was seen is likelier by past studies than by the vague prior."""
        return self.targets[target].believed >= self.weight

    def is_earlier_right(self, target: str) -> bool:
        """Whether what was seen is likelier by the earlier study than by all else."""
        believed = self.targets[target].earlier
        return believed is not None and believed >= (self.earlier.weight if self.earlier else 1)


class FailedTrial(Part):
    """A λ that could not be trained, and why."""

    strength: Annotated[float, Field(alias="lambda")]
    phase: Literal["nuisance", "rung", "search", "confirm"]
    reason: str


class PartialTrial(Part):
    """A λ that halving stopped: what it scored after some of the epochs, no part of the curve."""

    strength: Annotated[float, Field(alias="lambda")]
    epochs: int
    joint: PointScore


class NuisanceTrial(Part):
    """Training settings that were tried, and at which λ."""

    strength: Annotated[float, Field(alias="lambda")]
    settings: dict[str, float]
    joint: PointScore


class NuisanceSummary(Part):
    """The search for training settings, before that for λ: see `tuner.search.nuisance`.

    Attributes:
        mode: `first` or `joint`.
        settings: Used at every λ of the curve.
        baseline_settings: Used at λ = 0 where the answer was confirmed.
        trials: All that was tried.
    """

    mode: Literal["first", "joint"]
    settings: dict[str, float]
    baseline_settings: dict[str, float]
    trials: tuple[NuisanceTrial, ...]


class GuessComparison(Part):
    """An encoder that is not surely better than a guess that never looks at its inputs.

    Attributes:
        score: On test rows.
        skill: (score - guess) / (perfect - guess): 0 is as good as the guess, 1 is perfect.
        gain_interval: 95 % interval, over test rows, of what it gains on the guess.
    """

    score: float
    skill: float
    gain_interval: Interval


class Guess(Part):
    """Always guessing one label: the commonest of training rows, or their median.

    Attributes:
        label: What is guessed.
        score: Of that guess on test rows.
        a: How encoder A compares; None if it is surely better.
        b: The same of encoder B.
    """

    label: str | int | float
    score: float
    a: GuessComparison | None
    b: GuessComparison | None


class Together(Part):
    """What both encoders do together on test rows, at λ = 0 and at the λ that was tested.

    No verdict rests on it. By L2-normalised projections, where the alignment loss works, but for
    `fused`; see `tuner.models.evaluation.crossmodal`.

    Attributes:
        strength: That λ: the joint one.
        gallery: Rows that a partner is looked for among: recall@k by chance is k / gallery.
        measured: By name. `recall_at_1_a_to_b`: share of rows of A whose partner is the most alike
            of the rows of B. `zero_shot_a`: the metric of A where its class is that of the nearest
            prototype of B, the mean of labelled training rows; classification alone. `fused`: the
            metric of what both heads say, their outputs added up, or the mean of values.
    """

    strength: Annotated[float, Field(alias="lambda")]
    gallery: int
    measured: dict[str, TestScores]


class Cost(Part):
    """What the study took; a training is one replicate at one λ."""

    trials: int
    trainings: int
    gradient_steps: int
    training_seconds: float
    wall_seconds: float


class MlflowLinks(Part):
    """Where the runs are."""

    tracking_uri: str
    experiment_id: str
    run_id: str


class StudyResult(Part):
    """The whole answer."""

    study: str
    name: str
    status: Status
    headline: Annotated[
        str | None,
        Field(description="what to do, in a sentence", exclude_if=is_none),
    ] = None
    warnings: Annotated[
        tuple[str, ...],
        Field(
            description="what to know before the answer is used",
            exclude_if=lambda warnings: not warnings,
        ),
    ] = ()
    dataset: DatasetSummary
    metric: MetricSummary
    information: InformationSummary | None
    joint: Answer
    modalities: Modalities
    curve: tuple[CurvePoint, ...]
    curve_model: Annotated[
        ModelledCurve | None,
        Field(description="the model of the curve, as figures draw it", exclude_if=is_none),
    ] = None
    failures: tuple[FailedTrial, ...]
    stopped: tuple[PartialTrial, ...] = ()
    nuisance: NuisanceSummary | None = None
    warm_start: str | None = None  # the study that this one began from
    prior: Annotated[
        PriorSummary | None,
        Field(
            description="the past studies that had a say in where the best λ was sought, and "
            "whether they were right",
            exclude_if=is_none,
        ),
    ] = None
    extends: Annotated[
        str | None,
        Field(description="the study that this one adds seeds to", exclude_if=is_none),
    ] = None
    guess: Annotated[
        Guess | None,
        Field(
            description="a guess that an encoder is not surely better than",
            exclude_if=is_none,
        ),
    ] = None
    together: Annotated[
        Together | None,
        Field(
            description="what both encoders do together: retrieval, zero-shot, a fused head",
            exclude_if=is_none,
        ),
    ] = None
    folds: Annotated[
        int,
        Field(
            description="of how many folds the test rows are; 1 where they are those of the split",
            exclude_if=lambda folds: folds == 1,
        ),
    ] = 1
    cost: Cost
    environments: Annotated[
        tuple[dict[str, str], ...],
        Field(
            description="where and how its trials were trained, the commonest first: device, "
            "precision, version of torch, whether bit by bit the same each time; on a GPU its "
            "name, the version of CUDA and whether TF32 is used",
            exclude_if=lambda environments: not environments,
        ),
    ] = ()
    mlflow: MlflowLinks | None
    unpublished: Annotated[
        str | None,
        Field(description="why MLflow does not show it", exclude_if=is_none),
    ] = None

    def frame(self) -> "DataFrame":
        """Return the curve as a table: a row per λ, columns such as `lambda` and `joint_mean`."""
        import pandas as pd

        return pd.json_normalize([point.model_dump() for point in self.curve], sep="_")

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        from tuner.study.notebook import result_html

        return result_html(self)

    @property
    def missing(self) -> tuple[str, ...]:
        """What could not be registered of a study that is done, and why; empty if all was."""
        if self.mlflow is None:
            return (self.unpublished or "MLflow could not be reached",)
        errors = (self.modalities.a.model_error, self.modalities.b.model_error)
        return tuple(error for error in errors if error is not None)

    def registered_strength(self, side: Side) -> float:
        """The λ at which the encoder of a modality is trained that is registered.

        A pair that is to be aligned is aligned: each encoder is of the joint λ*, but where its own
        answer surely differs: its own best λ is in an interval without the joint one, or it was
        shown to be harmed. Without a joint λ* it is the modality's own.
        """
        own, joint = self.answers[side], self.joint
        low, high = own.interval
        harmed = own.reason == "harm shown"
        elsewhere = own.verdict == "align" and not low <= joint.strength <= high
        if joint.verdict != "align" or harmed or elsewhere:
            return own.strength
        return joint.strength

    @property
    def rules(self) -> dict[str, Rule]:
        """By which rule the tested and registered weights of each modality were kept."""
        sides = {"a": self.modalities.a.checkpoint, "b": self.modalities.b.checkpoint}
        return {side: "loss" if kept is None else kept.rule for side, kept in sides.items()}

    @property
    def answers(self) -> "dict[Target, Answer | ModalityAnswer]":
        """The answer for each target: A, B and both."""
        return {"a": self.modalities.a, "b": self.modalities.b, "joint": self.joint}
