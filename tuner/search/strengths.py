"""The search over λ with full trainings: in batches, or of what halving left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tuner.analysis.stopping import Stopping
from tuner.search.batches import Batches
from tuner.search.halving import Halving
from tuner.search.phase import TrainingSettings, longest_first, trials_of
from tuner.search.sampler import Focus, strength_batches
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.study.trial import FinishedTrial, PhaseName, TrialRequest


@dataclass(frozen=True, kw_only=True, eq=False)
class StrengthSearch:
    """Decides which λs are trained in full: what is made of them is the λ-curve.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
        focus: See `Plan`.
        nuisance: Chooses the training settings of every λ.
        halving: Drops λs before they are trained in full; None if the spec has no halving.
        stopping: Says when nothing is left to search for; None if all λs are to be tried.
    """

    name: ClassVar[PhaseName] = "search"
    spec: SearchSpec
    validation: TargetScorer
    focus: Callable[[], Focus]
    nuisance: TrainingSettings
    halving: Halving | None
    stopping: Stopping | None = None

    @property
    def total(self) -> int:
        """How many λs there are in the end, if none fails before."""
        return self.spec.trials if self.halving is None else self.halving.sizes[-1]

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return what is not finished of every batch that can be known; of halving, all."""
        done = self._done(finished)
        settings, seeds = self.nuisance.settings(finished), self.spec.seeds("search")
        requests: list[TrialRequest] = []
        for batch in self._numbered(finished):
            requests += longest_first(
                [
                    TrialRequest(
                        phase="search", number=n, strength=s, seeds=seeds, settings=settings
                    )
                    for n, s in batch
                    if n not in done
                ]
            )
        return requests

    def _numbered(self, finished: Sequence[FinishedTrial]) -> list[list[tuple[int, float]]]:
        """Batches of (number, λ)."""
        if self.halving is not None:
            return [self.halving.survivors(finished)]
        numbers = iter(range(self.spec.trials))
        known = self._batches.known(self._done(finished))
        return [[(next(numbers), strength) for strength in batch] for batch in known]

    def _done(self, finished: Sequence[FinishedTrial]) -> dict[int, FinishedTrial]:
        return {trial.request.number: trial for trial in trials_of("search", finished)}

    @cached_property
    def _batches(self) -> Batches[float, FinishedTrial]:
        enough = {} if self.stopping is None else {"enough": self.stopping.search}
        return strength_batches(self.spec, self.validation, self.focus, **enough)
