"""What to train next: a pure function of the spec and of the trials that are finished.

Search in batches of the spec's size, then confirmation of what the search chose. Batches overlap by
one, so that no worker waits for another: batch k is proposed once batch k - 2 is finished, while
batch k - 1 trains. Because nothing else goes in, one worker and eight, and a study that was killed
and taken up again, train the same λs in the same batches.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.outcome import TrainingOutcome
from tuner.choice import Choice, choose
from tuner.errors import StudyFailedError
from tuner.outcome import FinishedTrial, Phase, TrialRequest
from tuner.sampler import first_strengths, propose
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
        focus: Where on the warped unit interval the best λ is expected: the first λs tried are
            denser there. None for anywhere.
    """

    spec: StudySpec
    validation: Scorer
    focus: tuple[float, float] | None = None
    _proposed: dict[int, list[float]] = field(default_factory=dict, init=False, repr=False)

    def next(
        self,
        finished: Sequence[FinishedTrial],
        *,
        running: Collection[TrialRequest] = (),
        closed: bool = False,
    ) -> list[TrialRequest]:
        """Return the requests that can be known from the finished trials and wait to be run.

        Args:
            finished: Every finished trial, failed ones included, in any order.
            running: Requests that are being run.
            closed: No further search trial is to be started (the time budget is spent).

        Returns:
            Trials to run now, in order; none if the running ones have to be waited for, or if
            the study is finished.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained.
        """
        search = [t for t in finished if t.request.phase == "search"]
        _check_baseline(search)
        if closed and len(_outcomes(search)) >= _FEWEST:
            searching = any(request.phase == "search" for request in running)
            wanted = [] if searching else self._confirmation(finished)
        elif len(search) < self.spec.trials:
            wanted = self._searching(search)
        else:
            wanted = self._confirmation(finished)
        taken = {_key(trial.request) for trial in finished} | {_key(r) for r in running}
        return [request for request in wanted if _key(request) not in taken]

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each modality and of both, from the search alone.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained.
        """
        search = [trial for trial in finished if trial.request.phase == "search"]
        _check_curve(search)
        outcomes = _outcomes(search)
        return {
            target: choose(
                self.validation.observations(outcomes, target),
                self.spec.space,
                seed=self.spec.seed,
            )
            for target in TARGETS
        }

    @property
    def _batch(self) -> int:
        return self.spec.trials if self.spec.sampler == "grid" else self.spec.batch

    def _searching(self, search: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Every batch that can be known; the last comes with what needs no more of the search."""
        known = {trial.request.number: trial for trial in search}
        requests: list[TrialRequest] = []
        for batch in range(math.ceil(self.spec.trials / self._batch)):
            first = batch * self._batch
            seen = [known[n] for n in range(max(0, first - self._batch)) if n in known]
            if len(seen) < first - self._batch:
                return requests
            strengths = self._strengths(batch, seen)
            requests += _longest_first(
                [self._request("search", first + n, s) for n, s in enumerate(strengths)]
            )
        return [*requests, self._request("confirm", 0, 0.0)]

    def _strengths(self, batch: int, seen: Sequence[FinishedTrial]) -> list[float]:
        """Propose a batch from all batches but the one before, whose λs alone are known."""
        if batch not in self._proposed:
            first = batch * self._batch
            count = min(self._batch, self.spec.trials - first)
            start = first_strengths(min(2 * self._batch, self.spec.trials), self.spec, self.focus)
            self._proposed[batch] = start[first : first + count] or propose(
                self.spec.sampler,
                [(o.strength, self._utility(o)) for o in _outcomes(seen)],
                self._proposed[batch - 1],
                count,
                self.spec.space,
                seed=(self.spec.seed, batch),
            )
        return self._proposed[batch]

    def _utility(self, outcome: TrainingOutcome) -> float:
        scores = self.validation.scores(outcome.predictions, "joint")
        return float(self.validation.metric.sign * scores.mean())

    def _confirmation(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        candidates = {choice.candidate for choice in self.choices(finished).values()}
        return _longest_first(
            [
                self._request("confirm", number, strength)
                for number, strength in enumerate([0.0, *sorted(candidates)])
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
    """Order by falling λ: strong alignment learns slowly, and no worker should end alone.

    λ = 0 of the search goes first all the same: a study that cannot train it ends there.
    """
    first = [r for r in requests if r.phase == "search" and r.strength == 0]
    rest = [r for r in requests if r not in first]
    return first + sorted(rest, key=lambda r: -r.strength)


def _key(request: TrialRequest) -> tuple[Phase, int]:
    return request.phase, request.number


def _outcomes(trials: Sequence[FinishedTrial]) -> list[TrainingOutcome]:
    return [trial.outcome for trial in trials if trial.outcome is not None]


def _check_baseline(search: Sequence[FinishedTrial]) -> None:
    for trial in search:
        if trial.request.strength == 0 and trial.outcome is None:
            raise StudyFailedError(
                "the baseline (λ = 0) could not be trained, so there is nothing to compare with: "
                f"{trial.reason}"
            )


def _check_curve(search: Sequence[FinishedTrial]) -> None:
    trained = len(_outcomes(search))
    if trained < _FEWEST:
        reason = next((trial.reason for trial in search if trial.reason), "none was asked for")
        raise StudyFailedError(
            f"only {trained} of {len(search)} λs could be trained, {_FEWEST} are needed; the first "
            f"that failed: {reason}"
        )
