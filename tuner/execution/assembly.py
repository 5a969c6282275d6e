"""A request that is trained in parts, each by whoever is free, and put together again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

from tuner.models.outcome import TrainingOutcome
from tuner.models.training.telling import Advance
from tuner.study.trial import FinishedTrial, TrialRequest, together


class _Run(NamedTuple):
    """Parts side by side that have ended well.

    Attributes:
        start: The first of them.
        end: The one after the last.
        outcome: What they gave, together.
    """

    start: int
    end: int
    outcome: TrainingOutcome


class Assembly:
    """What has become of the parts of a request.

    How it ends rests on its parts and their order alone, never on who trained which when: it fails
    for the first of them that fails.

    Args:
        whole: The request.
        parts: What it is divided into; itself, if that is nothing.
    """

    def __init__(self, whole: TrialRequest, parts: Sequence[TrialRequest]) -> None:
        self.whole, self._parts = whole, list(parts)
        self._waiting = list(self._parts)
        self._runs: list[_Run] = []
        self._failed: FinishedTrial | None = None  # the first of those that are known
        self._advance: Advance | None = None

    @property
    def waiting(self) -> int:
        """How many parts nobody has begun."""
        return len(self._waiting)

    @property
    def is_begun(self) -> bool:
        """Whether any part was begun, and not given back."""
        return len(self._waiting) < len(self._parts)

    def take(self) -> TrialRequest:
        """Return the next part, which is begun with this."""
        return self._waiting.pop(0)

    def give_back(self, part: TrialRequest) -> None:
        """Have a part trained by another; not if the whole has failed for one before it."""
        self._waiting = self._wanted({*self._waiting, part})

    def add(self, trial: FinishedTrial) -> FinishedTrial | None:
        """Add a part that has ended; return the whole if nothing is left to wait for."""
        number = self._parts.index(trial.request)
        if trial.outcome is not None:
            self._join(number, trial.outcome)
        elif self._failed is None or number < self._parts.index(self._failed.request):
            self._failed = trial
            self._waiting = self._wanted({*self._waiting})
        return self._ended()

    def advance(self, notes: Mapping[TrialRequest, Advance]) -> Advance | None:
        """Return how far the whole is; None if nothing is known of it.

        Args:
            notes: How far parts of it are that are being trained; others may be among them.
        """
        told = [notes[part] for part in self._parts if part in notes]
        ended = sum(len(run.outcome.seeds) for run in self._runs)
        stacked = sum(advance.stacked for advance in told)
        if told:
            epoch = sum(advance.stacked * advance.epoch for advance in told) / stacked
            self._advance = replace(told[0], stacked=stacked, epoch=epoch)
        if self._advance is None:
            return None
        now = self._advance if told else replace(self._advance, stacked=0, epoch=0.0)
        return replace(now, ended=ended + sum(advance.ended for advance in told))

    def _ended(self) -> FinishedTrial | None:
        first = next((run for run in self._runs if run.start == 0), None)
        trained = 0 if first is None else first.end  # of the parts, without a gap
        if self._failed is not None:
            is_first = trained == self._parts.index(self._failed.request)
            return replace(self._failed, request=self.whole) if is_first else None
        if first is None or trained < len(self._parts):
            return None
        return FinishedTrial(request=self.whole, outcome=self._in_order(first.outcome))

    def _wanted(self, parts: set[TrialRequest]) -> list[TrialRequest]:
        """Those of some parts, in order, that come before the first that failed."""
        failed = None if self._failed is None else self._failed.request
        return [p for p in takewhile(lambda part: part != failed, self._parts) if p in parts]

    def _join(self, number: int, outcome: TrainingOutcome) -> None:
        """Add an outcome to those beside it: of all their weights those of the best are kept."""
        runs = [*self._runs, _Run(number, number + 1, outcome)]
        self._runs = []
        for run in sorted(runs, key=lambda run: run.start):
            before = self._runs[-1] if self._runs else None
            if before is None or before.end < run.start:
                self._runs.append(run)
            else:
                both = together([before.outcome, run.outcome])
                self._runs[-1] = _Run(before.start, run.end, both)

    def _in_order(self, outcome: TrainingOutcome) -> TrainingOutcome:
        seeds, wanted = [seed for part in self._parts for seed in part.seeds], self.whole.seeds
        if tuple(seeds) == wanted:
            return outcome
        return outcome.in_order([seeds.index(seed) for seed in wanted])
