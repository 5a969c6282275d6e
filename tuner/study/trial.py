"""Trials: what is asked of a worker, and what came of it."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome

Phase = Literal["nuisance", "rung", "search", "confirm"]
Overrides = tuple[tuple[str, float], ...]
_ARRAYS = ("predictions", "test_predictions", "best_epoch", "curves", "similarity")


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

    phase: Phase
    number: int
    strength: float
    seeds: tuple[int, ...]
    settings: Overrides = ()

    def training(self, config: TrainingConfig) -> TrainingConfig:
        """Return how this trial is trained in a study that trains by `config`."""
        return config.model_copy(update=dict(self.settings)) if self.settings else config


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedTrial:
    """A request with its outcome, or with the reason why there is none."""

    request: TrialRequest
    outcome: TrainingOutcome | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.outcome is None) == (self.reason is None):
            raise ValueError("a finished trial has an outcome or a reason, never both or neither")


def confirmation(finished: Sequence[FinishedTrial], strength: float) -> FinishedTrial | None:
    """Find the trial that confirms a λ, failed or not."""
    trials = (t for t in finished if t.request.phase == "confirm")
    return next((t for t in trials if t.request.strength == strength), None)


def pack(outcome: TrainingOutcome) -> bytes:
    """Write an outcome as a compressed `.npz` (no pickle)."""
    arrays: dict[str, NDArray[Any]] = {"seeds": outcome.seeds}
    for field in _ARRAYS:
        for name, values in (getattr(outcome, field) or {}).items():
            arrays[f"{field}/{name}"] = values
    for modality, state in (outcome.weights or {}).items():
        for name, values in state.items():
            arrays[f"weights/{modality}/{name}"] = values
    scalars = {name: getattr(outcome, name) for name in ("strength", "steps", "seconds")}
    arrays["scalars"] = np.frombuffer(json.dumps(scalars).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(blob: bytes) -> TrainingOutcome:
    """Read what `pack` wrote."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    parts: dict[str, Any] = {field: _below(arrays, field) for field in _ARRAYS}
    weights = {m: _below(arrays, f"weights/{m}") for m in ("a", "b")}
    return TrainingOutcome(
        seeds=arrays["seeds"],
        **parts | {"test_predictions": parts["test_predictions"] or None},
        weights=weights if any(weights.values()) else None,
        **json.loads(arrays["scalars"].tobytes()),
    )


def _below(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(f"{prefix}/"): values
        for name, values in arrays.items()
        if name.startswith(f"{prefix}/")
    }
