"""Trainings of a user's own code on Ray Tune workers: one λ and one seed each."""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.util import get_node_ip_address

from tuner.execution.workers.distributed import ranks_of_worker, result_of
from tuner.execution.workers.worker import Resources
from tuner.models.outcome import TrainingOutcome
from tuner.scripts.process import Process, launch
from tuner.scripts.script import Script
from tuner.scripts.supervisor import Ending, Task
from tuner.scripts.training import Launch, run_training
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.trials import outcome_of
from tuner.study.spec import MOST_SEEDS
from tuner.study.trial import TrialRequest


@dataclass(frozen=True, kw_only=True)
class RunScript:
    """Runs the code in a process of its own, or one for each rank, as a worker's `Job`.

    Attributes:
        script: The code.
        folder: Of the study: every training has a folder in it, with its log.
        timeout: Seconds that a training may take; None for any.
        spec: What is asked of the code.
        resources: What a training takes.
    """

    script: Script
    folder: str
    timeout: float | None = None
    spec: ScriptSpec = field(default_factory=ScriptSpec)
    resources: Resources = field(default_factory=Resources)

    def parts(self, request: TrialRequest) -> Sequence[TrialRequest]:
        """Return the request: it is of one seed."""
        return (request,)

    def begin(self) -> Callable[[TrialRequest], TrainingOutcome]:
        """Return what trains."""
        return self.train if self.resources.ranks == 1 else self._train_together

    def end(self) -> None:
        """Nothing is left."""

    def train(self, request: TrialRequest, launch: Launch = launch) -> TrainingOutcome:
        """Train what is asked for.

        Args:
            request: λ and one seed.
            launch: What runs the code.

        Raises:
            ScriptError: See `tuner.scripts.training.run_training`.
        """
        run = partial(run_training, self.script, timeout=self.timeout, resume=True, launch=launch)
        (seed,) = request.seeds
        reported = run(
            strength=request.strength,
            seed=seed,
            confirming=request.phase == "confirm",
            share=self.spec.share_of(request.phase, request.number),
            folder=training_folder(Path(self.folder), request),
        )
        return outcome_of(reported, request)

    def _train_together(self, request: TrialRequest) -> TrainingOutcome:
        with ranks_of_worker(self.resources, _Rank) as (first, *others):
            return TrainingOutcome.from_bytes(
                result_of(first.train.remote([self], request, [others]))
            )


def training_folder(folder: Path, request: TrialRequest) -> Path:
    """Where a training of a study leaves its log and files."""
    number = request.number // MOST_SEEDS
    return folder / (
        f"{request.phase}-{number:02d}-strength-{request.strength:.4g}-seed-{request.seeds[0]}"
    )


# The first trains and runs, and any is ended while it runs.
@ray.remote(max_concurrency=3)  # type: ignore[call-overload]  # Ray's types know it of tasks alone
class _Rank:
    """One of the processes of a training, where it runs.

    Args:
        number: Which of them.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._process: Process | None = None

    def train(self, job: list[RunScript], request: TrialRequest, others: list[Any]) -> bytes:
        """Train with the others, as the first of them, and return the outcome's bytes."""
        me = ray.get_runtime_context().current_actor
        return job[0].train(request, partial(_launch_together, [me, *others[0]])).to_bytes()

    def run(self, task: Task, variables: Mapping[str, str]) -> tuple[Task, Ending]:
        """Run this rank's part of a task, which others of its machine may have begun."""
        own = {"RANK": str(self._number), "NODE_RANK": str(self._number)}
        if self._number > 0:
            log = Path(task.log).with_name(f"log-{self._number}.txt")
            log.parent.mkdir(parents=True, exist_ok=True)
            task = replace(task, log=str(log), mark="")
        with Process(task, {**variables, **own}) as self._process:
            return task, self._process.wait()

    def end(self) -> None:
        """End what runs."""
        if self._process is not None:
            self._process.end()


def _launch_together(
    ranks: list[Any], task: Task, variables: Mapping[str, str]
) -> tuple[Task, Ending]:
    """Run a task in all ranks; return how it ended in the first that failed, or in rank 0.

    The environment is that of as many machines with a process each, as PyTorch has it: see
    https://docs.pytorch.org/docs/stable/elastic/run.html, Environment Variables.

    Raises:
        KilledError: If the process of a rank was killed.
        RayActorError: If what watches over it was.
    """
    host = str(get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's
    meeting = {"MASTER_ADDR": host, "MASTER_PORT": str(_free_port(host))}
    alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    told = {**variables, **meeting, **alone, "WORLD_SIZE": str(len(ranks))}
    running = [rank.run.remote(task, told) for rank in ranks]
    try:
        waiting = list(running)
        while waiting:  # one that fails is heard of at once: the others would wait for it
            (ended,), waiting = ray.wait(waiting)
            counts, ending = result_of(ended)
            if not ending.is_well:
                return counts, ending
        first: tuple[Task, Ending] = result_of(running[0])
        return first
    finally:
        while _wait(running, timeout=0):  # one may be about to begin
            _wait([rank.end.remote() for rank in ranks])
            _wait(running, timeout=1)


def _wait(tasks: list[Any], timeout: float | None = None) -> list[Any]:
    """Wait for tasks so many seconds at most, and return those that have not ended."""
    waiting: list[Any] = ray.wait(tasks, num_returns=len(tasks), timeout=timeout)[1]
    return waiting


def _free_port(host: str) -> int:
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as place:
        place.bind((host, 0))
        return int(place.getsockname()[1])
