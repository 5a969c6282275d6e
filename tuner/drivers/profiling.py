"""The profile of a data set, computed in a process of its own.

It takes seconds, in which the process that works on a study does other things; and what it loads is
let go of afterwards.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tuner.data import PairedDataset
from tuner.execution.helper import OwnProcess, ProcessDiedError, answering
from tuner.study.study import Study

if TYPE_CHECKING:
    from tuner.data.information.profile import Profile

_MOST = 2**26  # bytes of rows that are given to another process; more are looked at here


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
        with OwnProcess(__name__) as process:
            profile: Profile = process.tell((dataset.taken(index), seed))
    except (ProcessDiedError, OSError):  # the last is of a machine that has no process left
        return None
    return profile


def serve() -> None:
    """Compute what is asked for."""
    from tuner.data.information.profile import information_profile

    answering(lambda asked: information_profile(asked[0], seed=asked[1]))
