"""What the parts of a study have in common, and how their requests are ordered."""

from collections.abc import Collection, Sequence
from typing import ClassVar, Protocol

from tuner.models.outcome import TrainingOutcome
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest


class Phase(Protocol):
    """A part of a study: it asks for trials until it has no more to ask for."""

    @property
    def name(self) -> PhaseName:
        """The phase of its requests."""

    @property
    def total(self) -> int:
        """How many trials it has in the end, at most."""

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return what it asks for as far as can be known, in order; none if it is over.

        A pure function: what is asked for may be finished or running already.

        Args:
            finished: Every finished trial of the study, failed ones included, in any order.
        """


class TrainingSettings(Phase, Protocol):
    """The phase that chooses how every λ is trained."""

    def settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return what differs from the study's configuration at every λ of the curve."""

    def baseline_settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return the same for λ = 0 in the confirmation."""


class AsGiven:
    """Trains as the user says: there is nothing to choose."""

    name: ClassVar[PhaseName] = "nuisance"
    total = 0

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return none."""
        del finished
        return []

    def settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return none."""
        del finished
        return ()

    baseline_settings = settings


def trials_of(phase: PhaseName, finished: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the finished trials of a phase."""
    return [trial for trial in finished if trial.request.phase == phase]


def outcomes(trials: Sequence[FinishedTrial]) -> list[TrainingOutcome]:
    """Return the outcomes of those that did not fail."""
    return [trial.outcome for trial in trials if trial.outcome is not None]


def longest_first(requests: list[TrialRequest]) -> list[TrialRequest]:
    """Order by falling λ: strong alignment learns slowly, and no worker should end alone.

    λ = 0 of the search goes first all the same: a study that cannot train it ends there.
    """
    first = [r for r in requests if r.phase == "search" and r.strength == 0]
    rest = [r for r in requests if r not in first]
    return first + sorted(rest, key=lambda r: -r.strength)


def not_taken(
    requests: Sequence[TrialRequest],
    finished: Sequence[FinishedTrial],
    running: Collection[TrialRequest],
) -> list[TrialRequest]:
    """Return the requests that neither are finished nor run."""
    if not requests:  # most times that a trial of thousands ends
        return []
    taken = {_key(trial.request) for trial in finished} | {_key(r) for r in running}
    return [request for request in requests if _key(request) not in taken]


def _key(request: TrialRequest) -> tuple[PhaseName, int]:
    return request.phase, request.number
