"""What to train next where each training is of one seed: a user's own code."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tuner.analysis.decision import Choice
from tuner.analysis.stopping import Stopping
from tuner.errors import StudyFailedError
from tuner.search.plan import Plan
from tuner.study.scoring.targets import Target
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import Pool, split
from tuner.study.trial import FinishedTrial, PhaseName, TrialRequest


@dataclass(kw_only=True, eq=False)
class SeedPlan:
    """Asks a `Plan` which λs are wanted, and for their seeds one by one.

    A pure function of the finished trainings, as that is: what it keeps it would work out again.

    Attributes:
        study: What is asked; once a training has told the targets, with these.
    """

    study: ScriptStudy
    _pool: Pool = field(init=False, repr=False)
    _plan: Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._pool = Pool(spec=self.study.spec)
        self._plan = _plan_of(self.study)

    def next(
        self,
        finished: Sequence[FinishedTrial],
        *,
        running: Collection[TrialRequest] = (),
        closed: bool = False,
    ) -> list[TrialRequest]:
        """Return the requests that can be known and wait to be run: see `Plan.next`.

        Raises:
            StudyFailedError: If the baseline, or all λs but a few, could not be trained, or none
                reports a target that was named.
        """
        pooled = self.trials(finished)
        singles = [*(trial.request for trial in finished), *running]
        taken = {(single.phase, single.number) for single in singles}
        done = {(trial.request.phase, trial.request.number) for trial in pooled}
        wholes = {_key(whole): whole for whole in map(self._pool.whole, singles)}
        waited_for = [
            whole
            for key, whole in wholes.items()
            if key not in done and all(_key(single) in taken for single in split(whole))
        ]
        wanted = self._plan.next(pooled, running=waited_for, closed=closed)
        return [
            single for request in wanted for single in split(request) if _key(single) not in taken
        ]

    def trials(self, finished: Sequence[FinishedTrial]) -> list[FinishedTrial]:
        """Return the trials of all seeds of a λ, as far as they are complete.

        Raises:
            StudyFailedError: If λ = 0 does not report a target that was named.
        """
        pooled = self._pool.trials(finished)
        first = self._pool.first(finished)
        if first is not None:
            named = self.study.named(first)
            if named is not self.study:
                self.study, self._plan = named, _plan_of(named)
        return pooled

    def totals(self, finished: Sequence[FinishedTrial]) -> dict[PhaseName, int]:
        """How many trainings each phase has: at most, until the search tells the λs to confirm."""
        spec, wholes = self.study.spec, self._plan.totals
        searched = wholes["search"] * spec.replicates
        confirmed = max(1, len(self.study.validation.basic))
        if sum(trial.request.phase == "search" for trial in finished) >= searched:
            with suppress(StudyFailedError):  # which whoever asks for more hears of
                chosen = {choice.candidate for choice in self.choices(finished).values()}
                confirmed = len(chosen - {0.0})
        return {
            "rung": wholes["rung"] * spec.replicates,
            "search": searched,
            "confirm": (1 + confirmed) * len(spec.seeds("confirm")),
        }

    @property
    def rung_part(self) -> float:
        """How much of a whole training one of a rung is, on average; 1 without halving."""
        rungs = self._plan.totals["rung"]
        return self._plan.rung_work / rungs if rungs else 1.0

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each target, from the search alone.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        return self._plan.choices(self.trials(finished))


def _plan_of(study: ScriptStudy) -> Plan:
    stopping = Stopping(study) if study.spec.stop_early else None
    return Plan(spec=study.spec, validation=study.validation, stopping=stopping)


def _key(request: TrialRequest) -> tuple[PhaseName, int]:
    return request.phase, request.number
