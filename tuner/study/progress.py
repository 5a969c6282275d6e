"""How far a study is."""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.models.outcome import TrainingOutcome
from tuner.models.training.telling import Advance
from tuner.study.result import CurvePoint
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.study.trial import FinishedTrial, PhaseName, TrialRequest

# Seconds of trainings that say how far they are, after which their pace counts: what they say is
# up to two seconds old when it is heard.
_SETTLED = 8.0
_NAMED = 2  # trainings under way
_CONFIRMED = 2  # λs, most times: 0 and one above it
_PASSED = 1.1  # times the epochs that a training has made, which it makes at least


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A trial that is being trained.

    Attributes:
        phase: What it is a part of.
        strength: λ.
        epoch: Passes over the training rows that the replicates trained now have made.
        epochs: Those that they make at most.
    """

    phase: PhaseName
    strength: float
    epoch: float
    epochs: int


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
        seconds_left: Estimate from the pace of trainings so far; None while that is not known.
        training_seconds: Of all trainings that have ended well, each by itself.
        under_way: What is being trained, as far as it says so.
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
    under_way: tuple[UnderWay, ...] = ()

    @property
    def under_way_words(self) -> str:
        """Where the trainings under way are; empty if none says so."""
        words = [
            f"λ = {one.strength:.3g} in epoch {math.floor(one.epoch) + 1} of {one.epochs}"
            for one in self.under_way[:_NAMED]
        ]
        more = len(self.under_way) - _NAMED
        return ", ".join([*words, *([f"{more} more"] if more > 0 else [])])

    def words(self, metric: str = "") -> list[str]:
        """Say what there is besides the count: the best so far, where trainings are, the time left.

        Args:
            metric: Name of the best score, which is left out without one.
        """
        said = []
        if self.best is not None:
            strength, score = self.best
            said.append(
                f"best so far λ = {strength:.3g}" + f" ({metric} {score:.4f})" * bool(metric)
            )
        if self.failed:
            said.append(f"{self.failed} failed")
        if words := self.under_way_words:
            said.append(words)
        if self.seconds_left is not None:
            minutes, seconds = divmod(round(self.seconds_left), 60)
            said.append(f"about {minutes}:{seconds:02d} left")
        return said


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
        self._pace = _Pace(finished)
        self._news: dict[TrialRequest, Advance] = {}

    def add(self, trial: FinishedTrial) -> None:
        """Count a trial that this process trained."""
        self._count(trial)
        self._trained += len(trial.request.seeds)
        self._pace.learn(trial.outcome)
        self._news.pop(trial.request, None)
        self._pace.hear(self._news.values(), self._trained)

    def hear(self, news: Mapping[TrialRequest, Advance]) -> None:
        """Note how far the trainings are that are under way."""
        self._news = dict(news)
        self._pace.hear(self._news.values(), self._trained)

    def progress(self, totals: Mapping[PhaseName, int], point: CurvePoint | None) -> Progress:
        """Return how far the study is.

        Args:
            totals: How many trials each phase has, at most, in their order.
            point: What the trial that ended added to the λ-curve, if anything.
        """
        left = {phase: max(0, total - self._done[phase]) for phase, total in totals.items()}
        at_each = sum(len(self._spec.dealt(seeds)) for seeds in self._spec.confirmed_in_parts)
        confirmed = len(self._spec.seeds("confirm")) / at_each  # of a trial
        replicates = {"confirm": confirmed}
        todo = sum(n * replicates.get(p, self._spec.replicates) for p, n in left.items())
        part = min(todo, self._pace.replicates(self._news.values()))
        done = sum(self._done.values())
        return Progress(
            phase=next((phase for phase, count in left.items() if count), "confirm"),
            done=done,
            total=done + sum(left.values()),
            share=(self._replicates + part) / max(1, self._replicates + todo),
            failed=self._failed,
            best=self._best,
            point=point,
            seconds_left=self._seconds_left(
                todo - part - confirmed * self._unlikely(left, at_each), self._trained + part
            ),
            training_seconds=self._seconds,
            under_way=tuple(
                UnderWay(
                    phase=request.phase,
                    strength=request.strength,
                    epoch=advance.epoch,
                    epochs=advance.epochs,
                )
                for request, advance in self._news.items()
            ),
        )

    def _unlikely(self, left: Mapping[PhaseName, int], at_each: int) -> int:
        """How many of the confirmations that are left there are only if modalities disagree on λ.

        Args:
            left: Trials that are left of each phase, at most.
            at_each: Confirmations of a λ.
        """
        begun = sum(request.phase == "confirm" for request in self._news)
        likely = max(0, _CONFIRMED * at_each - self._done["confirm"], begun)
        return max(0, left.get("confirm", 0) - likely)

    def _seconds_left(self, todo: float, trained: float) -> float | None:
        """Of so many replicates, after so many by this process, parts of them counted."""
        each = self._pace.seconds_each(trained)
        if each is None and self._trained:
            each = (time.monotonic() - self._started) / trained
        return None if each is None else max(0.0, todo) * each

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


class _Pace:
    """How long a replicate takes, from trainings that have ended and what others say of themselves.

    A training may stop early, and none can know when it will. Those that have ended tell how many
    of their epochs were made. Before the first, the geometric mean of the fewest and the most is
    expected of each: wrong by the square root of their ratio at worst.
    """

    def __init__(self, finished: Sequence[FinishedTrial]) -> None:
        self._shares: list[float] = []  # of their epochs, that replicates have made
        self._began: tuple[float, float] | None = None  # when, and at how many replicates
        self._heard = 0.0  # when they last said how far they are
        self._stacked = 0  # replicates that were trained at a time, at most
        for trial in finished:
            self.learn(trial.outcome)

    def learn(self, outcome: TrainingOutcome | None) -> None:
        """Note how many of its epochs a training has made."""
        curve = None if outcome is None else outcome.curves.get("validation_loss_a")
        if curve is not None and curve.size:
            self._shares.append(float(np.isfinite(curve).mean()))

    def hear(self, news: Collection[Advance], trained: int) -> None:
        """Note when it is told how far trainings are.

        Their pace counts from when all workers are at work, as far as that shows before the first
        has ended.

        Args:
            news: How far those are that are under way.
            trained: Replicates of those that have ended.
        """
        self._heard, stacked = time.monotonic(), sum(advance.stacked for advance in news)
        if self._began is None or (not trained and stacked > self._stacked):
            self._began = (self._heard, trained + self.replicates(news))
        self._stacked = max(stacked, self._stacked)

    def replicates(self, news: Collection[Advance]) -> float:
        """Return how many replicates are trained of trials under way, parts of them counted."""
        ahead = max((advance.epoch / advance.epochs for advance in news), default=0.0)
        return sum(
            advance.ended + advance.stacked * min(1.0, advance.epoch / self._epochs(advance, ahead))
            for advance in news
        )

    def seconds_each(self, replicates: float) -> float | None:
        """Return how long one takes, by the time in which they told; None if that is short.

        Args:
            replicates: How many are trained now, parts of them counted.
        """
        if self._began is None:
            return None
        since, before = self._began
        seconds = self._heard - since
        if seconds < _SETTLED or replicates <= before:
            return None
        return seconds / (replicates - before)

    def _epochs(self, advance: Advance, ahead: float) -> float:
        """How many epochs a replicate of it is expected to make, where one has made that share."""
        most = advance.epochs
        if self._shares:
            expected = most * float(np.mean(self._shares))
        else:
            expected = max(
                math.sqrt(most * min(most, advance.patience + 1)), _PASSED * ahead * most
            )
        return min(float(most), max(expected, _PASSED * advance.epoch))


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
        self._before = self._done.copy()

    def add(self, trial: FinishedTrial) -> None:
        """Count a training of this process."""
        self._count(trial)

    def _count(self, trial: FinishedTrial) -> None:
        self._done[trial.request.phase] += 1
        self._failed += trial.outcome is None
        self._seconds += 0.0 if trial.outcome is None else trial.outcome.seconds

    def progress(
        self,
        totals: Mapping[PhaseName, int],
        best: tuple[float, float] | None,
        rung_part: float = 1.0,
    ) -> Progress:
        """Return how far the study is.

        Args:
            totals: How many trainings each phase has, at most, in their order.
            best: λ and score of the best λ so far.
            rung_part: Of a training, that one of a rung is.
        """

        def work(counts: Mapping[PhaseName, int]) -> float:
            return sum(n * (rung_part if phase == "rung" else 1) for phase, n in counts.items())

        left = {phase: max(0, total - self._done[phase]) for phase, total in totals.items()}
        trained = work(self._done - self._before)  # by this process
        done, todo = sum(self._done.values()), sum(left.values())
        seconds = time.monotonic() - self._started
        return Progress(
            phase=next((phase for phase, count in left.items() if count), "confirm"),
            done=done,
            total=done + todo,
            share=work(self._done) / max(1, work(self._done) + work(left)),
            failed=self._failed,
            best=best,
            point=None,
            seconds_left=work(left) * seconds / trained if trained else None,
            training_seconds=self._seconds,
        )
