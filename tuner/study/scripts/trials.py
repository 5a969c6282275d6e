"""Trainings of one seed each, and the trials of all seeds of a λ that they make up.

A training of hours is written down as soon as it has ended: a stored trial of a script is of one
seed. What searches and decides asks for all seeds of a λ together, and sees them together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from tuner.models.outcome import TrainingOutcome, joined
from tuner.scripts.reported import Reported, ScoredRows, unlike
from tuner.scripts.scores import GROUP, RowScores
from tuner.study.scripts.spec import ScriptSpec, TargetSpec
from tuner.study.spec import MOST_SEEDS
from tuner.study.trial import FinishedTrial, PhaseName, TrialRequest
from tuner.typing import Array, Floats

# In an outcome's environment: which rows were scored, and where the model was saved.
ROWS, TEST_ROWS, SAVED = "rows", "test_rows", "saved"
_MOST_COUNTED = 20_000
_Key = tuple[PhaseName, int]


def split(request: TrialRequest) -> list[TrialRequest]:
    """Return the requests of one seed each that make up a request."""
    return [
        replace(request, number=request.number * MOST_SEEDS + index, seeds=(seed,))
        for index, seed in enumerate(request.seeds)
    ]


def outcome_of(reported: Reported, request: TrialRequest) -> TrainingOutcome:
    """Write down what a training reported, as of one replicate."""
    test = reported.test
    environment = {ROWS: reported.validation.words}
    if test is not None:
        environment[TEST_ROWS] = test.words
    if reported.saved is not None:
        environment[SAVED] = str(reported.saved)
    return TrainingOutcome(
        strength=request.strength,
        seeds=np.array(request.seeds, dtype=np.int64),
        predictions=_by_row(reported.validation, request.strength),
        test_predictions=None if test is None else _by_row(test, request.strength),
        best_epoch={},
        curves={name: values[None] for name, values in reported.curves.items()},
        similarity={},
        steps=0,
        seconds=reported.seconds,
        weights=None,
        environment=environment,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Puts the trainings of a λ together, each λ once.

    Attributes:
        spec: The study.
    """

    spec: ScriptSpec
    _known: dict[_Key, FinishedTrial] = field(default_factory=dict, init=False, repr=False)

    def trials(self, finished: Collection[FinishedTrial]) -> list[FinishedTrial]:
        """Return the trials of all seeds whose trainings are finished; failed if one of them is.

        Every training has to score the rows that that of λ = 0 with the first seed scores, on
        which the others of a phase wait.

        Args:
            finished: Trainings of one seed each.
        """
        groups: dict[_Key, dict[int, FinishedTrial]] = {}
        for trial in finished:
            group, index = divmod(trial.request.number, MOST_SEEDS)
            groups.setdefault((trial.request.phase, group), {})[index] = trial
        pooled = (self._trial(key, groups) for key in sorted(groups))
        return [trial for trial in pooled if trial is not None]

    def first(self, finished: Collection[FinishedTrial]) -> TrainingOutcome | None:
        """Return the training of λ = 0 with the first seed, which the others are compared with."""
        firsts = [t for t in finished if t.request.phase != "confirm" and t.request.number == 0]
        firsts.sort(key=lambda trial: trial.request.phase)  # a rung comes before the search
        return next((trial.outcome for trial in firsts), None)

    def whole(self, single: TrialRequest) -> TrialRequest:
        """Return the request that a request of one seed is a part of."""
        group = single.number // MOST_SEEDS
        return replace(single, number=group, seeds=self._seeds(single))

    def _trial(
        self, key: _Key, groups: dict[_Key, dict[int, FinishedTrial]]
    ) -> FinishedTrial | None:
        parts = groups[key]
        first = groups.get((key[0], 0), {}).get(0)
        if key not in self._known and first is not None:
            request = self.whole(next(iter(parts.values())).request)
            faults = (_fault(parts[n], first, self.spec.target) for n in sorted(parts))
            reason = next(filter(None, faults), None)
            if reason is not None:
                self._known[key] = FinishedTrial(request=request, outcome=None, reason=reason)
            elif len(parts) == len(request.seeds):
                outcome = _together([parts[n].outcome for n in sorted(parts)])
                self._known[key] = FinishedTrial(request=request, outcome=outcome)
        return self._known.get(key)

    def _seeds(self, single: TrialRequest) -> tuple[int, ...]:
        if single.phase != "confirm":
            return self.spec.seeds("search")
        (seed,) = single.seeds
        return next(part for part in self.spec.confirmed_in_parts if seed in part)


def best_saved(
    finished: Collection[FinishedTrial],
    strength: float,
    utility: Callable[[TrainingOutcome], float],
) -> str | None:
    """Return what the best confirming training at a λ saved; None if none saved anything.

    Args:
        finished: Trainings of one seed each.
        strength: λ.
        utility: Scores validation rows; test rows have no part in the choice.
    """
    outcomes = [
        trial.outcome
        for trial in finished
        if trial.outcome is not None
        and (trial.request.phase, trial.request.strength) == ("confirm", strength)
        and SAVED in trial.outcome.environment
    ]
    best = max(outcomes, key=utility, default=None)
    return None if best is None else best.environment[SAVED]


def _fault(trial: FinishedTrial, first: FinishedTrial, targets: Sequence[TargetSpec]) -> str | None:
    """Say why a training cannot be used; None if it can."""
    ours, theirs = trial.outcome, first.outcome
    whose = f"seed {trial.request.seeds[0]}: "
    if ours is None:
        return f"{whose}{trial.reason}"
    if theirs is None:
        return None
    for kind, rows, told, reference in (
        ("validation", ROWS, ours.predictions, theirs.predictions),
        ("test", TEST_ROWS, ours.test_predictions, theirs.test_predictions),
    ):
        if told is None or reference is None:
            continue
        fault = unlike(
            kind,
            ScoredRows(frozenset(told), ours.environment[rows]),
            ScoredRows(frozenset(reference), theirs.environment[rows]),
            f"λ = 0 with seed {first.request.seeds[0]}",
        )
        faults = (_miscounted(target, told, reference, kind) for target in targets)
        fault = fault or next(filter(None, faults), None)
        if fault is not None:
            return whose + fault
    return None


def _miscounted(
    target: TargetSpec, told: Mapping[str, Array], reference: Mapping[str, Array], kind: str
) -> str | None:
    """Say why a functional cannot be computed of rows; None if it can, or is lacking for all."""
    functional = target.functional
    if functional is None or not set(functional.arrays) <= set(reference):
        return None
    fault = functional.fault(told, reference)
    return None if fault is None else f"{target.name} of {kind} rows: {fault}"


def _together(outcomes: Sequence[TrainingOutcome | None]) -> TrainingOutcome:
    """Join trainings; what they told of their epochs, which may be as many each, stays theirs."""
    known = [replace(outcome, curves={}) for outcome in outcomes if outcome is not None]
    whole = reduce(joined, known)
    return replace(whole, seconds=sum(outcome.seconds for outcome in known))


def _by_row(rows: RowScores, strength: float) -> dict[str, Array]:
    by_row = {
        name: _counted(float(scores[0]), rows.counts[name], strength)[None]
        if name in rows.counts
        else scores[None]
        for name, scores in rows.scores.items()
    }
    if rows.groups is None:
        return by_row
    return by_row | {GROUP: np.unique(rows.groups, return_inverse=True)[1][None]}


def _counted(score: float, count: int, strength: float) -> Floats:
    """Rows that a rate may be the mean of; a number that is no rate stays one row.

    Which rows are right is drawn anew for each λ, and the same for its seeds: the gain over λ = 0
    has the binomial errors of both, for that they are of the same rows is not known to help. Of
    very many rows there are fewer, whose mean varies as little.
    """
    if count < 2 or not 0 <= score <= 1:
        return np.array([score])
    rows = min(count, _MOST_COUNTED)
    right = np.clip(score * rows - np.arange(rows), 0.0, 1.0)
    mixed = np.random.default_rng([np.float64(strength).view(np.uint64)]).permutation(right)
    return score + (mixed - score) * np.sqrt(rows / count) if rows < count else mixed
