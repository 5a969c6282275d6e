"""Successive halving (Jamieson and Talwalkar, arXiv 1502.07943), for long trainings.

All λs, proposed in batches as in the search without halving, are trained for a few epochs (of a
user's own code, for a share of what it trains); the better part of them goes on to η times as many,
until the last rung's are trained in full. Every rung trains anew from the same seeds, so that its
values depend on nothing but the request. What a rung measured only decides who goes on: the
λ-curve, its model and the answer are made of full trainings alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tuner.search.batches import Batches
from tuner.search.phase import TrainingSettings, longest_first, trials_of
from tuner.search.sampler import Focus, first_strengths, strength_batches
from tuner.study.scoring.targets import TargetScorer
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.spec import StudySpec
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest

_RUNGS = 2  # before the full training
_FEWEST = 4  # λs trained in full, λ = 0 among them


@dataclass(frozen=True, kw_only=True, eq=False)
class Halving:
    """Decides which λs go on.

    Attributes:
        spec: The study; its `halving` is η, above 1.
        validation: Scores validation rows.
        focus: See `Plan`.
        nuisance: Chooses the training settings of every λ.
    """

    name: ClassVar[PhaseName] = "rung"
    spec: StudySpec | ScriptSpec
    validation: TargetScorer
    focus: Callable[[], Focus]
    nuisance: TrainingSettings

    @property
    def total(self) -> int:
        """How many trials the rungs have, if none fails."""
        return sum(self.sizes[:-1])

    @property
    def work(self) -> float:
        """Epochs of all trials of the rungs together; of users' code, as many whole trainings."""
        if isinstance(self.spec, ScriptSpec):
            parts = self.spec.shares
        else:
            parts = tuple(dict(rung)["epochs"] for rung in self._rungs)
        return sum(size * part for size, part in zip(self.sizes, parts, strict=False))

    @property
    def sizes(self) -> list[int]:
        """How many λs each rung has, and how many are trained in full, if none fails."""
        sizes = [self.spec.trials]
        for _ in self._rungs:
            sizes.append(self._kept(sizes[-1]))
        return sizes

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return the requests of the rung that is under way; none once all are over."""
        settings, seeds = self.nuisance.settings(finished), self.spec.seeds("search")
        numbers = {trial.request.number for trial in trials_of("rung", finished)}
        strengths = self._strengths(finished)
        entrants = list(range(len(strengths)))
        for rung, own in enumerate(self._rungs):
            first = rung * self.spec.trials
            if not numbers.issuperset(first + n for n in entrants):
                return longest_first(
                    [
                        TrialRequest(
                            phase="rung",
                            number=first + n,
                            strength=strengths[n],
                            seeds=seeds,
                            settings=(*settings, *own),
                        )
                        for n in entrants
                    ]
                )
            entrants = self._going_on(entrants, finished, first)
        return []

    def survivors(self, finished: Sequence[FinishedTrial]) -> list[tuple[int, float]]:
        """Return (number, λ) of those that are trained in full, once all rungs are over."""
        strengths = self._strengths(finished)
        entrants = list(range(len(strengths)))
        for rung in range(len(self._rungs)):
            entrants = self._going_on(entrants, finished, rung * self.spec.trials)
        return [(n, strengths[n]) for n in entrants]

    def _strengths(self, finished: Sequence[FinishedTrial]) -> list[float]:
        """All λs that can be known, λ = 0 first: of all batches once their first rung is over."""
        if not self._rungs:
            return first_strengths(self.spec.trials, self.spec, self.focus())
        results = {
            trial.request.number: trial
            for trial in trials_of("rung", finished)
            if trial.request.number < self.spec.trials
        }
        return [strength for batch in self._batches.known(results) for strength in batch]

    @cached_property
    def _batches(self) -> Batches[float, FinishedTrial]:
        return strength_batches(self.spec, self.validation, self.focus)

    @property
    def _rungs(self) -> list[Overrides]:
        """What is trained otherwise in each; users' code is told its share as it starts."""
        if isinstance(self.spec, ScriptSpec):
            return [()] * len(self.spec.shares)
        full, eta = self.spec.training.epochs, self.spec.halving
        rungs = [full // eta**k for k in range(_RUNGS, 0, -1)]
        return [(("epochs", epochs),) for epochs in rungs if epochs >= 1]

    def _going_on(
        self, entrants: Sequence[int], finished: Sequence[FinishedTrial], first: int
    ) -> list[int]:
        """λ = 0 and the best of the others; a λ that failed does not go on."""
        utilities = {
            t.request.number - first: self.validation.utility(t.outcome)
            for t in finished
            if t.request.phase == "rung" and t.outcome is not None
        }
        others = [n for n in entrants if n in utilities and n > 0]
        best = sorted(others, key=lambda n: (-utilities[n], n))[: self._kept(len(entrants)) - 1]
        return sorted([0, *best])

    def _kept(self, entrants: int) -> int:
        return min(entrants, max(_FEWEST, math.ceil(entrants / self.spec.halving)))
