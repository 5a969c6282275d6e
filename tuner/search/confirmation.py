"""The confirmation of what the search chose, with fresh seeds and test rows: λ = 0 and each λ*."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tuner.analysis.decision import Choice, choose
from tuner.analysis.observations import observe
from tuner.errors import StudyFailedError
from tuner.search.nuisance import NuisanceSearch
from tuner.search.phase import longest_first, outcomes, trials_of
from tuner.study.scores import TARGETS, Scorer, Target
from tuner.study.spec import StudySpec
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest

FEWEST = 3  # trained λs, the baseline among them, below which there is no curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """Chooses the λs to confirm, once the search is over.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
        nuisance: Chooses the training settings.
    """

    name: ClassVar[PhaseName] = "confirm"
    spec: StudySpec
    validation: Scorer
    nuisance: NuisanceSearch
    _chosen: dict[frozenset[int], dict[Target, Choice]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def total(self) -> int:
        """λ = 0, and a λ for each target if no two have the same."""
        return 1 + len(TARGETS)

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return all that it asks for, finished or not.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        candidates = {choice.candidate for choice in self.choices(finished).values()}
        settings = self.nuisance.settings(finished)
        numbered = enumerate(sorted(candidates), start=1)
        confirmations = [self._request(n, strength, settings) for n, strength in numbered]
        return longest_first([self.baseline(finished), *confirmations])

    def baseline(self, finished: Sequence[FinishedTrial]) -> TrialRequest:
        """Return the request of λ = 0, which needs nothing of the search."""
        return self._request(0, 0.0, self.nuisance.baseline_settings(finished))

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each modality and of both, from the search alone.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        search = trials_of("search", finished)
        _check_curve(search)
        seen = frozenset(trial.request.number for trial in search)
        if seen not in self._chosen:
            self._chosen[seen] = {
                target: choose(
                    observe(self.validation, outcomes(search), target),
                    self.spec.space,
                    seed=self.spec.seed,
                )
                for target in TARGETS
            }
        return self._chosen[seen]

    def _request(self, number: int, strength: float, settings: Overrides) -> TrialRequest:
        seeds = self.spec.seeds("confirm")
        return TrialRequest(
            phase="confirm", number=number, strength=strength, seeds=seeds, settings=settings
        )


def _check_curve(search: Sequence[FinishedTrial]) -> None:
    trained = len(outcomes(search))
    if trained < FEWEST:
        reason = next((trial.reason for trial in search if trial.reason), "none was asked for")
        raise StudyFailedError(
            f"only {trained} of {len(search)} λs could be trained, {FEWEST} are needed; the first "
            f"that failed: {reason}"
        )
