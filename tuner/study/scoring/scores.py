"""From stored predictions to scores: of each modality, and of their mean (`joint`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tuner.data import PairedDataset, Split
from tuner.errors import SpecError
from tuner.models.evaluation.metrics import DEFAULT_METRIC, METRICS, Metric
from tuner.models.evaluation.resampling import Grouping, Resamples
from tuner.models.outcome import TrainingOutcome
from tuner.study.scoring.targets import UNDIVIDED, FoldShare, Target
from tuner.study.spec import StudySpec
from tuner.typing import Array, Floats, Indices

TARGETS: tuple[Target, ...] = ("a", "b", "joint")
SIDES = TARGETS[:2]

RESAMPLES = 400


def stream_of(seed: int, split: Split) -> int:
    """Return what the resamples of the rows of a split derive from."""
    return int(np.random.SeedSequence([seed, split]).generate_state(1)[0])


def resamples_of(dataset: PairedDataset, rows: Indices, split: Split, seed: int) -> Resamples:
    """Return resamples of some rows that serve as those of `split`, or of their groups."""
    stream = stream_of(seed, split)
    if dataset.group is None:
        return Resamples.of_rows(len(rows), RESAMPLES, stream)
    return Resamples.of_groups(dataset.group[rows], RESAMPLES, stream)


def metric_of(spec: StudySpec, task: str) -> Metric:
    """Return the metric of a study.

    Raises:
        SpecError: If the metric does not belong to the data's task.
    """
    name = DEFAULT_METRIC[task] if spec.metric == "auto" else spec.metric
    metric = METRICS[name]
    if metric.task != task:
        fitting = ", ".join(m.name for m in METRICS.values() if m.task == task)
        raise SpecError(
            f"--metric {name}: metric {name} is for {metric.task}, this data set is {task}. Choose "
            f"one of {fitting}, or leave it out."
        )
    return metric


@dataclass(frozen=True, kw_only=True, eq=False)
class Scorer:
    """Scores predictions of encoders for the labelled rows of one split: see `TargetScorer`.

    Attributes:
        metric: What is measured.
        truth: (rows,) labels: class codes or values.
        resamples: Of these rows, or of their groups where the data set has groups.
    """

    targets: ClassVar[tuple[Target, ...]] = TARGETS
    basic: ClassVar[tuple[Target, ...]] = SIDES
    main: ClassVar[Target] = "joint"
    in_one_unit: ClassVar[bool] = True
    metric: Metric
    truth: Array
    resamples: Resamples
    # By the id of predictions, which are kept beside: an id may be used again once they are gone.
    _known: dict[int, tuple[Mapping[str, Array], dict[Target, Floats]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(cls, dataset: PairedDataset, split: Split, metric: Metric, seed: int) -> "Scorer":
        """Score the labelled rows of `split`."""
        rows = dataset.indices(split, labelled_only=True)
        resamples = resamples_of(dataset, rows, split, seed)
        return cls(metric=metric, truth=dataset.y[rows], resamples=resamples)

    def folds(self, predictions: Mapping[str, Array]) -> tuple[FoldShare, ...]:
        """All replicates were tested on all rows."""
        del predictions
        return UNDIVIDED

    @property
    def grouping(self) -> Grouping | None:
        """The groups of these rows; None where rows are independent."""
        return self.resamples.grouping

    def grouping_of(self, predictions: Mapping[str, Array]) -> Grouping | None:
        """Return the same, whatever was predicted."""
        del predictions
        return self.grouping

    def sign(self, target: Target) -> int:
        """Factor that turns a score into a utility, where higher is better; of every target."""
        del target
        return self.metric.sign

    def rows(self, predictions: Mapping[str, Array], target: Target) -> int:
        """How many labelled rows there are, for every target."""
        del predictions, target
        return len(self.truth)

    def resolution(self, predictions: Mapping[str, Array], target: Target) -> float:
        """What one row more or less changes of a rate; 0 for an error.

        Rows that two trainings predict alike do not show that others would be: by the rule of
        three, of n alike up to 3/n may differ (Hanley and Lippman-Hand, JAMA 249 (1983) 1743).
        """
        del predictions, target
        return 0.0 if self.metric.task == "regression" else 1 / max(len(self.truth), 1)

    def scores(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        """Score each replicate in the metric's own units, (replicates,); once for an outcome."""
        _, known = self._known.setdefault(id(predictions), (predictions, {}))
        if target not in known:
            known[target] = self._scored(predictions, target)
        return known[target]

    def _scored(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        if target == "joint":
            return (self.scores(predictions, "a") + self.scores(predictions, "b")) / 2
        return np.array([self.metric.score(self.truth, p) for p in predictions[target]])

    def utility(self, outcome: TrainingOutcome) -> float:
        """Mean joint score over replicates, with the sign that makes higher better."""
        return float(self.metric.sign * self.scores(outcome.predictions, self.main).mean())

    def resampled(self, predictions: Mapping[str, Array], target: Target) -> Floats | None:
        """Mean score over replicates under each resample of the rows, (resamples,).

        None if the rows are of too few groups to tell how it varies between groups.
        """
        if target == "joint":
            a, b = (self.resampled(predictions, side) for side in SIDES)
            return None if a is None or b is None else (a + b) / 2
        weights = self.resamples.weights
        scores = self.metric.mean_scores(self.truth, predictions[target], weights)
        return self.resamples.stretched(scores)
