"""Trainings of one seed each, and the trials of all seeds of a λ that they make up.

A training of hours is written down as soon as it has ended: a stored trial of a script is of one
seed. What searches and decides asks for all seeds of a λ together, and sees them together.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from tuner.models.outcome import TrainingOutcome, joined
from tuner.scripts.reported import Reported
from tuner.study.scripts.spec import ScriptSpec
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
    is_confirmed = reported.test_scores is not None
    environment = {ROWS: _which(reported.scores, reported.row_ids, reported.counts)}
    if reported.test_scores is not None:
        environment[TEST_ROWS] = _which(
            reported.test_scores, reported.test_row_ids, reported.test_counts
        )
    if reported.saved is not None:
        environment[SAVED] = str(reported.saved)
    return TrainingOutcome(
        strength=request.strength,
        seeds=np.array(request.seeds, dtype=np.int64),
        predictions=_by_row(reported.scores, reported.counts, request.strength),
        test_predictions=_by_row(reported.test_scores or {}, reported.test_counts, request.strength)
        if is_confirmed
        else None,
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
        firsts = (t for t in finished if t.request.phase == "search" and t.request.number == 0)
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
            reason = next(filter(None, (_fault(parts[n], first) for n in sorted(parts))), None)
            if reason is not None:
                self._known[key] = FinishedTrial(request=request, outcome=None, reason=reason)
            elif len(parts) == len(request.seeds):
                outcome = _together([parts[n].outcome for n in sorted(parts)])
                self._known[key] = FinishedTrial(request=request, outcome=outcome)
        return self._known.get(key)

    def _seeds(self, single: TrialRequest) -> tuple[int, ...]:
        if single.phase == "search":
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


def _fault(trial: FinishedTrial, first: FinishedTrial) -> str | None:
    """Say why a training cannot be used; None if it can."""
    request, ours, theirs = trial.request, trial.outcome, first.outcome
    if ours is None:
        return f"seed {request.seeds[0]}: {trial.reason}"
    if theirs is None:
        return None
    for split_name, rows in (("validation", ROWS), ("test", TEST_ROWS)):
        if ours.environment.get(rows) != theirs.environment.get(rows):
            return (
                f"seed {request.seeds[0]}: it scored other {split_name} rows than λ = 0 with seed "
                f"{first.request.seeds[0]} did ({ours.environment.get(rows)}, not "
                f"{theirs.environment.get(rows)}): every training has to score the same rows, "
                "whatever its λ and seed"
            )
    lacking = sorted(set(theirs.predictions) - set(ours.predictions))
    if lacking:
        return f"seed {request.seeds[0]}: it did not report {lacking[0]}, as λ = 0 did"
    return None


def _together(outcomes: Sequence[TrainingOutcome | None]) -> TrainingOutcome:
    """Join trainings; what they told of their epochs, which may be as many each, stays theirs."""
    known = [replace(outcome, curves={}) for outcome in outcomes if outcome is not None]
    whole = reduce(joined, known)
    return replace(whole, seconds=sum(outcome.seconds for outcome in known))


def _which(scores: dict[str, Floats], ids: Array | None, counts: dict[str, int]) -> str:
    """Name the rows that were scored: how many, and which if they have ids."""
    count = max(counts.get(name, len(rows)) for name, rows in scores.items())
    if ids is None:
        return f"{count:,} rows"
    written = "\n".join(map(str, ids.tolist()))
    return f"{count:,} rows of ids {hashlib.sha256(written.encode()).hexdigest()[:8]}"


def _by_row(scores: dict[str, Floats], counts: dict[str, int], strength: float) -> dict[str, Array]:
    return {
        name: _counted(float(rows[0]), counts[name], strength)[None]
        if name in counts
        else rows[None]
        for name, rows in scores.items()
    }


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
