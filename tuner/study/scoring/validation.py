"""Search in folds: each seed has validation rows of its fold, and trains on the rest but for test.

One division of the rows is one draw of luck: all seeds are validated on the same rows, and more
seeds do not average that. A seed is of the same fold at every λ, so gains stay paired. Test rows
are those of the split, which no fold trains on, nor chooses by.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tuner.data import PairedDataset, Split
from tuner.data.validation.division.folds import unvalidated_class, validation_numbers
from tuner.errors import SpecError
from tuner.models.outcome import TrainingOutcome
from tuner.study.spec import StudySpec
from tuner.study.trial import TrialRequest, together
from tuner.typing import Array, Indices

_FEWEST_GROUPS = 2  # of the validation rows of a fold: one says nothing of others
_STREAM = 4  # of random numbers, beside those of `Split` and of the folds that are tested


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationFolds:
    """Which rows a seed is validated on.

    Attributes:
        count: How many folds there are; the first has the validation rows of the split.
        numbers: (rows of the data set,) the fold that validates each row; -1 if none does.
        validated: Rows of the data set that are validated, labelled, fold by fold.
        of_seed: The fold of each seed.
    """

    count: int
    numbers: Array
    validated: Indices
    of_seed: Mapping[int, int]

    @classmethod
    def of(cls, spec: StudySpec, dataset: PairedDataset) -> "ValidationFolds | None":
        """Divide the rows as a spec asks; None if all seeds are validated on those of the split.

        Raises:
            SpecError: If the data cannot be divided into so many folds.
        """
        folds = spec.validation_folds
        if folds == 1:
            return None
        option = f"--validation-folds {folds}"
        if dataset.has_own_split:
            raise SpecError(
                f"{option}: the data say themselves how rows are split, and folds would validate "
                "others. Leave --validation-folds out, or use --split none to have all rows split "
                "here"
            )
        stream = np.random.SeedSequence([spec.seed, _STREAM])
        numbers = validation_numbers(dataset, folds, int(stream.generate_state(1)[0]))
        if fault := _fault(dataset, numbers, folds):
            raise SpecError(f"{option}: {fault}, or leave --validation-folds out")
        rows = np.flatnonzero((numbers >= 0) & dataset.labelled)
        validated = rows[np.argsort(numbers[rows], kind="stable")]
        of_seed = spec.validation_folds_of_seeds
        return cls(count=folds, numbers=numbers, validated=validated, of_seed=of_seed)

    @property
    def fold(self) -> Indices:
        """(validated rows,), of which fold each is."""
        return self.numbers[self.validated].astype(np.int64)

    def divided(self, dataset: PairedDataset, fold: int) -> PairedDataset:
        """Return a data set whose validation rows are those of a fold; test rows stay."""
        split = np.where(self.numbers == fold, np.int8(Split.VALIDATION), np.int8(Split.TRAIN))
        split[dataset.split == Split.TEST] = Split.TEST
        return replace(dataset, split=split)

    def trained(
        self, request: TrialRequest, train: Callable[[TrialRequest, int, int], TrainingOutcome]
    ) -> TrainingOutcome:
        """Train a request fold by fold, and return it as if it had been trained at once.

        What a seed predicts for validation rows is -1 or NaN for those of other folds.

        Args:
            request: What is asked for.
            train: Trains the seeds of a fold: given a request for these, which fold, and how many
                seeds are trained before.
        """
        parts: list[TrainingOutcome] = []
        seeds: list[int] = []
        for fold in range(self.count):
            of_fold = self._of(fold, request.seeds)
            if of_fold:
                part_of = self._of(fold, request.part_of)
                own = replace(request, seeds=of_fold, part_of=part_of)
                outcome = train(own, fold, len(seeds))
                parts.append(outcome.validated_among(self.fold == fold))
                seeds += of_fold
        return together(parts).in_order([seeds.index(seed) for seed in request.seeds])

    def dealt(self, seeds: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Divide seeds by their folds, those that get any."""
        return [part for fold in range(self.count) if (part := self._of(fold, seeds))]

    def _of(self, fold: int, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(seed for seed in seeds if self.of_seed[seed] == fold)


def _fault(dataset: PairedDataset, numbers: Array, folds: int) -> str | None:
    """Say why these folds will not do, and a mend; None if they will."""
    units = np.arange(dataset.rows) if dataset.group is None else dataset.group
    validated = [(numbers == fold) & dataset.labelled for fold in range(folds)]
    groups = [len(np.unique(units[rows])) for rows in validated]
    whole = "" if dataset.group is None else ", because rows of a group stay together"
    if min(groups) < _FEWEST_GROUPS:
        what = "labelled row" if dataset.group is None else "group"
        return f"the validation rows of a fold would be of one {what}, or none{whole}. Add {what}s"
    lost = unvalidated_class(dataset, numbers, folds)
    if lost is not None:
        return f"a fold would have no validation row of class {lost!r}{whole}. Add rows of it"
    return None
