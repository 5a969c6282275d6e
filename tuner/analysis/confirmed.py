"""What the confirmation showed: the trainings with fresh seeds, and the verdicts they bear out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tuner.analysis.constraints import admitted, bound_kept, within_bounds
from tuner.analysis.curves.observations import observe
from tuner.analysis.decision import Choice, Decision, choose, decide
from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.analysis.epochs.learning import StillLearning
from tuner.analysis.gains.gain import Gain, measured_gain, signed
from tuner.analysis.gains.looks import level
from tuner.analysis.gains.needs import needs
from tuner.errors import StudyFailedError
from tuner.models.outcome import RULES, Rule, TrainingOutcome
from tuner.study.answer import (
    Answer,
    BoundKept,
    CheckpointRule,
    ModalityAnswer,
    Needs,
    Side,
    TargetAnswer,
    TestScores,
    ValidationScores,
)
from tuner.study.scoring.targets import Question, Target, TargetScorer, mean_score
from tuner.study.trial import FinishedTrial, confirmations

_ENDS = 33  # gains that more seeds may end at, which are tried


@dataclass(frozen=True, kw_only=True, eq=False)
class Confirmed:
    """The trainings with fresh seeds, by λ, and what there was before them.

    Attributes:
        study: What was asked.
        trials: The confirmations, by λ.
        search: What the search trained.
        trained: How many trainings there were before the confirmation.
        scores: See `baseline_scores`.
        learning: Which λs were still learning.
    """

    study: Question
    trials: dict[float, FinishedTrial]
    search: tuple[TrainingOutcome, ...]
    trained: int
    scores: dict[Side, dict[Rule, float]] | None
    learning: StillLearning

    @classmethod
    def of(cls, study: Question, finished: Sequence[FinishedTrial]) -> "Confirmed":
        """Take what is needed of all finished trials.

        Raises:
            StudyFailedError: If the baseline could not be trained with fresh seeds.
        """
        trials = confirmations(finished, study.folds)
        baseline = trials[0.0].outcome
        if baseline is None:
            raise StudyFailedError(
                f"the baseline (λ = 0) could not be trained with fresh seeds: {trials[0.0].reason}"
            )
        search = [
            t.outcome for t in finished if t.request.phase == "search" and t.outcome is not None
        ]
        confirmed = [t.outcome for t in trials.values() if t.outcome is not None]
        return cls(
            study=study,
            trials=trials,
            search=tuple(search),
            trained=sum(len(t.request.seeds) for t in finished if t.request.phase != "confirm"),
            # Version 0.1.0 recorded one rule, and a study may be taken up again.
            scores=baseline_scores(study.validation, baseline)
            if all(outcome.by_accuracy is not None for outcome in confirmed)
            else None,
            learning=StillLearning.of([*search, *confirmed], study.epochs, study.max_steps),
        )

    @cached_property
    def outcomes(self) -> dict[float, TrainingOutcome]:
        """What came of the confirmations, by the weights that are best for λ = 0."""
        validation = self.study.validation
        rules = best_rules(self.scores, sign=validation.sign(validation.main))
        return {
            strength: trial.outcome.kept_by(rules)
            for strength, trial in self.trials.items()
            if trial.outcome is not None
        }

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds at every look, of those that count."""
        spec, seeds = self.study.spec, len(self.baseline.seeds)
        return tuple(n for n in (spec.confirm_replicates, *spec.looks) if n <= seeds) or (seeds,)

    @property
    def error(self) -> float:
        """How often the interval of a gain misses at so many looks."""
        return level(self.looks)

    @property
    def baseline(self) -> TrainingOutcome:
        """The confirmation of λ = 0."""
        return self.outcomes[0.0]

    def known(self, target: Target, choice: Choice) -> Choice:
        """What the search says, but for what is lost at λs that were still learning."""
        learning = self.learning.strengths(target)
        if not learning:
            return choice
        spec, observations = self.study.spec, observe(self.study.validation, self.search, target)
        likely = admitted(spec, self.study.validation, self.search)
        known = choose(observations, spec.space, seed=spec.seed, learning=learning, admitted=likely)
        return replace(choice, average=known.average, band=known.band)

    def joint(self, choice: Choice) -> Answer:
        """The answer for both modalities together."""
        decision, gain = self._decision("joint", choice)
        return Answer(
            **self._decided("joint", choice, decision, gain),
            gain=None if gain is None else gain.value,
            gain_interval=None if gain is None else gain.interval,
        )

    def modality(self, side: Side, choice: Choice) -> ModalityAnswer:
        """The answer for one modality."""
        answer = self.target(side, choice)
        kept = {name: getattr(answer, name) for name in TargetAnswer.model_fields}
        return ModalityAnswer(**kept, model=None, checkpoint=self._checkpoint(side, choice))

    def target(self, target: Target, choice: Choice) -> TargetAnswer:
        """The answer for one target, with its scores."""
        decision, gain = self._decision(target, choice)
        best = self.outcomes.get(choice.candidate)
        validation, test = self.study.validation, self.study.test
        return TargetAnswer(
            **self._decided(target, choice, decision, gain),
            validation=ValidationScores(
                baseline=float(validation.scores(self.baseline.predictions, target).mean()),
                best=None if best is None else _mean(validation, best, target),
            ),
            test=TestScores(
                baseline=mean_score(test, _tested(self.baseline), target),
                best=None if best is None else mean_score(test, _tested(best), target),
                gain=None if gain is None else gain.value,
                gain_interval=None if gain is None else gain.interval,
            ),
        )

    def is_settled(self, target: Target, choice: Choice) -> bool:
        """Whether the other half of the planned seeds would hardly change a verdict.

        With those seeds the gain would come to lie within t.₉₉₅ √(v (1 − seen / planned)) of where
        it is, in 99 % of cases, v its variance over seeds: rows stay the same. No verdict is to
        change within that (stochastic curtailment, which makes an error at most 1 / .99 as likely:
        Lan, Simon and Halperin, Sequential Analysis 1 (1982) 207).
        """
        choice = self.known(target, choice)
        decision, gain = self._decision(target, choice)
        if gain is None:  # that λ cannot be trained
            return True
        if gain.variance is None or gain.interval is None:
            return False
        share = self.study.spec.confirm_replicates / len(self.baseline.seeds)
        half = gain.variance.scaled(seeds=share, rows=1).half_width
        away = gain.variance.reach_of_more(seeds=share)
        learning, smallest = self.learning.strengths(target), self._smallest_gain(target)
        ends = (
            Gain(value=value, low=value - half, high=value + half)
            for value in np.linspace(gain.value - away, gain.value + away, _ENDS).tolist()
        )
        verdict = decision.verdict
        return all(decide(choice, end, smallest, learning).verdict == verdict for end in ends)

    def _checkpoint(self, side: Side, choice: Choice) -> CheckpointRule | None:
        if self.scores is None:
            return None
        gain = self._gain_by_rule(side, choice)
        return CheckpointRule(
            rule=self.baseline.rules[side], baseline=self.scores[side], gain=gain or None
        )

    def _gain_by_rule(self, target: Target, choice: Choice) -> dict[Rule, float]:
        """Gain of the candidate on test rows by each rule; none if its training failed."""
        trials = [self.trials[strength].outcome for strength in (choice.candidate, 0.0)]
        gains: dict[Rule, float] = {}
        for rule in RULES:
            kept = [t.kept_by(dict.fromkeys(("a", "b"), rule)) for t in trials if t is not None]
            means = [mean_score(self.study.test, _tested(t), target) for t in kept]
            if len(means) == len(trials):
                gains[rule] = self.study.test.sign(target) * (means[0] - means[1])
        return gains

    def _folds_words(self, target: Target) -> str:
        """Say what was tested where that is not the test rows of the split."""
        if self.study.folds is None:
            return ""
        rows = self.study.test.rows(_tested(self.baseline), target)
        return (
            f" Tested on all {rows:,} labelled rows that are not validation rows, in "
            f"{self.study.folds.count} folds."
        )

    def _seeds_words(self) -> str:
        """Say that seeds were added, and what that does to intervals; or that some were spared."""
        seen, planned = len(self.baseline.seeds), self.study.spec.confirm_replicates
        if self.study.spec.stop_early and seen < planned:
            return f" After {seen} of {planned} seeds no verdict was likely to change (1 %)."
        if len(self.looks) == 1:
            return ""
        seeds = ", ".join(map(str, self.looks))
        return (
            f" Looked at {len(self.looks)} times, with {seeds} seeds: the interval on test rows is "
            "as much wider as that asks for."
        )

    def _kept_words(self, target: Target, choice: Choice) -> str:
        """Say that weights are not those of the least loss, and what these would gain."""
        sides = [side.upper() for side, rule in self.baseline.rules.items() if rule == "accuracy"]
        if target != "joint":
            sides = [side for side in sides if side == target.upper()]
        if not sides:
            return ""
        whose = f" of {' and '.join(sides)}" if target == "joint" else ""
        gain = self._gain_by_rule(target, choice)["loss"]
        return (
            f" Weights{whose} are those of the best validation accuracy, which are better for "
            f"λ = 0; by the least validation loss the gain is {signed(gain)}."
        )

    def tested(self, strength: float) -> dict[str, np.ndarray]:
        """Predictions for test rows at a λ that was confirmed."""
        return _tested(self.outcomes.get(strength, self.baseline))

    def _decided(
        self, target: Target, choice: Choice, decision: Decision, gain: Gain | None
    ) -> dict[str, Any]:
        """What the answers of a modality and of both have in common."""
        strength, interval = choice.recommended(decision.verdict)
        undecided, epochs = decision.verdict == "undecided", self.learning.enough(target)
        return {
            "strength": strength,
            "interval": interval,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "candidate": choice.candidate,
            "smallest_gain": self._smallest_gain(target),
            "harm_from": decision.harm_from,
            "needs": self._needs(target, choice, gain) if undecided and not epochs else None,
            "needs_epochs": epochs if undecided else None,
            "evidence": decision.evidence,
            "bounds": self._bounds(choice),
        }

    def _decision(self, target: Target, choice: Choice) -> tuple[Decision, Gain | None]:
        best, reason = self.outcomes.get(choice.candidate), self.trials[choice.candidate].reason
        if best is None:
            evidence = f"λ = {choice.candidate:.3g} could not be trained again: {reason}"
            return Decision(verdict="undecided", reason="needs more", evidence=evidence), None
        gain = measured_gain(
            *(self.study.test, _tested(best), _tested(self.baseline), target),
            error=self.error,
        )
        learning = self.learning.strengths(target)
        decision = decide(choice, gain, self._smallest_gain(target), learning)
        largest = self.study.spec.max_lambda
        more = self._folds_words(target) + self._seeds_words() + self._kept_words(target, choice)
        if decision.verdict == "align" and choice.candidate >= largest:
            more += f" The best may lie beyond λ_max = {largest:.3g} (--max-lambda)."
        decision = replace(decision, evidence=decision.evidence + more)
        return within_bounds(decision, choice, self._bounds(choice)), gain

    def _bounds(self, choice: Choice) -> tuple[BoundKept, ...]:
        """The bounds of the study at the candidate; none if its training failed."""
        best = self.outcomes.get(choice.candidate)
        if best is None:
            return ()
        test, baseline = self.study.test, _tested(self.baseline)
        return tuple(
            bound_kept(constraint, test, _tested(best), baseline, self.error)
            for constraint in self.study.spec.constraints
        )

    def _needs(self, target: Target, choice: Choice, gain: Gain | None) -> Needs | None:
        if gain is None:
            return None
        rows = self.study.test.rows(_tested(self.baseline), target)
        needed = needs(
            *(choice, gain, self._smallest_gain(target)),
            looks=self.looks,
            rows=rows,
            divisible=self.study.divisible_rows,
        )
        if needed is None:
            return None
        if needed.seeds is not None:
            needed = needed.model_copy(
                update={"seeds": max(needed.seeds, self.study.spec.confirm_replicates + 1)}
            )
        in_folds = None if needed.folds is None else needed.folds.seeds
        confirming = needed.seeds or in_folds or (needed.both or needed.has)[0]
        trainings = math.ceil(self.trained * needed.search) + len(self.trials) * confirming
        return needed.model_copy(update={"trainings": trainings})

    def _smallest_gain(self, target: Target) -> float:
        baseline = mean_score(self.study.test, _tested(self.baseline), target)
        return self.study.smallest_gain(baseline, target)


def _tested(outcome: TrainingOutcome) -> dict[str, np.ndarray]:
    if outcome.test_predictions is None:
        raise ValueError("only a confirmation has predictions for test rows")
    return outcome.test_predictions


def _mean(scorer: TargetScorer, outcome: TrainingOutcome, target: Target) -> float:
    return float(scorer.scores(outcome.predictions, target).mean())
