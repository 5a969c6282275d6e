"""Whether a training can ever begin: what it takes, and what a machine or a cluster has."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tuner.errors import PutOffError, SpecError
from tuner.execution.interrupts import raise_if_unheard

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

_LOOK = 1.0  # seconds between looks for room
_PATIENCE = 600.0  # seconds that an autoscaler may take to make room


class Takes(Protocol):
    """What a training of a study takes: what its spec says."""

    @property
    def cpus(self) -> int:
        """CPUs of a process."""

    @property
    def gpus(self) -> float:
        """GPUs of a process, or the part of one."""

    @property
    def ranks(self) -> int:
        """Processes that train together."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What a process takes that has a CPU, or shares one."""

    cpus: int = 1
    gpus: float
    ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Room:
    """What there is for trainings.

    Attributes:
        where: What has it, in words.
        cpus: CPUs of all machines together.
        gpus: GPUs of them.
        largest_cpus: CPUs of the machine that has most.
        largest_gpus: GPUs of the machine that has most.
    """

    where: str
    cpus: float
    gpus: float
    largest_cpus: float
    largest_gpus: float

    @classmethod
    def of_this_machine(cls) -> "Room":
        """Look at this machine."""
        import torch

        cpus, gpus = available_cpus(), torch.cuda.device_count()
        return cls(where="this machine", cpus=cpus, gpus=gpus, largest_cpus=cpus, largest_gpus=gpus)

    @classmethod
    def of_the_cluster(cls) -> "Room":
        """Look at the Ray cluster that this process is connected to."""
        import ray

        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's has no types
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        cpus = [float(machine.get("CPU", 0.0)) for machine in machines] or [0.0]
        gpus = [float(machine.get("GPU", 0.0)) for machine in machines] or [0.0]
        return cls(
            where="the cluster",
            cpus=sum(cpus),
            gpus=sum(gpus),
            largest_cpus=max(cpus),
            largest_gpus=max(gpus),
        )

    def lacks(self, spec: Takes) -> str | None:
        """Say what a training of a study waits for that is not there; None if it has room."""
        needs = (
            ("GPU", spec.gpus, spec.gpus * spec.ranks, self.largest_gpus, self.gpus),
            ("CPU", spec.cpus, spec.cpus * spec.ranks, self.largest_cpus, self.cpus),
        )
        for unit, each, together, largest, total in needs:
            if together > total:
                return f"waits for {_count(together, unit)}; {self.where} has {total:g}"
            if each > largest:
                return f"waits for a machine with {_count(each, unit)}; the largest has {largest:g}"
        return None


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def check_sharing(spec: Takes) -> None:
    """Do nothing unless the processes that train a trial of a study together would share a GPU.

    Raises:
        SpecError: If they would.
    """
    if spec.ranks > 1 and 0 < spec.gpus < 1:
        raise SpecError(
            f"--gpus {spec.gpus:g} --ranks {spec.ranks}: processes that train a trial together "
            "cannot share a GPU, which NCCL refuses. Give each a whole one (--gpus 1), or leave "
            "--ranks out"
        )


def available_cpus() -> int:
    """Return how many CPUs of this machine may be used."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def wait_for_room(spec: Takes, on_wait: Callable[[str], None]) -> None:
    """Return once the cluster has room for a training; an autoscaler hears what is wanted.

    Args:
        spec: Of the study.
        on_wait: Told what is waited for.

    Raises:
        PutOffError: If there is none for ten minutes.
    """
    wanted: PlacementGroup | None = None
    last, end = None, time.monotonic() + _PATIENCE
    try:
        while (words := Room.of_the_cluster().lacks(spec)) is not None:
            if time.monotonic() > end:
                raise PutOffError(words)
            if words != last:
                on_wait(words)
            last, wanted = words, wanted or _demand(spec)
            time.sleep(_LOOK)
            raise_if_unheard()
    finally:
        if wanted is not None:
            from ray.util import remove_placement_group

            remove_placement_group(wanted)


def _demand(spec: Takes) -> "PlacementGroup":
    from ray.util import placement_group

    bundles = [{"CPU": float(spec.cpus), "GPU": spec.gpus}] * spec.ranks
    wanted: PlacementGroup = placement_group(bundles)
    return wanted
