"""The code inside a registered encoder: runs wherever mlflow, numpy and torch are installed.

MLflow copies this file into the model and runs it there, so it imports nothing of this project,
and the project never imports it: it only passes its path on.
"""

import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.pytorch
import numpy as np
import torch


class Encoder(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]  # no types
    """Maps raw rows of one modality to embeddings and predictions."""

    def load_context(self, context: Any) -> None:
        """Load the exported network and what its answers mean."""
        folder = Path(context.artifacts["network"])
        self._network = mlflow.pytorch.load_model(str(folder))
        self._labels = json.loads(Path(context.artifacts["labels"]).read_text())["classes"]

    def predict(
        self,
        context: Any,  # noqa: ARG002  # mlflow's signature
        model_input: np.ndarray,  # mlflow warns of other hints
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Embed and predict.

        Args:
            context: Not used.
            model_input: (rows, features), (rows, time, features) or (rows, channels, height,
                width), float32, as the data set holds them: not standardised. Padded steps of a
                sequence are NaN, where the encoder was trained on padded ones.
            params: Not used.

        Returns:
            `embedding` (rows, width); `prediction` (rows,) labels as the data set wrote them, or
            values in its units; for classes also `probability` (rows, classes).
        """
        rows = torch.from_numpy(np.array(model_input, dtype=np.float32))  # owned, writable
        with torch.inference_mode():
            embedding, answer = (part.numpy() for part in self._network(rows))
        if self._labels is None:
            return {"embedding": embedding, "prediction": answer}
        labels = np.array(self._labels)
        return {
            "embedding": embedding,
            "prediction": labels[answer.argmax(-1)],
            "probability": answer,
        }


mlflow.models.set_model(Encoder())
