"""From scores of rows, as training code reports them, to scores of trainings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tuner.models.evaluation.resampling import Grouping, Resamples
from tuner.models.outcome import TrainingOutcome
from tuner.study.scoring.scores import RESAMPLES
from tuner.study.scoring.targets import UNDIVIDED, FoldShare, Target
from tuner.study.scripts.spec import TargetSpec
from tuner.typing import Array, Floats

_MOST = 20_000  # rows that are resampled one by one; of more, so many blocks at random are


@dataclass(frozen=True, kw_only=True, eq=False)
class RowScorer:
    """Scores trainings by the mean of what they report of rows: see `TargetScorer`.

    A target of a single row came as one number: nothing can be said of other rows then.

    Attributes:
        specs: The targets, the one first that the search goes by; none if they are not known yet.
        stream: What the resamples derive from.
    """

    grouping: ClassVar[Grouping | None] = None
    specs: tuple[TargetSpec, ...]
    stream: int
    _known: dict[int, Resamples] = field(default_factory=dict, init=False, repr=False)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, the main one first."""
        return tuple(spec.name for spec in self.specs)

    @property
    def basic(self) -> tuple[Target, ...]:
        """Those that the code reports."""
        return tuple(spec.name for spec in self.specs if not spec.parts)

    @property
    def main(self) -> Target:
        """The one that the search goes by."""
        return self.specs[0].name

    @property
    def in_one_unit(self) -> bool:
        """Whether gains can be added up: the main target is the mean of what is reported."""
        return set(self._parts(self.main)) == set(self.basic)

    def sign(self, target: Target) -> int:
        """Factor that turns a score into a utility, where higher is better."""
        return 1 if self._spec(target).direction == "maximize" else -1

    def rows(self, predictions: Mapping[str, Array], target: Target) -> int:
        """How many rows it is measured on; of a mean of targets, the fewest."""
        return min(len(predictions[part][0]) for part in self._parts(target))

    def resolution(self, predictions: Mapping[str, Array], target: Target) -> float:
        """What one row changes of a rate, whose rows are 0 or 1: see `Scorer.resolution`."""
        parts = [predictions[part] for part in self._parts(target)]
        are_rates = all(bool(np.all((part == 0) | (part == 1))) for part in parts)
        return 1 / self.rows(predictions, target) if are_rates else 0.0

    def scores(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        """Mean over rows of each replicate, (replicates,)."""
        parts = [predictions[part].mean(axis=1) for part in self._parts(target)]
        return np.asarray(sum(parts) / len(parts), dtype=np.float64)

    def folds(self, predictions: Mapping[str, Array]) -> tuple[FoldShare, ...]:
        """All replicates were tested on all rows."""
        del predictions
        return UNDIVIDED

    def resampled(self, predictions: Mapping[str, Array], target: Target) -> Floats | None:
        """Mean score over replicates under each resample of the rows, (resamples,)."""
        parts = [predictions[part] for part in self._parts(target)]
        if any(part.shape[1] < 2 for part in parts):
            return None
        means = [self._mean_scores(part) for part in parts]
        return np.asarray(sum(means) / len(means), dtype=np.float64)

    def utility(self, outcome: TrainingOutcome) -> float:
        """Mean score of the main target on validation rows; higher is better."""
        return self.sign(self.main) * float(self.scores(outcome.predictions, self.main).mean())

    def _mean_scores(self, rows: Array) -> Floats:
        each = self._in_blocks(rows.mean(axis=0))
        weights = self._resamples(len(each)).weights
        means: Floats = weights @ each / weights.sum(axis=1)
        return means

    def _in_blocks(self, rows: Floats) -> Floats:
        """Means of as many blocks as may be, of rows at random, (blocks,)."""
        if len(rows) <= _MOST:
            return rows
        edges = np.linspace(0, len(rows), _MOST, endpoint=False).astype(np.intp)
        mixed = rows[np.random.default_rng(self.stream).permutation(len(rows))]
        sizes = np.diff(np.append(edges, len(rows)))
        return np.asarray(np.add.reduceat(mixed, edges) / sizes, dtype=np.float64)

    def _resamples(self, rows: int) -> Resamples:
        if rows not in self._known:
            self._known[rows] = Resamples.of_rows(rows, RESAMPLES, self.stream)
        return self._known[rows]

    def _parts(self, target: Target) -> tuple[str, ...]:
        return self._spec(target).parts or (target,)

    def _spec(self, target: Target) -> TargetSpec:
        return next(spec for spec in self.specs if spec.name == target)
