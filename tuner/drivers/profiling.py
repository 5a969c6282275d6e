"""The profile of a data set, computed in a process of its own.

It takes seconds, in which the process that works on a study does other things; and what it loads is
let go of afterwards.
"""

import base64
import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tuner.data import PairedDataset
from tuner.execution.helper import HelperProcess, ProcessDiedError
from tuner.models.encoders.source import search_path
from tuner.study.study import Study

if TYPE_CHECKING:
    from tuner.data.information.profile import Profile

_MOST = 2**26  # bytes of rows that are given to another process; more are looked at here
_SERVE = (
    "import sys; sys.path[:] = sys.argv[1:]; from tuner.drivers.profiling import serve; serve()"
)


class Profiling:
    """Has another process compute a study's profile while the block does other things.

    Afterwards the study has it; where that was in vain, it makes its own once it is asked.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study, self._thread = study, ThreadPoolExecutor(1)

    def __enter__(self) -> None:
        study = self._study
        self._begun = self._thread.submit(_elsewhere, study.dataset, study.spec.seed)

    def __exit__(self, *_: object) -> None:
        with self._thread:
            if (profile := self._begun.result()) is not None:
                self._study.remember(profile)


def _elsewhere(dataset: PairedDataset, seed: int) -> "Profile | None":
    """Have a process of its own compute a profile; None if it cannot."""
    from tuner.data.information.profile import profiled_rows

    index = profiled_rows(dataset)
    each = sum(side.values[:1].nbytes for side in (dataset.a, dataset.b))
    if len(index) * each > _MOST:
        return None
    try:
        with HelperProcess(("-P", "-c", _SERVE, *search_path())) as process:
            answer = process.ask(pickle.dumps((dataset.taken(index), seed)))
    except (ProcessDiedError, OSError):  # the last is of a machine that has no process left
        return None
    profile: Profile = pickle.loads(base64.b64decode(answer))  # noqa: S301  # of our own process
    return profile


def serve() -> None:
    """Answer what comes in by standard input."""
    heard = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from tuner.data.information.profile import information_profile

    dataset, seed = pickle.load(sys.stdin.buffer)  # noqa: S301  # of the process that started this
    answer = pickle.dumps(information_profile(dataset, seed=seed))
    print(json.dumps(base64.b64encode(answer).decode()), file=heard, flush=True)
