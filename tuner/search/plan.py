"""What to train next: a pure function of the spec and of the trials that are finished.

Nuisance hyperparameters if they are asked for, then the search over λ in batches of the spec's
size (see `tuner.search.batches`) or by halving, then confirmation of what the search chose. Because
nothing else goes in, one worker and eight, and a study that was killed and taken up again, train
the same λs.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tuner.analysis.decision import Choice, choose
from tuner.analysis.observations import observe
from tuner.errors import StudyFailedError
from tuner.models.outcome import TrainingOutcome
from tuner.search.batches import Batches
from tuner.search.halving import Halving
from tuner.search.nuisance import NuisanceSearch
from tuner.search.sampler import first_strengths, propose_strengths
from tuner.study.scores import TARGETS, Scorer, Target
from tuner.study.spec import StudySpec
from tuner.study.trial import FinishedTrial, Overrides, Phase, TrialRequest

Focus = tuple[float, float] | None

_FEWEST = 3  # trained λs, the baseline among them, below which there is no curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Decides which trials a study needs.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
        focus: Says where on the warped unit interval the best λ is expected: the first λs tried
            are denser there. None for anywhere. It is asked once, and may take seconds.
    """

    spec: StudySpec
    validation: Scorer
    focus: Callable[[], Focus] = lambda: None
    _chosen: dict[frozenset[int], dict[Target, Choice]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        waiting = _not_taken(self._nuisance.wanted(finished), finished, running)
        if closed or not waiting:
            if any(request.phase == "nuisance" for request in running):
                return []
            wanted = self._of_lambda(finished, running, closed)
            waiting = _not_taken(wanted, finished, running)
        return waiting

    @property
    def opening(self) -> list[TrialRequest]:
        """The first of what a new study trains: the ends of the curve, wherever the focus is."""
        if self.spec.halving > 1:  # which tries other λs first
            return []
        return replace(self, focus=lambda: None).next([])[:2]

    @property
    def totals(self) -> dict[Phase, int]:
        """How many trials each phase has, at most."""
        rungs, searched = [0], self.spec.trials
        if self.spec.halving > 1:
            *rungs, searched = self._halving.sizes
        return {
            "nuisance": self._nuisance.total,
            "rung": sum(rungs),
            "search": searched,
            "confirm": 1 + len(TARGETS),
        }

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each modality and of both, from the search alone.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained.
        """
        search = [trial for trial in finished if trial.request.phase == "search"]
        _check_curve(search)
        outcomes = _outcomes(search)
        seen = frozenset(trial.request.number for trial in search)
        if seen not in self._chosen:
            self._chosen[seen] = self._choose(outcomes)
        return self._chosen[seen]

    def settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return what differs from the study's training configuration at every λ of the curve."""
        return self._nuisance.settings(finished)

    def baseline_settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return the same for λ = 0 in the confirmation."""
        return self._nuisance.baseline_settings(finished)

    def _choose(self, outcomes: Sequence[TrainingOutcome]) -> dict[Target, Choice]:
        return {
            target: choose(
                observe(self.validation, outcomes, target),
                self.spec.space,
                seed=self.spec.seed,
            )
            for target in TARGETS
        }

    @cached_property
    def _focus(self) -> Focus:
        """What an earlier study saw says more than what the profile expects."""
        warm = self.spec.warm_start
        if warm is None:
            return self.focus()
        low, high = (min(1.0, self.spec.space.to_unit(strength)) for strength in warm.interval)
        return (low, high) if low < high else self.focus()

    @cached_property
    def _nuisance(self) -> NuisanceSearch:
        return NuisanceSearch(spec=self.spec, validation=self.validation)

    @cached_property
    def _halving(self) -> Halving:
        return Halving(spec=self.spec, validation=self.validation)

    @cached_property
    def _batches(self) -> Batches[float, FinishedTrial]:
        spec = self.spec
        return Batches(
            total=spec.trials,
            size=spec.trials if spec.sampler == "grid" else spec.batch,
            first=lambda count: first_strengths(count, spec, self._focus),
            propose=self._propose,
        )

    @cached_property
    def _laid_out(self) -> list[float]:
        return first_strengths(self.spec.trials, self.spec, self._focus)

    def _of_lambda(
        self, finished: Sequence[FinishedTrial], running: Collection[TrialRequest], closed: bool
    ) -> list[TrialRequest]:
        search = [t for t in finished if t.request.phase == "search"]
        _check_baseline(search)
        if closed and len(_outcomes(search)) >= _FEWEST:
            searching = any(request.phase != "confirm" for request in running)
            return [] if searching else self._confirmation(finished)
        settings = self.settings(finished)
        if self.spec.halving > 1:
            return self._halved(search, finished, running, settings)
        if len(search) < self.spec.trials:
            return self._searching(search, finished, settings)
        return self._confirmation(finished)

    def _halved(
        self,
        search: Sequence[FinishedTrial],
        finished: Sequence[FinishedTrial],
        running: Collection[TrialRequest],
        settings: Overrides,
    ) -> list[TrialRequest]:
        rung = self._halving.wanted(self._laid_out, finished, settings)
        if rung or any(request.phase == "rung" for request in running):
            return _longest_first(rung)
        survivors = self._halving.survivors(self._laid_out, finished)
        if len(search) == len(survivors):
            return self._confirmation(finished)
        strengths = [(n, self._laid_out[n]) for n in survivors]
        return _longest_first([self._request("search", n, s, settings) for n, s in strengths])

    def _searching(
        self,
        search: Sequence[FinishedTrial],
        finished: Sequence[FinishedTrial],
        settings: Overrides,
    ) -> list[TrialRequest]:
        """What is not finished of every batch that can be known.

        The last comes with what needs no more of the search.
        """
        done = {trial.request.number: trial for trial in search}
        requests: list[TrialRequest] = []
        number = 0
        for batch in self._batches.known(done):
            numbered = enumerate(batch, start=number)
            requests += _longest_first(
                [self._request("search", n, s, settings) for n, s in numbered if n not in done]
            )
            number += len(batch)
        if number < self.spec.trials:
            return requests
        return [*requests, self._baseline(finished)]

    def _propose(
        self, batch: int, results: Sequence[FinishedTrial], pending: Sequence[float], count: int
    ) -> list[float]:
        return propose_strengths(
            self.spec.sampler,
            [(o.strength, self.validation.utility(o)) for o in _outcomes(results)],
            pending,
            count,
            self.spec.space,
            seed=(self.spec.seed, batch),
        )

    def _confirmation(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        candidates = {choice.candidate for choice in self.choices(finished).values()}
        settings = self.settings(finished)
        numbered = enumerate(sorted(candidates), start=1)
        return _longest_first(
            [
                self._baseline(finished),
                *(self._request("confirm", n, s, settings) for n, s in numbered),
            ]
        )

    def _baseline(self, finished: Sequence[FinishedTrial]) -> TrialRequest:
        return self._request("confirm", 0, 0.0, self.baseline_settings(finished))

    def _request(
        self, phase: Phase, number: int, strength: float, settings: Overrides
    ) -> TrialRequest:
        seeds = self._seeds["confirm" if phase == "confirm" else "search"]
        return TrialRequest(
            phase=phase, number=number, strength=strength, seeds=seeds, settings=settings
        )

    @cached_property
    def _seeds(self) -> dict[str, tuple[int, ...]]:
        return {"search": self.spec.seeds("search"), "confirm": self.spec.seeds("confirm")}


def _longest_first(requests: list[TrialRequest]) -> list[TrialRequest]:
    """Order by falling λ: strong alignment learns slowly, and no worker should end alone.

    λ = 0 of the search goes first all the same: a study that cannot train it ends there.
    """
    first = [r for r in requests if r.phase == "search" and r.strength == 0]
    rest = [r for r in requests if r not in first]
    return first + sorted(rest, key=lambda r: -r.strength)


def _not_taken(
    requests: Sequence[TrialRequest],
    finished: Sequence[FinishedTrial],
    running: Collection[TrialRequest],
) -> list[TrialRequest]:
    if not requests:  # most times that a trial of thousands ends
        return []
    taken = {_key(trial.request) for trial in finished} | {_key(r) for r in running}
    return [request for request in requests if _key(request) not in taken]


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
