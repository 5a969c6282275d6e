"""Trains one trial in several processes.

They run in the placement group of Tune's worker, who waits for them: where it goes, for whatever
reason, they go, and what they took is free. Ray Train would start a process more for each trial
that outlives a study that was killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util import get_current_placement_group, get_node_ip_address
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tuner.execution.workers.shared_rows import SharedRows
from tuner.execution.workers.worker import Resources, train_in_worker
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.models.training.telling import listener, told_to
from tuner.study.trial import TrialRequest


def train_together(
    request: TrialRequest,
    data: TrainingData,
    config: TrainingConfig,
    test: Rows,
    *,
    resources: Resources,
    checkpoints: str | None = None,
    path: tuple[str, ...] = (),
) -> TrainingOutcome:
    """Train what was asked for on several ranks, as `train_in_worker` does on one.

    See `tuner.models.compute.ranks`.

    Raises:
        RayActorError: If the process of a rank died.
        Exception: What a rank raised first.
    """
    rows = SharedRows.of(data, test)
    asked = ray.put((request, rows, config, resources, checkpoints, path, listener()))
    with ranks_of_worker(resources, _Rank) as ranks:
        address = ray.get(ranks[0].open.remote())
        trained = [rank.train.remote(address, [asked]) for rank in ranks]
        waiting = list(trained)
        while waiting:  # one that fails is heard of at once: the others would wait for it
            (ended,), waiting = ray.wait(waiting)
            result_of(ended)
        return TrainingOutcome.from_bytes(ray.get(trained[0]))


def result_of(ended: Any) -> Any:
    """Return what a rank did; what it raised is raised as it was."""
    try:
        return ray.get(ended)
    except RayTaskError as error:
        raise (error.cause or error) from None


@contextmanager
def ranks_of_worker(resources: Resources, kind: Any) -> Iterator[list[Any]]:
    """Start the processes, each in a bundle of this worker's placement group.

    Args:
        resources: What each takes, and how many there are.
        kind: Of Ray actor that each is, made of its number.
    """
    group = get_current_placement_group()
    if group is None:
        raise RuntimeError("ranks need the placement group of a worker: see Resources.of_worker")
    ranks = [
        kind.options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group,
                placement_group_bundle_index=1 + number,  # the first is this worker's
            ),
        ).remote(number)
        for number in range(resources.ranks)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            ray.kill(rank)


@ray.remote
class _Rank:
    """One of the processes that train a trial together.

    Args:
        number: Which of them.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._meeting: Any = None  # torch's, which loads when it trains

    def open(self) -> tuple[str, int]:
        """Open the place where all meet; return its host and port."""
        from tuner.models.compute.ranks import open_meeting

        host = str(get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's
        self._meeting = open_meeting(host)
        return host, self._meeting.port

    def train(self, address: tuple[str, int], asked: list[Any]) -> bytes | None:
        """Train with the others; the first rank returns the outcome's bytes.

        Args:
            address: Host and port of where they meet.
            asked: A reference to what is to be trained.
        """
        from tuner.models.compute.ranks import joined

        request, rows, config, resources, checkpoints, path, hears = ray.get(asked[0])
        data, test = rows.get()
        meeting = self._meeting or address
        is_first = self._number == 0
        with (
            joined(self._number, resources.ranks, meeting, on_gpus=resources.gpus > 0),
            told_to(hears if is_first else None),
        ):
            outcome = train_in_worker(
                request,
                data,
                config,
                test,
                threads=resources.cpus,
                checkpoints=checkpoints,
                gpus=resources.gpus,
                path=path,
            )
        return outcome.to_bytes() if is_first else None
