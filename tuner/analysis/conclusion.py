"""The answer of a study, from its finished trials."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tuner.analysis.decision import Choice, Decision, choose, decide
from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.analysis.epochs.learning import StillLearning
from tuner.analysis.gains.gain import Gain, measured_gain
from tuner.analysis.gains.looks import level
from tuner.analysis.gains.needs import needs
from tuner.analysis.guess import guess_of
from tuner.analysis.headline import headline
from tuner.analysis.observations import observe
from tuner.errors import StudyFailedError
from tuner.models.evaluation.similarity import calibrations
from tuner.models.outcome import RULES, Rule, TrainingOutcome
from tuner.study.result import (
    Answer,
    Calibrated,
    CalibratedSimilarity,
    CheckpointRule,
    Cost,
    CurvePoint,
    DatasetSummary,
    FailedTrial,
    InformationSummary,
    MetricSummary,
    Modalities,
    ModalityAnswer,
    Needs,
    NuisanceSummary,
    NuisanceTrial,
    PartialTrial,
    PointScore,
    Side,
    Similarity,
    StudyResult,
    TestScores,
    ValidationScores,
)
from tuner.study.scores import Scorer, Target
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Overrides, confirmations


def conclude(
    study: Study,
    choices: dict[Target, Choice],
    finished: Sequence[FinishedTrial],
    *,
    settings: Overrides,
    baseline_settings: Overrides,
    wall_seconds: float,
) -> StudyResult:
    """Put the answer together; links to MLflow are added where the study is registered.

    Args:
        study: What was asked.
        choices: What the search chose, per target.
        finished: Every finished trial.
        settings: What differs from the study's training configuration at every λ of the curve.
        baseline_settings: The same for λ = 0 in the confirmation.
        wall_seconds: How long the study took.

    Raises:
        StudyFailedError: If the baseline could not be trained with fresh seeds.
    """
    confirmation = _Confirmation.of(study, finished)
    known = {target: confirmation.known(target, choice) for target, choice in choices.items()}
    a, b = confirmation.modality("a", known["a"]), confirmation.modality("b", known["b"])
    result = StudyResult(
        study=study.id,
        name=study.name,
        status="done",
        warnings=confirmation.learning.warnings,
        dataset=DatasetSummary.of(study.dataset),
        metric=MetricSummary(name=study.metric.name, direction=study.metric.direction),
        information=InformationSummary.of(study.profile),
        joint=confirmation.joint(known["joint"]),
        modalities=Modalities(a=a, b=b),
        curve=curve(study.validation, finished),
        failures=_failures(finished),
        stopped=_stopped(study.validation, finished),
        nuisance=_nuisance(study, finished, settings, baseline_settings),
        warm_start=getattr(study.spec.warm_start, "study", None),
        extends=next(iter(study.shorter), None),
        cost=_cost(finished, wall_seconds),
        mlflow=None,
    )
    tested: dict[Target, dict[str, np.ndarray]] = {
        "a": confirmation.tested(result.registered_strength("a")),
        "b": confirmation.tested(result.registered_strength("b")),
    }
    update: dict[str, Any] = {"headline": headline(result), "guess": guess_of(study, tested)}
    return result.model_copy(update=update | _where_trained(result, finished))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Confirmation:
    """The trainings with fresh seeds, by λ, and what there was before them.

    Attributes:
        study: What was asked.
        trials: The confirmations, by λ.
        search: What the search trained.
        trained: How many trainings there were before the confirmation.
        scores: See `baseline_scores`.
        learning: Which λs were still learning.
    """

    study: Study
    trials: dict[float, FinishedTrial]
    search: tuple[TrainingOutcome, ...]
    trained: int
    scores: dict[Side, dict[Rule, float]] | None
    learning: StillLearning

    @classmethod
    def of(cls, study: Study, finished: Sequence[FinishedTrial]) -> "_Confirmation":
        trials = confirmations(finished)
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
            learning=StillLearning.of([*search, *confirmed], study.training.epochs),
        )

    @cached_property
    def outcomes(self) -> dict[float, TrainingOutcome]:
        """What came of the confirmations, by the weights that are best for λ = 0."""
        rules = best_rules(self.scores, sign=self.study.metric.sign)
        return {
            strength: trial.outcome.kept_by(rules)
            for strength, trial in self.trials.items()
            if trial.outcome is not None
        }

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds at every look, of those that count."""
        spec, seeds = self.study.spec, len(self.baseline.seeds)
        return tuple(n for n in (spec.confirm_replicates, *spec.looks) if n <= seeds)

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
        known = choose(observations, spec.space, seed=spec.seed, learning=learning)
        return replace(choice, average=known.average, band=known.band)

    def joint(self, choice: Choice) -> Answer:
        decision, gain = self._decision("joint", choice)
        return Answer(
            **self._decided("joint", choice, decision, gain),
            gain=None if gain is None else gain.value,
            gain_interval=None if gain is None else gain.interval,
        )

    def modality(self, target: Side, choice: Choice) -> ModalityAnswer:
        decision, gain = self._decision(target, choice)
        best = self.outcomes.get(choice.candidate)
        validation, test = self.study.validation, self.study.test
        return ModalityAnswer(
            **self._decided(target, choice, decision, gain),
            validation=ValidationScores(
                baseline=float(validation.scores(self.baseline.predictions, target).mean()),
                best=None if best is None else _mean(validation, best, target),
            ),
            test=TestScores(
                baseline=float(test.scores(_tested(self.baseline), target).mean()),
                best=None if best is None else float(test.scores(_tested(best), target).mean()),
                gain=None if gain is None else gain.value,
                gain_interval=None if gain is None else gain.interval,
            ),
            model=None,
            checkpoint=self._checkpoint(target, choice),
        )

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
            means = [self.study.test.scores(_tested(t), target).mean() for t in kept]
            if len(means) == len(trials):
                gains[rule] = self.study.metric.sign * float(means[0] - means[1])
        return gains

    def _looks_words(self) -> str:
        """Say that seeds were added, and what that does to intervals."""
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
            f"λ = 0; by the least validation loss the gain is {gain:+.3g}."
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
        }

    def _decision(self, target: Target, choice: Choice) -> tuple[Decision, Gain | None]:
        best, reason = self.outcomes.get(choice.candidate), self.trials[choice.candidate].reason
        if best is None:
            evidence = f"λ = {choice.candidate:.3g} could not be trained again: {reason}"
            return Decision(verdict="undecided", reason="needs more", evidence=evidence), None
        gain = measured_gain(
            *(self.study.test, _tested(best), _tested(self.baseline), target),
            error=level(self.looks),
        )
        learning = self.learning.strengths(target)
        decision = decide(choice, gain, self._smallest_gain(target), learning)
        largest = self.study.spec.max_lambda
        more = self._looks_words() + self._kept_words(target, choice)
        if decision.verdict == "align" and choice.candidate >= largest:
            more += f" The best may lie beyond λ_max = {largest:.3g} (--max-lambda)."
        return replace(decision, evidence=decision.evidence + more), gain

    def _needs(self, target: Target, choice: Choice, gain: Gain | None) -> Needs | None:
        if gain is None:
            return None
        rows = len(self.study.test.truth)
        needed = needs(choice, gain, self._smallest_gain(target), looks=self.looks, rows=rows)
        if needed is None:
            return None
        confirming = needed.seeds or (needed.both or needed.has)[0]
        trainings = math.ceil(self.trained * needed.search) + len(self.trials) * confirming
        return needed.model_copy(update={"trainings": trainings})

    def _smallest_gain(self, target: Target) -> float:
        scores = self.study.test.scores(_tested(self.baseline), target)
        return self.study.smallest_gain(float(scores.mean()))


def _tested(outcome: TrainingOutcome) -> dict[str, np.ndarray]:
    if outcome.test_predictions is None:
        raise ValueError("only a confirmation has predictions for test rows")
    return outcome.test_predictions


def _mean(scorer: Scorer, outcome: TrainingOutcome, target: Target) -> float:
    return float(scorer.scores(outcome.predictions, target).mean())


def curve(scorer: Scorer, finished: Sequence[FinishedTrial]) -> tuple[CurvePoint, ...]:
    """Return what the search saw at every λ, in the order of λ."""
    points = (curve_point(scorer, trial) for trial in finished)
    seen = (point for point in points if point is not None)
    return tuple(sorted(seen, key=lambda point: point.strength))


def curve_point(scorer: Scorer, trial: FinishedTrial) -> CurvePoint | None:
    """Return what a trial of the search saw; None if it failed, or was no trial of the search."""
    outcome = trial.outcome
    if outcome is None or trial.request.phase != "search":
        return None
    return CurvePoint(
        strength=outcome.strength,
        replicates=len(outcome.seeds),
        a=_point(scorer, outcome, "a"),
        b=_point(scorer, outcome, "b"),
        joint=_point(scorer, outcome, "joint"),
        similarity=_similarity(outcome),
        calibrated=_calibrated(outcome),
    )


def _failures(finished: Sequence[FinishedTrial]) -> tuple[FailedTrial, ...]:
    return tuple(
        FailedTrial(strength=t.request.strength, phase=t.request.phase, reason=t.reason)
        for t in finished
        if t.reason is not None
    )


def _stopped(scorer: Scorer, finished: Sequence[FinishedTrial]) -> tuple[PartialTrial, ...]:
    """The longest partial training of every λ that was not trained in full."""
    full = {t.request.strength for t in finished if t.request.phase == "search"}
    longest: dict[float, PartialTrial] = {}
    for trial in finished:
        request, outcome = trial.request, trial.outcome
        if request.phase != "rung" or outcome is None or request.strength in full:
            continue
        epochs = int(dict(request.settings)["epochs"])
        known = longest.get(request.strength)
        if known is None or known.epochs < epochs:
            longest[request.strength] = PartialTrial(
                strength=request.strength, epochs=epochs, joint=_point(scorer, outcome, "joint")
            )
    return tuple(longest[strength] for strength in sorted(longest))


def _nuisance(
    study: Study,
    finished: Sequence[FinishedTrial],
    settings: Overrides,
    baseline_settings: Overrides,
) -> NuisanceSummary | None:
    spec, validation = study.spec, study.validation
    if spec.nuisance == "none":
        return None
    return NuisanceSummary(
        mode=spec.nuisance,
        settings=dict(settings),
        baseline_settings=dict(baseline_settings),
        trials=tuple(
            NuisanceTrial(
                strength=t.request.strength,
                settings=dict(t.request.settings),
                joint=_point(validation, t.outcome, "joint"),
            )
            for t in sorted(finished, key=lambda t: t.request.number)
            if t.request.phase == "nuisance" and t.outcome is not None
        ),
    )


def _point(scorer: Scorer, outcome: TrainingOutcome, target: Target) -> PointScore:
    scores = scorer.scores(outcome.predictions, target)
    return PointScore(
        mean=float(scores.mean()), sem=float(scores.std(ddof=1) / np.sqrt(len(scores)))
    )


def _similarity(outcome: TrainingOutcome) -> Similarity | None:
    means = {name: float(values.mean()) for name, values in outcome.similarity.items()}
    return Similarity(**means) if means else None


def _calibrated(outcome: TrainingOutcome) -> CalibratedSimilarity | None:
    beyond = calibrations(outcome.similarity, outcome.similarity_null)
    parts = {name: Calibrated(**vars(one)) for name, one in beyond.items()}
    return CalibratedSimilarity(**parts) if parts else None


def _where_trained(result: StudyResult, finished: Sequence[FinishedTrial]) -> dict[str, Any]:
    environments = _environments(finished)
    warnings = (*result.warnings, *_of_precision(environments))
    return {"environments": environments, "warnings": warnings}


def _environments(finished: Sequence[FinishedTrial]) -> tuple[dict[str, str], ...]:
    """Where and how trials were trained, the commonest first; of old ones it is not known."""
    counts = Counter(
        tuple(trial.outcome.environment.items())
        for trial in finished
        if trial.outcome is not None and trial.outcome.environment
    )
    return tuple(dict(words) for words, _ in counts.most_common())


def _of_precision(environments: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Warn of trials that were not all trained in the same precision, as GPUs of two kinds do."""
    used = sorted({words.get("precision", "") for words in environments})
    if len(used) < 2:
        return ()
    return (
        f"Some trials were trained in {' and others in '.join(used)}, as their GPUs differ: train "
        "with --precision float32, or on GPUs of one kind.",
    )


def _cost(finished: Sequence[FinishedTrial], wall_seconds: float) -> Cost:
    outcomes = [t.outcome for t in finished if t.outcome is not None]
    return Cost(
        trials=len(finished),
        trainings=sum(len(outcome.seeds) for outcome in outcomes),
        gradient_steps=sum(outcome.steps for outcome in outcomes),
        training_seconds=sum(outcome.seconds for outcome in outcomes),
        wall_seconds=wall_seconds,
    )
