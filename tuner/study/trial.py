"""Trials: what is asked of a worker, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome

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
    """

    phase: PhaseName
    number: int
    strength: float
    seeds: tuple[int, ...]
    settings: Overrides = ()

    def training(self, config: TrainingConfig) -> TrainingConfig:
        """Return how this trial is trained in a study that trains by `config`."""
        return config.model_copy(update=dict(self.settings)) if self.settings else config


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


def confirmation(finished: Sequence[FinishedTrial], strength: float) -> FinishedTrial | None:
    """Find the trial that confirms a λ, failed or not."""
    trials = (t for t in finished if t.request.phase == "confirm")
    return next((t for t in trials if t.request.strength == strength), None)
