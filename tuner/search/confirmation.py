"""The confirmation of what the search chose, with fresh seeds and test rows.

λ = 0 and one λ above it are trained, or two where the modalities want different ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tuner.analysis.candidates import agreed
from tuner.analysis.constraints import admitted
from tuner.analysis.curves.model import Expectation
from tuner.analysis.curves.observations import observe
from tuner.analysis.decision import Choice, choose
from tuner.analysis.stopping import Stopping
from tuner.errors import StudyFailedError
from tuner.search.phase import TrainingSettings, longest_first, outcomes, trials_of
from tuner.study.scoring.targets import SearchSpec, Target, TargetScorer
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest

FEWEST = 3  # trained λs, the baseline among them, below which there is no curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmation:
    """Chooses the λs to confirm, once the search is over.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
        nuisance: Chooses the training settings.
        stopping: Says when more seeds would change no verdict; None if all are to be trained.
    """

    name: ClassVar[PhaseName] = "confirm"
    spec: SearchSpec
    validation: TargetScorer
    nuisance: TrainingSettings
    stopping: Stopping | None = None
    _settled: list[bool] = field(default_factory=list, init=False, repr=False)
    _chosen: dict[frozenset[int], dict[Target, Choice]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def total(self) -> int:
        """λ = 0, and a λ for each basic target if they do not agree on one; at every look.

        Where the rows are divided into folds, on each of them.
        """
        parts = sum(len(self.spec.dealt(seeds)) for seeds in self.spec.confirmed_in_parts)
        return (1 + max(1, len(self.validation.basic))) * parts

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return all that it asks for, finished or not, the seeds of a look after the other.

        Where the study may stop early the other half of the seeds is asked for once the first is
        trained, if it may change a verdict.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        chosen = sorted({choice.candidate for choice in self.choices(finished).values()})
        settings = dict.fromkeys(chosen, self.nuisance.settings(finished))
        settings = {0.0: self.nuisance.baseline_settings(finished)} | settings
        requests: list[TrialRequest] = []
        for part, seeds in enumerate(self.spec.confirmed_in_parts):
            if part and not self._goes_on(requests, finished):
                break
            each = [(s, of, how) for s, how in settings.items() for of in self.spec.dealt(seeds)]
            numbered = enumerate(each, start=len(requests))
            requests += longest_first([_request(n, *one) for n, one in numbered])
        return requests

    def _goes_on(self, requests: Sequence[TrialRequest], finished: Sequence[FinishedTrial]) -> bool:
        """Whether seeds are to be added to those of the requests; not as long as that is open."""
        if self.stopping is None or self.spec.looks:
            return True
        first = {(request.phase, request.number) for request in requests}
        trained = [t for t in finished if (t.request.phase, t.request.number) in first]
        if len(trained) < len(first):
            return False
        if not self._settled:  # what it rests on changes no more
            rest = [trial for trial in finished if trial.request.phase != "confirm"]
            choices = self.choices(finished)
            self._settled.append(self.stopping.confirmation(choices, [*rest, *trained]))
        return not self._settled[0]

    def baseline(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return the first requests of λ = 0, which need nothing of the search."""
        settings = self.nuisance.baseline_settings(finished)
        dealt = self.spec.dealt(self.spec.confirmed_in_parts[0])
        return [_request(n, 0.0, seeds, settings) for n, seeds in enumerate(dealt)]

    def choices(self, finished: Sequence[FinishedTrial]) -> dict[Target, Choice]:
        """Choose λ* of each target, from the search alone.

        Where other λs than those agreed on were confirmed, by version 0.1.0, each has its own.

        Raises:
            StudyFailedError: If all λs but a few could not be trained.
        """
        search = trials_of("search", finished)
        _check_curve(search)
        seen = frozenset(trial.request.number for trial in search)
        if seen not in self._chosen:
            trained = outcomes(search)
            likely = admitted(self.spec, self.validation, trained)
            self._chosen[seen] = {
                target: choose(
                    observe(self.validation, trained, target),
                    self.spec.space,
                    seed=self.spec.seed,
                    admitted=likely,
                    expected=Expectation.of(self.spec.prior, target),
                )
                for target in self.validation.targets
            }
        chosen = agreed(self._chosen[seen], self.validation)
        confirmed = {trial.request.strength for trial in trials_of("confirm", finished)}
        known = {0.0, *(choice.candidate for choice in chosen.values())}
        return chosen if confirmed <= known else self._chosen[seen]


def _request(
    number: int, strength: float, seeds: tuple[int, ...], settings: Overrides
) -> TrialRequest:
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
