"""Scores that come batch by batch, in one process of a training or in several."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.errors import ScriptError
from tuner.scripts.scores import ROW_ID
from tuner.scripts.trial import as_array
from tuner.typing import Array


class Batches:
    """Collects what is known of each row."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Array]] = []

    def add(self, batch: Mapping[str, Any]) -> None:
        """Add the scores of a batch: (batch,) each."""
        self._parts.append({name: as_array(value) for name, value in batch.items()})

    def taken(self) -> dict[str, Any]:
        """Return the scores of all rows of this process, and begin anew."""
        parts, self._parts = self._parts, []
        names = parts[0] if parts else ()
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def joined(self, rows: int | None = None) -> dict[str, Any]:
        """Return the scores of all rows, of all processes, and begin anew.

        Args:
            rows: How many there are in all; more are copies, which fill up the last batch.

        Raises:
            ScriptError: If the rows of several processes cannot be brought into one order.
        """
        return woven(_of_all_processes(self.taken()), rows)


def _of_all_processes(own: dict[str, Array]) -> Sequence[dict[str, Array]]:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    parts: list[dict[str, Array]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, own)
    return parts


def woven(parts: Sequence[dict[str, Array]], rows: int | None) -> dict[str, Array]:
    """Join what processes have of rows that were dealt to them in turn, or that have ids.

    Raises:
        ScriptError: If they have no ids and were not dealt so.
    """
    if len(parts) == 1:
        return parts[0]
    if ROW_ID in parts[0]:
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        _, first = np.unique(joined[ROW_ID], return_index=True)
        return {name: array[first] for name, array in joined.items()}
    if len({len(array) for part in parts for array in part.values()}) > 1:
        raise ScriptError(
            "processes have other numbers of rows, whose order cannot be known: tell row_id, too"
        )
    return {
        name: np.stack([part[name] for part in parts], axis=1).ravel()[:rows] for name in parts[0]
    }
