"""The answer of a study, from its finished trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuner.analysis.decision import Choice, Decision, decide
from tuner.analysis.gain import Gain, measured_gain
from tuner.analysis.guess import guess_of
from tuner.analysis.headline import headline
from tuner.analysis.needs import needs
from tuner.errors import StudyFailedError
from tuner.models.outcome import TrainingOutcome
from tuner.study.result import (
    Answer,
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
    Similarity,
    StudyResult,
    TestScores,
    ValidationScores,
)
from tuner.study.scores import Scorer, Target
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Overrides

_POINT = 0.01
_SHARE_OF_ERROR = 0.02


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
    a, b = (confirmation.modality(target, choices[target]) for target in ("a", "b"))
    warm_start = study.spec.warm_start
    result = StudyResult(
        study=study.id,
        name=study.name,
        status="done",
        dataset=DatasetSummary.of(study.dataset),
        metric=MetricSummary(name=study.metric.name, direction=study.metric.direction),
        information=InformationSummary.of(study.profile),
        joint=confirmation.joint(choices["joint"]),
        modalities=Modalities(a=a, b=b),
        curve=curve(study.validation, finished),
        failures=_failures(finished),
        stopped=_stopped(study.validation, finished),
        nuisance=_nuisance(study, finished, settings, baseline_settings),
        warm_start=None if warm_start is None else warm_start.study,
        cost=_cost(finished, wall_seconds),
        mlflow=None,
    )
    tested: dict[Target, dict[str, np.ndarray]] = {
        "a": confirmation.tested(result.registered_strength("a")),
        "b": confirmation.tested(result.registered_strength("b")),
    }
    update = {"headline": headline(result), "guess": guess_of(study, tested)}
    return result.model_copy(update=update)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Confirmation:
    """The trainings with fresh seeds, by λ, and how many there were before them."""

    study: Study
    baseline: TrainingOutcome
    trials: dict[float, FinishedTrial]
    searched: int

    @classmethod
    def of(cls, study: Study, finished: Sequence[FinishedTrial]) -> "_Confirmation":
        trials = {t.request.strength: t for t in finished if t.request.phase == "confirm"}
        baseline = trials[0.0].outcome
        if baseline is None:
            raise StudyFailedError(
                f"the baseline (λ = 0) could not be trained with fresh seeds: {trials[0.0].reason}"
            )
        searched = sum(len(t.request.seeds) for t in finished if t.request.phase != "confirm")
        return cls(study=study, baseline=baseline, trials=trials, searched=searched)

    def joint(self, choice: Choice) -> Answer:
        decision, gain = self._decision("joint", choice)
        return Answer(
            **self._decided("joint", choice, decision, gain),
            gain=None if gain is None else gain.value,
            gain_interval=None if gain is None else gain.interval,
        )

    def modality(self, target: Target, choice: Choice) -> ModalityAnswer:
        decision, gain = self._decision(target, choice)
        best = self.trials[choice.candidate].outcome
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
        )

    def tested(self, strength: float) -> dict[str, np.ndarray]:
        """Predictions for test rows at a λ that was confirmed."""
        outcome = self.trials[strength].outcome
        return _tested(self.baseline if outcome is None else outcome)

    def _decided(
        self, target: Target, choice: Choice, decision: Decision, gain: Gain | None
    ) -> dict[str, Any]:
        """What the answers of a modality and of both have in common."""
        strength, interval = choice.recommended(decision.verdict)
        return {
            "strength": strength,
            "interval": interval,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "candidate": choice.candidate,
            "smallest_gain": self._smallest_gain(target),
            "harm_from": decision.harm_from,
            "needs": None if decision.verdict != "undecided" else self._needs(target, choice, gain),
            "evidence": decision.evidence,
        }

    def _decision(self, target: Target, choice: Choice) -> tuple[Decision, Gain | None]:
        trial = self.trials[choice.candidate]
        if trial.outcome is None:
            evidence = f"λ = {choice.candidate:.3g} could not be trained again: {trial.reason}"
            return Decision(verdict="undecided", reason="needs more", evidence=evidence), None
        treated, baseline = _tested(trial.outcome), _tested(self.baseline)
        gain = measured_gain(self.study.test, treated, baseline, target)
        decision = decide(choice, gain, self._smallest_gain(target))
        largest = self.study.spec.max_lambda
        if decision.verdict == "align" and choice.candidate >= largest:
            beyond = f" The best may lie beyond λ_max = {largest:.3g} (--max-lambda)."
            decision = replace(decision, evidence=decision.evidence + beyond)
        return decision, gain

    def _needs(self, target: Target, choice: Choice, gain: Gain | None) -> Needs | None:
        if gain is None:
            return None
        seeds, rows = len(self.baseline.seeds), len(self.study.test.truth)
        needed = needs(choice, gain, self._smallest_gain(target), seeds=seeds, rows=rows)
        if needed is None:
            return None
        confirming = needed.seeds or (needed.both[0] if needed.both else seeds)
        trainings = math.ceil(self.searched * needed.search) + len(self.trials) * confirming
        return needed.model_copy(update={"trainings": trainings})

    def _smallest_gain(self, target: Target) -> float:
        """What is worth having: as asked, else .01 of a rate, 2 % of an error without alignment."""
        asked, test = self.study.spec.smallest_gain, self.study.test
        if asked is not None:
            return asked
        if test.metric.direction == "maximize":
            return _POINT
        return _SHARE_OF_ERROR * float(test.scores(_tested(self.baseline), target).mean())


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


def _cost(finished: Sequence[FinishedTrial], wall_seconds: float) -> Cost:
    outcomes = [t.outcome for t in finished if t.outcome is not None]
    return Cost(
        trials=len(finished),
        trainings=sum(len(outcome.seeds) for outcome in outcomes),
        gradient_steps=sum(outcome.steps for outcome in outcomes),
        training_seconds=sum(outcome.seconds for outcome in outcomes),
        wall_seconds=wall_seconds,
    )
