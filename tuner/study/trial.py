"""Trials: what is asked of a worker, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tuner.models.config import TrainingConfig
from tuner.models.outcome import RULES, TrainingOutcome, joined, weights_name
from tuner.models.rows import Rows, TrainingData
from tuner.study.scoring.targets import Division

# What a reason begins with where the machine failed, not the training: another try may succeed.
OF_THE_MACHINE = ("NoMemoryError", "DeviceError", "its worker died")

PhaseName = Literal["nuisance", "rung", "search", "confirm"]
Overrides = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """One λ to be trained with every one of `seeds`.

    Attributes:
        phase: `search` scores validation rows; `confirm` uses fresh seeds and test rows too.
            Before the search, `nuisance` tries training settings and `rung` trains for fewer
            epochs: neither is part of the λ-curve.
        number: Which trial of the phase this is, from 0, however often it is tried.
        strength: λ.
        seeds: One per replicate.
        settings: (field, value) of the training configuration that differ from the study's.
        part_of: Seeds of the whole request, if this is a part of it that is trained by itself: none
            of what is asked for or stored, but what a worker is given.
    """

    phase: PhaseName
    number: int
    strength: float
    seeds: tuple[int, ...]
    settings: Overrides = ()
    part_of: tuple[int, ...] = ()

    def part(self, seeds: tuple[int, ...]) -> "TrialRequest":
        """Return a part of it, of some of its seeds."""
        return replace(self, seeds=seeds, part_of=self.part_of or self.seeds)

    def training(self, config: TrainingConfig) -> TrainingConfig:
        """Return how this trial is trained in a study that trains by `config`."""
        return config.model_copy(update=dict(self.settings)) if self.settings else config


# A seam: tests put a stand-in for training here.
Train = Callable[[TrialRequest, TrainingData, TrainingConfig, Rows], TrainingOutcome]


@dataclass(frozen=True, kw_only=True)
class KeptWeights:
    """Where the weights of a confirmation are kept, apart from its outcome.

    Attributes:
        digests: Per modality and rule (`tuner.models.outcome.weights_name`), what names them: the
            SHA-256 of their file. Equal weights are one file.
        reason: Why some are not kept, if they are not.
    """

    digests: dict[str, str] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedTrial:
    """A request with its outcome, or with the reason why there is none.

    Attributes:
        request: What was asked.
        outcome: What came of it; without weights once these are kept apart.
        reason: Why there is no outcome.
        weights: Where the weights are kept, of a confirmation that is written down.
    """

    request: TrialRequest
    outcome: TrainingOutcome | None
    reason: str | None = None
    weights: KeptWeights | None = None

    def __post_init__(self) -> None:
        if (self.outcome is None) == (self.reason is None):
            raise ValueError("a finished trial has an outcome or a reason, never both or neither")


def together(outcomes: Sequence[TrainingOutcome]) -> TrainingOutcome:
    """Return the outcomes of parts as that of all their seeds, in the order in which they come."""
    whole, *others = outcomes
    for other in others:
        seconds = whole.seconds + other.seconds
        whole = replace(joined(whole, other), seconds=seconds)
    return whole


def confirmations(
    finished: Sequence[FinishedTrial], folds: Division | None = None
) -> dict[float, FinishedTrial]:
    """Return the confirmation of each λ, of the seeds of all looks together; failed ones, too.

    Seeds that were added count if every λ was trained with them: gains are paired by seed. Of
    folds there have to be all at first, and what is told of test rows is told of those of all
    folds: see `tuner.study.scoring.folds`.
    """
    parts: dict[tuple[int, ...], list[FinishedTrial]] = {}
    for trial in sorted(finished, key=lambda t: t.request.number):
        if trial.request.phase == "confirm":
            parts.setdefault(trial.request.seeds, []).append(_placed(trial, folds))
    first, *added = parts.values()
    whole = {trial.request.strength: trial for trial in first}
    for number, part in enumerate(added, start=1):
        is_first_look = folds is not None and number < folds.count
        if is_first_look or all(t.outcome is not None for t in (*whole.values(), *part)):
            whole |= {t.request.strength: _joined(whole[t.request.strength], t) for t in part}
    return whole


def _placed(trial: FinishedTrial, folds: Division | None) -> FinishedTrial:
    if folds is None or trial.outcome is None:
        return trial
    return replace(trial, outcome=folds.placed(trial.outcome))


def _joined(first: FinishedTrial, added: FinishedTrial) -> FinishedTrial:
    """Join the confirmations of one λ; of the weights those of the best replicate are kept.

    If one of them failed, that is what came of both.
    """
    if first.outcome is None or added.outcome is None:
        return first if first.outcome is None else added
    outcome = joined(first.outcome, added.outcome)
    seeds = (*first.request.seeds, *added.request.seeds)
    request = replace(first.request, seeds=seeds)
    if first.weights is None and added.weights is None:
        return FinishedTrial(request=request, outcome=outcome)
    kept = {}
    for modality in outcome.rules:
        for rule in RULES:
            name, best = weights_name(modality, rule), outcome.best_replicate(modality, rule)
            theirs = (first if best < len(first.outcome.seeds) else added).weights or KeptWeights()
            if name in theirs.digests:
                kept[name] = theirs.digests[name]
    reasons = (each.weights.reason for each in (first, added) if each.weights is not None)
    return FinishedTrial(
        request=request,
        outcome=outcome,
        weights=KeptWeights(digests=kept, reason=next(filter(None, reasons), None)),
    )
