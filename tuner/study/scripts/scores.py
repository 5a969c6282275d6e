"""From what training code reports of rows to scores of trainings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tuner.models.evaluation.resampling import Grouping, Resamples, parts_of_groups
from tuner.models.outcome import TrainingOutcome
from tuner.scripts.scores import GROUP
from tuner.study.scoring.scores import RESAMPLES
from tuner.study.scoring.targets import UNDIVIDED, FoldShare, Target
from tuner.study.scripts.functionals import Functional
from tuner.study.scripts.spec import TargetSpec
from tuner.typing import Array, Floats, Indices

_MOST = 20_000  # rows that are resampled one by one; of more, so many blocks at random are
_AT_ONCE = 2**22  # weights of rows


@dataclass(frozen=True, kw_only=True, eq=False)
class _Units:
    """What is resampled: rows, blocks of very many rows, or groups.

    Attributes:
        of_row: (rows,) the unit of each row; None where each row is one of its own.
        resamples: Of the units.
    """

    of_row: Indices | None
    resamples: Resamples

    def means(self, rows: Floats) -> Floats:
        """Mean of numbers of rows (rows,) under each resample, (resamples,)."""
        weights = self.resamples.weights
        if self.of_row is None:
            means: Floats = weights @ rows / weights.sum(axis=1)
            return means
        sums = np.bincount(self.of_row, weights=rows, minlength=weights.shape[1])
        sizes = np.bincount(self.of_row, minlength=weights.shape[1])
        of_units: Floats = weights @ sums / (weights @ sizes)
        return of_units

    def scores(self, functional: Functional, predictions: Mapping[str, Array]) -> Floats:
        """Score under each resample, (resamples,), of few at once where rows are many."""
        weights = self.resamples.weights
        if self.of_row is None:
            return functional.scores_under(predictions, weights)
        step = max(1, _AT_ONCE // len(self.of_row))
        parts = [
            functional.scores_under(predictions, weights[at : at + step][:, self.of_row])
            for at in range(0, len(weights), step)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowScorer:
    """Scores trainings by what they report of rows: see `TargetScorer`.

    By the mean, or a functional that a target names. Rows are resampled one by one, or by the
    groups that are reported with them. A target of a single row came as one number: nothing can be
    said of other rows then.

    Attributes:
        specs: The targets, the one first that the search goes by; none if they are not known yet.
        stream: What the resamples derive from.
    """

    specs: tuple[TargetSpec, ...]
    stream: int
    _known: dict[int | bytes, _Units] = field(default_factory=dict, init=False, repr=False)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, the main one first."""
        return tuple(spec.name for spec in self.specs)

    @property
    def basic(self) -> tuple[Target, ...]:
        """Those that are made of what the code reports."""
        return tuple(spec.name for spec in self.specs if not spec.parts)

    @property
    def main(self) -> Target:
        """The one that the search goes by."""
        return self.specs[0].name

    @property
    def in_one_unit(self) -> bool:
        """Whether gains can be added up: the main target is the mean of what is reported."""
        return set(self._parts(self.main)) == set(self.basic)

    def grouping_of(self, predictions: Mapping[str, Array]) -> Grouping | None:
        """Return the groups that were reported with the rows; None where there are none."""
        if GROUP not in predictions:
            return None
        return self._units(predictions, predictions[GROUP].shape[1]).resamples.grouping

    def sign(self, target: Target) -> int:
        """Factor that turns a score into a utility, where higher is better."""
        return 1 if self._spec(target).direction == "maximize" else -1

    def rows(self, predictions: Mapping[str, Array], target: Target) -> int:
        """How many rows it is measured on; of a mean of targets, the fewest."""
        return min(_rows(predictions, self._spec(part)) for part in self._parts(target))

    def resolution(self, predictions: Mapping[str, Array], target: Target) -> float:
        """What one row changes of a rate, whose rows are 0 or 1: see `Scorer.resolution`."""
        specs = [self._spec(part) for part in self._parts(target)]
        are_rates = all(_is_rate(predictions, spec) for spec in specs)
        return 1 / self.rows(predictions, target) if are_rates else 0.0

    def scores(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        """Score of each replicate, (replicates,)."""
        parts = [_scores(predictions, self._spec(part)) for part in self._parts(target)]
        return np.asarray(sum(parts) / len(parts), dtype=np.float64)

    def folds(self, predictions: Mapping[str, Array]) -> tuple[FoldShare, ...]:
        """All replicates were tested on all rows."""
        del predictions
        return UNDIVIDED

    def resampled(self, predictions: Mapping[str, Array], target: Target) -> Floats | None:
        """Mean score over replicates under each resample of the rows, (resamples,).

        None also where rows are so few that a resample has no score.
        """
        parts = [self._resampled(predictions, self._spec(part)) for part in self._parts(target)]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return np.asarray(sum(known) / len(known), dtype=np.float64)

    def utility(self, outcome: TrainingOutcome) -> float:
        """Mean score of the main target on validation rows; higher is better."""
        return self.sign(self.main) * float(self.scores(outcome.predictions, self.main).mean())

    def _resampled(self, predictions: Mapping[str, Array], spec: TargetSpec) -> Floats | None:
        rows = _rows(predictions, spec)
        if rows < 2:
            return None
        units = self._units(predictions, rows)
        if len(units.resamples.weights) < 2:
            return None
        if spec.functional is None:
            scores = units.means(predictions[spec.name].mean(axis=0))
        else:
            scores = units.scores(spec.functional, predictions)
        return units.resamples.stretched(scores) if np.isfinite(scores).all() else None

    def _units(self, predictions: Mapping[str, Array], rows: int) -> _Units:
        group = predictions[GROUP][0] if GROUP in predictions else None
        key = rows if group is None else group.tobytes()
        if key not in self._known:
            self._known[key] = self._divided(rows) if group is None else self._grouped(group)
        return self._known[key]

    def _divided(self, rows: int) -> _Units:
        """Return the rows, or as many blocks as may be, of rows at random."""
        units = min(rows, _MOST)
        resamples = Resamples.of_rows(units, RESAMPLES, self.stream)
        if rows == units:
            return _Units(of_row=None, resamples=resamples)
        mixed = np.random.default_rng(self.stream).permutation(rows)
        return _Units(of_row=mixed * units // rows, resamples=resamples)

    def _grouped(self, group: Array) -> _Units:
        part, grouping = parts_of_groups(group.astype(np.int64), RESAMPLES, self.stream)
        resamples = Resamples.of_parts(int(part.max()) + 1, grouping)
        return _Units(of_row=part, resamples=resamples)

    def _parts(self, target: Target) -> tuple[str, ...]:
        return self._spec(target).parts or (target,)

    def _spec(self, target: Target) -> TargetSpec:
        return next(spec for spec in self.specs if spec.name == target)


def _rows(predictions: Mapping[str, Array], spec: TargetSpec) -> int:
    return int(predictions[spec.arrays[0]].shape[1])


def _scores(predictions: Mapping[str, Array], spec: TargetSpec) -> Floats:
    if spec.functional is not None:
        return spec.functional.scores(predictions)
    means: Floats = predictions[spec.name].mean(axis=1)
    return means


def _is_rate(predictions: Mapping[str, Array], spec: TargetSpec) -> bool:
    if spec.functional is not None:
        return spec.functional.is_rate
    rows = predictions[spec.name]
    return bool(np.all((rows == 0) | (rows == 1)))
