"""What to train next: a pure function of the spec and of the trials that are finished.

Nuisance hyperparameters if they are asked for, then the search over λ in batches of the spec's
size (see `tuner.search.batches`) or by halving, then confirmation of what the search chose. Because
nothing else goes in, one worker and eight, and a study that was killed and taken up again, train
the same λs.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from tuner.analysis.curves.model import Expectation
from tuner.analysis.decision import Choice
from tuner.analysis.stopping import Stopping
from tuner.errors import StudyFailedError
from tuner.search.confirmation import FEWEST, Confirmation
from tuner.search.halving import Halving
from tuner.search.nuisance import NuisanceSearch
from tuner.search.phase import (
    AsGiven,
    Phase,
    TrainingSettings,
    not_taken,
    outcomes,
    trials_of,
)
from tuner.search.sampler import Focus
from tuner.search.strengths import StrengthSearch
from tuner.study.scoring.targets import SearchSpec, Target, TargetScorer
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Decides which trials a study needs.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
        focus: Says where on the warped unit interval the best λ is expected: the first λs tried
            are denser there. None for anywhere. It is asked once, and may take seconds.
        stopping: Says when more trainings would change no verdict; None trains all.
    """

    spec: SearchSpec
    validation: TargetScorer
    focus: Callable[[], Focus] = lambda: None
    stopping: Stopping | None = None

    @classmethod
    def of(cls, study: Study) -> Self:
        """The plan of a study, whose profile says what to expect."""
        return cls(
            spec=study.planned,
            validation=study.validation,
            focus=lambda: study.profile.focus,
            stopping=Stopping(study) if study.spec.stop_early else None,
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
        _check_baseline(finished)
        under_way = {request.phase for request in running}
        for phase in self._phases:
            if not (closed and self._is_cut_short(phase, finished)):
                waiting = not_taken(self._wanted(phase, finished), finished, running)
                if waiting:
                    return waiting
            if phase.name in under_way:
                return []
        return []

    @property
    def opening(self) -> list[TrialRequest]:
        """The first of what a new study trains: the ends of the curve, wherever the focus is."""
        if self._halving is not None:  # which tries other λs first
            return []
        return replace(self, focus=lambda: None).next([])[:2]

    @property
    def totals(self) -> dict[PhaseName, int]:
        """How many trials each phase has, at most."""
        totals: dict[PhaseName, int] = {"nuisance": 0, "rung": 0, "search": 0, "confirm": 0}
        return totals | {phase.name: phase.total for phase in self._phases}

    @property
    def rung_work(self) -> float:
        """Epochs of all trials of rungs together, if none fails: they are trained for a part.

        Of users' code, as many whole trainings.
        """
        return 0 if self._halving is None else self._halving.work

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each target, from the search alone.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        return self._confirmation.choices(finished)

    def settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return what differs from the study's training configuration at every λ of the curve."""
        return self._nuisance.settings(finished)

    def baseline_settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return the same for λ = 0 in the confirmation."""
        return self._nuisance.baseline_settings(finished)

    def _wanted(self, phase: Phase, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """The search comes with what needs nothing of it, for workers that would wait for more."""
        requests = phase.wanted(finished)
        if requests and phase is self._strengths:
            return [*requests, *self._confirmation.baseline(finished)]
        return requests

    def _is_cut_short(self, phase: Phase, finished: Sequence[FinishedTrial]) -> bool:
        """Whether a phase ends early: the search goes on until there is a curve to choose from."""
        if phase.name in ("rung", "search"):
            return len(outcomes(trials_of("search", finished))) >= FEWEST
        return phase.name == "nuisance"

    def _expected(self) -> Focus:
        """What earlier studies saw, that of these data first, says more than the profile."""
        interval = self._seen_before
        if interval is None:
            return self.focus()
        low, high = (min(1.0, self.spec.space.to_unit(strength)) for strength in interval)
        return (low, high) if low < high else self.focus()

    @property
    def _seen_before(self) -> tuple[float, float] | None:
        """λs that the best is between by earlier studies; None if they say nothing."""
        if self.spec.warm_start is not None:
            return self.spec.warm_start.interval
        prior = self.spec.prior
        if prior is None:  # targets of training code are not known before it trains
            return None
        expected = Expectation.of(prior, self.validation.main)
        return None if expected is None else expected.families.interval

    @cached_property
    def _phases(self) -> list[Phase]:
        """One after another."""
        rungs = [] if self._halving is None else [self._halving]
        return [self._nuisance, *rungs, self._strengths, self._confirmation]

    @cached_property
    def _nuisance(self) -> TrainingSettings:
        if not isinstance(self.spec, StudySpec) or self.spec.nuisance == "none":
            return AsGiven()
        return NuisanceSearch(spec=self.spec, validation=self.validation)

    @cached_property
    def _halving(self) -> Halving | None:
        if not isinstance(self.spec, StudySpec | ScriptSpec) or self.spec.halving == 1:
            return None
        return Halving(
            spec=self.spec,
            validation=self.validation,
            focus=self._expected,
            nuisance=self._nuisance,
        )

    @cached_property
    def _strengths(self) -> StrengthSearch:
        return StrengthSearch(
            spec=self.spec,
            validation=self.validation,
            focus=self._expected,
            nuisance=self._nuisance,
            halving=self._halving,
            stopping=self.stopping,
        )

    @cached_property
    def _confirmation(self) -> Confirmation:
        return Confirmation(
            spec=self.spec,
            validation=self.validation,
            nuisance=self._nuisance,
            stopping=self.stopping,
        )


def _check_baseline(finished: Sequence[FinishedTrial]) -> None:
    for trial in (*trials_of("rung", finished), *trials_of("search", finished)):
        if trial.request.strength == 0 and trial.outcome is None:
            raise StudyFailedError(
                "the baseline (λ = 0) could not be trained, so there is nothing to compare with: "
                f"{trial.reason}"
            )
