"""Successive halving over epochs (Jamieson and Talwalkar, arXiv 1502.07943), for long trainings.

All λs are laid out at the start and trained for a few epochs; the better part of them goes on to
η times as many, until the last rung's are trained in full. Every rung trains anew from the same
seeds, so that its values depend on nothing but the request. What a rung measured only decides who
goes on: the λ-curve, its model and the answer are made of full trainings alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.study.scores import Scorer
from tuner.study.spec import StudySpec
from tuner.study.trial import FinishedTrial, Overrides, TrialRequest

_RUNGS = 2  # before the full training
_FEWEST = 4  # λs trained in full, λ = 0 among them


@dataclass(frozen=True, kw_only=True, eq=False)
class Halving:
    """Decides which λs go on.

    Attributes:
        spec: The study; its `halving` is η, above 1.
        validation: Scores validation rows.
    """

    spec: StudySpec
    validation: Scorer

    @property
    def sizes(self) -> list[int]:
        """How many λs each rung has, and how many are trained in full, if none fails."""
        sizes = [self.spec.trials]
        for _ in self._epochs:
            sizes.append(self._kept(sizes[-1]))
        return sizes

    def wanted(
        self, strengths: Sequence[float], finished: Sequence[FinishedTrial], settings: Overrides
    ) -> list[TrialRequest]:
        """Return the requests of the rung that is under way; none once all are over.

        Args:
            strengths: All λs, λ = 0 first.
            finished: Every finished trial.
            settings: What else differs from the study's configuration.
        """
        entrants = list(range(len(strengths)))
        for rung, epochs in enumerate(self._epochs):
            first = rung * len(strengths)
            done = {t.request.number - first for t in finished if t.request.phase == "rung"}
            if not done.issuperset(entrants):
                seeds = self.spec.seeds("search")
                return [
                    TrialRequest(
                        phase="rung",
                        number=first + n,
                        strength=strengths[n],
                        seeds=seeds,
                        settings=(*settings, ("epochs", epochs)),
                    )
                    for n in entrants
                ]
            entrants = self._going_on(entrants, finished, first)
        return []

    def survivors(self, strengths: Sequence[float], finished: Sequence[FinishedTrial]) -> list[int]:
        """Return the numbers of the λs that are trained in full, once all rungs are over."""
        entrants = list(range(len(strengths)))
        for rung in range(len(self._epochs)):
            entrants = self._going_on(entrants, finished, rung * len(strengths))
        return entrants

    @property
    def _epochs(self) -> list[int]:
        full, eta = self.spec.training.epochs, self.spec.halving
        rungs = [full // eta**k for k in range(_RUNGS, 0, -1)]
        return [epochs for epochs in rungs if epochs >= 1]

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
