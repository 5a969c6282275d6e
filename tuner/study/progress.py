"""How far a study is."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tuner.study.result import CurvePoint
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.study.trial import FinishedTrial, PhaseName


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is.

    Attributes:
        phase: What is being trained.
        done: Finished trials.
        total: Trials in all; the confirmations are an upper bound until the search has ended.
        share: Of all trainings that are done, 0 to 1; a bound as `total` is.
        failed: Finished trials that failed.
        best: (λ, validation score) of the best search trial so far, by the main target: not yet the
            answer.
        point: What the trial that ended added to the λ-curve, if anything.
        seconds_left: Estimate from the trainings so far; None before the first.
        training_seconds: Of all trainings that have ended well, each by itself.
    """

    phase: PhaseName
    done: int
    total: int
    share: float
    failed: int
    best: tuple[float, float] | None
    point: CurvePoint | None
    seconds_left: float | None
    training_seconds: float


OnProgress = Callable[[Progress], None]


class ProgressMeter:
    """Counts the finished trials of a study, and says how much is left.

    Args:
        spec: The study.
        scorer: Scores validation rows.
        finished: What was finished before this process began.
    """

    def __init__(
        self, spec: SearchSpec, scorer: TargetScorer, finished: Sequence[FinishedTrial] = ()
    ) -> None:
        self._spec, self._scorer = spec, scorer
        self._started = time.monotonic()
        self._done: Counter[PhaseName] = Counter()
        self._failed, self._replicates, self._seconds = 0, 0, 0.0
        self._best: tuple[float, float] | None = None
        for trial in finished:
            self._count(trial)
        self._trained = 0  # replicates, by this process

    def add(self, trial: FinishedTrial) -> None:
        """Count a trial that this process trained."""
        self._count(trial)
        self._trained += len(trial.request.seeds)

    def progress(self, totals: Mapping[PhaseName, int], point: CurvePoint | None) -> Progress:
        """Return how far the study is.

        Args:
            totals: How many trials each phase has, at most, in their order.
            point: What the trial that ended added to the λ-curve, if anything.
        """
        left = {phase: max(0, total - self._done[phase]) for phase, total in totals.items()}
        parts = self._spec.confirmed_in_parts
        replicates = {"confirm": len(self._spec.seeds("confirm")) / len(parts)}
        todo = sum(n * replicates.get(p, self._spec.replicates) for p, n in left.items())
        seconds = time.monotonic() - self._started
        done = sum(self._done.values())
        return Progress(
            phase=next((phase for phase, count in left.items() if count), "confirm"),
            done=done,
            total=done + sum(left.values()),
            share=self._replicates / max(1, self._replicates + todo),
            failed=self._failed,
            best=self._best,
            point=point,
            seconds_left=todo * seconds / self._trained if self._trained else None,
            training_seconds=self._seconds,
        )

    def _count(self, trial: FinishedTrial) -> None:
        self._done[trial.request.phase] += 1
        self._failed += trial.outcome is None
        self._replicates += len(trial.request.seeds)
        self._seconds += 0.0 if trial.outcome is None else trial.outcome.seconds
        if trial.outcome is None or trial.request.phase != "search":
            return
        main = self._scorer.main
        score = float(self._scorer.scores(trial.outcome.predictions, main).mean())
        sign = self._scorer.sign(main)
        if self._best is None or sign * score > sign * self._best[1]:
            self._best = (trial.request.strength, score)


class SeedMeter:
    """Counts trainings of one seed each, and says how much is left.

    Args:
        finished: What was finished before this process began.
    """

    def __init__(self, finished: Sequence[FinishedTrial] = ()) -> None:
        self._started = time.monotonic()
        self._done: Counter[PhaseName] = Counter()
        self._failed, self._seconds = 0, 0.0
        for trial in finished:
            self._count(trial)
        self._trained = 0  # by this process

    def add(self, trial: FinishedTrial) -> None:
        """Count a training of this process."""
        self._count(trial)
        self._trained += 1

    def _count(self, trial: FinishedTrial) -> None:
        self._done[trial.request.phase] += 1
        self._failed += trial.outcome is None
        self._seconds += 0.0 if trial.outcome is None else trial.outcome.seconds

    def progress(
        self, totals: Mapping[PhaseName, int], best: tuple[float, float] | None
    ) -> Progress:
        """Return how far the study is.

        Args:
            totals: How many trainings each phase has, at most, in their order.
            best: λ and score of the best λ so far.
        """
        left = {phase: max(0, total - self._done[phase]) for phase, total in totals.items()}
        done, todo = sum(self._done.values()), sum(left.values())
        seconds = time.monotonic() - self._started
        return Progress(
            phase=next((phase for phase, count in left.items() if count), "confirm"),
            done=done,
            total=done + todo,
            share=done / max(1, done + todo),
            failed=self._failed,
            best=best,
            point=None,
            seconds_left=todo * seconds / self._trained if self._trained else None,
            training_seconds=self._seconds,
        )
