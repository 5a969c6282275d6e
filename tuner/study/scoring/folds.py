"""Confirmation in folds: all labelled rows that are not validation rows are tested in turn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tuner.data import PairedDataset, Split
from tuner.data.validation.division.folds import fold_numbers, lacking_class
from tuner.errors import SpecError
from tuner.models.outcome import TrainingOutcome
from tuner.study.scoring.scores import Scorer, metric_of, resamples_of
from tuner.study.scoring.targets import FoldShare, Target
from tuner.study.spec import StudySpec
from tuner.typing import Array, Floats, Indices, Mask

_FEWEST_GROUPS = 2  # of the test rows of a fold: one says nothing of others
_FEW_ROWS = 1000  # labelled test rows: the noise of fewer is more than that of a dozen seeds
AUTO_FOLDS = 3  # where there are fewer
_STREAM = 3  # of random numbers, beside those of `Split`


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Which rows a confirming training is tested on, and which it is trained on.

    Attributes:
        count: How many folds there are.
        numbers: (rows of the data set,) the fold that tests each row; -1 if none does.
        tested: Rows of the data set that are tested, labelled, fold by fold.
        of_seed: The fold of each confirming seed.
    """

    count: int
    numbers: Array
    tested: Indices
    of_seed: Mapping[int, int]

    @classmethod
    def of(cls, spec: StudySpec, dataset: PairedDataset) -> "Folds | None":
        """Divide the rows as a spec asks; None if the split's test rows are all that is tested.

        Raises:
            SpecError: If the data cannot be divided into so many folds.
        """
        folds = spec.fold_count
        if folds == 1:
            return None
        if dataset.has_own_split:
            raise SpecError(
                f"--folds {folds}: the data say themselves which rows are those of test, and "
                "folds would test others. Leave --folds out, or use --split none to have all rows "
                "split here"
            )
        numbers = fold_numbers(dataset, folds, _seed(spec))
        if fault := _fault(dataset, numbers, folds):
            raise SpecError(
                f"--folds {folds}: {fault}, because rows of a group stay together. Leave --folds "
                "out, or add groups"
            )
        rows = np.flatnonzero((numbers >= 0) & dataset.labelled)
        tested = rows[np.argsort(numbers[rows], kind="stable")]
        return cls(count=folds, numbers=numbers, tested=tested, of_seed=spec.folds_of_seeds)

    @property
    def fold(self) -> Indices:
        """(tested rows,), of which fold each is."""
        return self.numbers[self.tested].astype(np.int64)

    def divided(self, dataset: PairedDataset, fold: int) -> PairedDataset:
        """Return a data set whose test rows are those of a fold; validation rows stay."""
        split = np.where(self.numbers == fold, np.int8(Split.TEST), np.int8(Split.TRAIN))
        split[dataset.split == Split.VALIDATION] = Split.VALIDATION
        return replace(dataset, split=split)

    def placed(self, outcome: TrainingOutcome) -> TrainingOutcome:
        """Return a training of one fold with what it predicts among the rows of all folds."""
        return outcome.placed(self.fold == self.of_seed[int(outcome.seeds[0])])

    def taken(self, outcome: TrainingOutcome, fold: int) -> TrainingOutcome:
        """Return what was placed with its predictions for the rows of one fold alone."""
        return outcome.tested_on(self.fold == fold)


def with_folds(spec: StudySpec, dataset: PairedDataset) -> StudySpec:
    """Return a spec that says in how many folds it confirms, where that was left to the data.

    In three, where the test rows of the split are few and the data can be divided; else in one, and
    where λ is chosen by rows that these would test.
    """
    if spec.folds != "auto":
        return spec
    if spec.validation_folds > 1:
        return spec.model_copy(update={"folds": 1})
    few = np.count_nonzero(dataset.labelled[dataset.indices(Split.TEST)]) < _FEW_ROWS
    enough = spec.confirm_replicates >= 2 * AUTO_FOLDS
    divides = few and enough and divisible_rows(spec, dataset) is not None
    return spec.model_copy(update={"folds": AUTO_FOLDS if divides else 1})


def divisible_rows(spec: StudySpec, dataset: PairedDataset) -> int | None:
    """Return how many labelled rows `AUTO_FOLDS` folds would test; None if they cannot be made."""
    if dataset.has_own_split or spec.validation_folds > 1:
        return None
    numbers = fold_numbers(dataset, AUTO_FOLDS, _seed(spec))
    if _fault(dataset, numbers, AUTO_FOLDS):
        return None
    return int(np.count_nonzero((numbers >= 0) & dataset.labelled))


def _seed(spec: StudySpec) -> int:
    return int(np.random.SeedSequence([spec.seed, _STREAM]).generate_state(1)[0])


def _fault(dataset: PairedDataset, numbers: Array, folds: int) -> str | None:
    """Say why these folds will not do; None if they will."""
    lost = lacking_class(dataset, numbers, folds)
    if lost is not None:
        return f"class {lost!r} would be in the test rows of one fold alone"
    tested = [(numbers == fold) & dataset.labelled for fold in range(folds)]
    units = np.arange(dataset.rows) if dataset.group is None else dataset.group
    groups = [len(np.unique(units[rows])) for rows in tested]
    if min(groups) < _FEWEST_GROUPS:
        return "the test rows of a fold would be of one group, or none"
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldScorer(Scorer):
    """Scores predictions for rows of folds, each by the trainings of its own fold.

    What a replicate predicts is -1 or NaN for rows of other folds. A score is the mean over folds,
    by their numbers of rows: of accuracy and the absolute error that is the mean over all rows.

    Attributes:
        fold: (rows,) of which fold each is, from 0 on.
    """

    fold: Indices

    @classmethod
    def in_folds(
        cls, rows: Indices, fold: Indices, split: Split, dataset: PairedDataset, spec: StudySpec
    ) -> "FoldScorer":
        """Score some rows, each of a fold, which serve as those of `split`."""
        return cls(
            metric=metric_of(spec, dataset.task),
            truth=dataset.y[rows],
            resamples=resamples_of(dataset, rows, split, spec.seed),
            fold=fold,
        )

    def folds(self, predictions: Mapping[str, Array]) -> tuple[FoldShare, ...]:
        """Return which replicates were tested on each fold, and its share of the rows."""
        told = _is_told(next(iter(predictions.values())))
        return tuple(
            FoldShare(float(rows.mean()), np.flatnonzero(told[:, rows].any(axis=1)))
            for rows in self._masks
        )

    @property
    def _masks(self) -> list[Mask]:
        return [self.fold == fold for fold in range(int(self.fold.max()) + 1)]

    def _scored(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        if target == "joint":
            return super()._scored(predictions, target)
        told = predictions[target]
        rows = _is_told(told)
        each = [self.metric.score(self.truth[k], p[k]) for p, k in zip(told, rows, strict=True)]
        return np.array(each)

    def resampled(self, predictions: Mapping[str, Array], target: Target) -> Floats | None:
        """Mean score under each resample of the rows, (resamples,), as `folds` weighs it.

        Of replicates that were tested on some of the folds: what these add to it.
        """
        if target == "joint":
            return super().resampled(predictions, target)
        weights, told = self.resamples.weights, predictions[target]
        total, score = weights.sum(1), np.zeros(len(weights))
        for rows, fold in zip(self._masks, self.folds({target: told}), strict=True):
            if len(of_fold := told[fold.replicates][:, rows]):
                share = weights[:, rows].sum(1) / total
                drawn = np.where(share[:, None] > 0, weights[:, rows], 1.0)
                score += share * self.metric.mean_scores(self.truth[rows], of_fold, drawn)
        return self.resamples.stretched(score)


def _is_told(predictions: Array) -> Mask:
    """(replicates, rows), whether a replicate was tested on a row."""
    missing = np.isnan(predictions) if predictions.dtype.kind == "f" else predictions < 0
    return np.logical_not(missing)
