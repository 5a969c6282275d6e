"""What to train next: a pure function of the spec and of the trials that are finished.

Search in batches of the spec's size, then confirmation of what the search chose. Because nothing
else goes in, one worker and eight, and a study that was killed and taken up again, train the same
λs in the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.outcome import TrainingOutcome
from tuner.choice import Choice, choose
from tuner.errors import StudyFailedError
from tuner.outcome import FinishedTrial, Phase, TrialRequest
from tuner.sampler import first_batch, propose
from tuner.scores import TARGETS, Scorer, Target
from tuner.spec import StudySpec

_PHASE_STREAM: dict[Phase, int] = {"search": 0, "confirm": 1}
_FEWEST = 3  # trained λs, the baseline among them, below which there is no curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Decides which trials a study needs.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
    """

    spec: StudySpec
    validation: Scorer

    def next(
        self, finished: Sequence[FinishedTrial], *, closed: bool = False
    ) -> list[TrialRequest]:
        """Return the requests that can be known from the finished trials and are not among them.

        Args:
            finished: Every finished trial, failed ones included, in any order.
            closed: No further search batch is to be started (the time budget is spent).

        Returns:
            Trials to run now, in order; none if the study is finished.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained.
        """
        search = sorted(
            (t for t in finished if t.request.phase == "search"), key=lambda t: t.request.number
        )
        done = {trial.request.number for trial in search}
        for batch, numbers in enumerate(self._batches()):
            missing = [number for number in numbers if number not in done]
            if not missing:
                continue
            earlier = [trial for trial in search if trial.request.number < numbers[0]]
            if closed and len(_outcomes(earlier)) >= _FEWEST:
                break
            strengths = self._strengths(earlier, batch, len(numbers))
            return _longest_first(
                [self._request("search", n, strengths[n - numbers[0]]) for n in missing]
            )
        return self._confirmation(finished)

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each modality and of both, from the search alone.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained.
        """
        search = [trial for trial in finished if trial.request.phase == "search"]
        _check_search(search)
        outcomes = _outcomes(search)
        return {
            target: choose(
                self.validation.observations(outcomes, target),
                self.spec.space,
                seed=self.spec.seed,
            )
            for target in TARGETS
        }

    def _batches(self) -> list[range]:
        spec = self.spec
        size = spec.trials if spec.sampler == "grid" else spec.batch
        return [
            range(first, min(first + size, spec.trials)) for first in range(0, spec.trials, size)
        ]

    def _strengths(self, earlier: list[FinishedTrial], batch: int, count: int) -> list[float]:
        space = self.spec.space
        if batch == 0 and self.spec.sampler != "random":
            return first_batch(count, space)
        utilities = [(outcome.strength, self._utility(outcome)) for outcome in _outcomes(earlier)]
        seed = self.spec.seed
        if batch == 0:
            return [0.0, *propose("random", [], count - 1, space, seed=seed, batch=0)]
        return propose(self.spec.sampler, utilities, count, space, seed=seed, batch=batch)

    def _utility(self, outcome: TrainingOutcome) -> float:
        scores = self.validation.scores(outcome.predictions, "joint")
        return float(self.validation.metric.sign * scores.mean())

    def _confirmation(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        candidates = {choice.candidate for choice in self.choices(finished).values()}
        done = {t.request.number for t in finished if t.request.phase == "confirm"}
        return _longest_first(
            [
                self._request("confirm", number, strength)
                for number, strength in enumerate([0.0, *sorted(candidates)])
                if number not in done
            ]
        )

    def _request(self, phase: Phase, number: int, strength: float) -> TrialRequest:
        spec = self.spec
        replicates = spec.replicates if phase == "search" else spec.confirm_replicates
        seeds = tuple(
            int(np.random.SeedSequence([spec.seed, _PHASE_STREAM[phase], r]).generate_state(1)[0])
            for r in range(replicates)
        )
        return TrialRequest(phase=phase, number=number, strength=strength, seeds=seeds)


def _longest_first(requests: list[TrialRequest]) -> list[TrialRequest]:
    """Order by falling λ: strong alignment learns slowly, and no worker should end a batch alone.

    λ = 0 of the search goes first all the same: a study that cannot train it ends there.
    """
    first = [r for r in requests if r.phase == "search" and r.strength == 0]
    rest = [r for r in requests if r not in first]
    return first + sorted(rest, key=lambda r: -r.strength)


def _outcomes(trials: Sequence[FinishedTrial]) -> list[TrainingOutcome]:
    return [trial.outcome for trial in trials if trial.outcome is not None]


def _check_search(search: Sequence[FinishedTrial]) -> None:
    for trial in search:
        if trial.request.strength == 0 and trial.outcome is None:
            raise StudyFailedError(
                "the baseline (λ = 0) could not be trained, so there is nothing to compare with: "
                f"{trial.reason}"
            )
    trained = len(_outcomes(search))
    if trained < _FEWEST:
        reason = next((trial.reason for trial in search if trial.reason), "none was asked for")
        raise StudyFailedError(
            f"only {trained} of {len(search)} λs could be trained, {_FEWEST} are needed; the first "
            f"that failed: {reason}"
        )
