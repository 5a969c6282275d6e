"""What training gives; loads without torch."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from tuner.models.typing import Array, Floats, Ints

CURVES = (
    "train_loss_a",
    "train_loss_b",
    "alignment_loss",
    "validation_loss_a",
    "validation_loss_b",
)

_ARRAYS = ("predictions", "test_predictions", "best_epoch", "curves", "similarity")
_SCALARS = ("strength", "steps", "seconds")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOutcome:
    """What training S replicates at one λ gave.

    Attributes:
        strength: λ.
        seeds: (S,) one seed per replicate: initial weights and batch order.
        predictions: Per modality, (S, rows) predictions for the labelled validation rows, by the
            weights of the epoch with the least validation loss: class codes or values.
        test_predictions: The same for the labelled test rows; None unless these were given.
        best_epoch: Per modality, (S,) the epoch whose weights were kept, from 0.
        curves: Per name, (S, epochs) one value an epoch, NaN after the replicate stopped.
        similarity: Per measure of `tuner.models.evaluation.similarity`, (S,) how alike the
            embeddings of A and B are on validation rows, labelled or not, by the weights that were
            kept. Empty if there are too few rows.
        steps: Gradient steps, summed over replicates.
        seconds: Wall-clock seconds of training.
        weights: Per modality, the state of the branch of `best_replicate` (first axis 1), but for
            what is frozen; None unless test rows were given.
    """

    strength: float
    seeds: Ints
    predictions: dict[str, NDArray[np.generic]]
    test_predictions: dict[str, NDArray[np.generic]] | None
    best_epoch: dict[str, Ints]
    curves: dict[str, Floats]
    similarity: dict[str, Floats]
    steps: int
    seconds: float
    weights: dict[str, dict[str, Floats]] | None

    def best_loss(self, modality: str) -> Floats:
        """Least validation loss of each replicate, (S,)."""
        least: Floats = np.nanmin(self.curves[f"validation_loss_{modality}"], axis=1)
        return least

    def best_replicate(self, modality: str) -> int:
        """The replicate of least validation loss: test rows have no part in the choice."""
        return int(self.best_loss(modality).argmin())

    def to_bytes(self) -> bytes:
        """Write it as an `.npz` (no pickle), compressed but for the weights, which are noise."""
        arrays: dict[str, Array] = {"seeds": self.seeds}
        for field in _ARRAYS:
            for name, values in (getattr(self, field) or {}).items():
                arrays[f"{field}/{name}"] = values
        for modality, state in (self.weights or {}).items():
            for name, values in state.items():
                arrays[f"weights/{modality}/{name}"] = values
        scalars = {name: getattr(self, name) for name in _SCALARS}
        arrays["scalars"] = np.frombuffer(json.dumps(scalars).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        with ZipFile(buffer, "w") as archive:
            for name, values in arrays.items():
                entry = ZipInfo(f"{name}.npy")
                entry.compress_type = ZIP_STORED if name.startswith("weights/") else ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingOutcome":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        parts: dict[str, Any] = {field: _below(arrays, field) for field in _ARRAYS}
        weights = {modality: _below(arrays, f"weights/{modality}") for modality in ("a", "b")}
        return cls(
            seeds=arrays["seeds"],
            **parts | {"test_predictions": parts["test_predictions"] or None},
            weights=weights if any(weights.values()) else None,
            **json.loads(arrays["scalars"].tobytes()),
        )


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(f"{prefix}/"): values
        for name, values in arrays.items()
        if name.startswith(f"{prefix}/")
    }
