"""Where workers write how far their trainings are, and the driver of the study reads it.

It is the store of small values that every Ray cluster keeps, which is not Ray's public interface:
an actor for it would be another process, and what Tune is told takes the driver longer to hear.
"""

import json
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from functools import partial

from ray.experimental import internal_kv

from tuner.models.training.telling import Advance, Listener
from tuner.study.trial import TrialRequest

_SPACE = "tuner"


@dataclass(frozen=True)
class Board:
    """The notes of one run of a study; it travels to its workers."""

    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def writer(self, request: TrialRequest) -> Listener:
        """Return what a worker that trains a request tells how far it is."""
        return partial(_write, self._key(request))

    def read(self, running: Collection[TrialRequest]) -> dict[TrialRequest, Advance]:
        """Return how far trainings are, those that have said so."""
        found = {}
        for request in running:
            note = internal_kv._internal_kv_get(self._key(request), namespace=_SPACE)
            if note is not None:
                found[request] = Advance(**json.loads(note))
        return found

    def clear(self) -> None:
        """Take all notes away."""
        internal_kv._internal_kv_del(f"{self.name}/", del_by_prefix=True, namespace=_SPACE)

    def _key(self, request: TrialRequest) -> str:
        return f"{self.name}/{request.phase}-{request.number}-{request.seeds[0]}"


def _write(key: str, advance: Advance) -> None:
    internal_kv._internal_kv_put(key, json.dumps(asdict(advance)), namespace=_SPACE)
