"""What a training of a study is told, and what it reports by."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


class Trial:
    """One training: λ and a seed in, scores of rows out."""

    def __init__(self, *, strength: float, seed: int, confirming: bool, folder: Path) -> None:
        self.strength, self.seed, self.confirming = strength, seed, confirming
        self.folder = folder
        self._arrays: dict[str, Any] = {}

    def report(self, *, row_id: Any = None, **scores: Any) -> None:
        """Report the scores of the validation rows."""
        self._write(scores | ({} if row_id is None else {"row_id": row_id}))

    def report_test(self, *, row_id: Any = None, **scores: Any) -> None:
        """Report the scores of the test rows."""
        arrays = scores | ({} if row_id is None else {"row_id": row_id})
        self._write({f"{name}_test": array for name, array in arrays.items()})

    def _write(self, arrays: dict[str, Any]) -> None:
        self._arrays |= {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(self.folder / "scores.npz", **self._arrays)


def current_trial() -> Trial:
    """Return the trial that this process trains."""
    told = json.loads(os.environ["TUNER_TRIAL"])
    return Trial(**(told | {"folder": Path(told.pop("out"))}))
