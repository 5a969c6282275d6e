"""How much is trained at a time, in the memory that there is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from tuner.models.compute.device import (
    is_out_of_memory,
    memory_size,
    peak_memory,
    raise_if_lost,
    release_memory,
)
from tuner.models.compute.ranks import Ranks
from tuner.models.errors import NoMemoryError

_USED = 0.8  # of a GPU's memory: allocators leave gaps, and libraries take some

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Portion:
    """What is computed at a time.

    Attributes:
        replicates: That share a stack.
        rows: Of a batch that encoders are given, for which `replicates` is 1; None for all.
    """

    replicates: int
    rows: int | None = None

    def halved(self, batch: int) -> "Portion":
        """Return half as much, of one replicate half of a batch of so many rows.

        Raises:
            NoMemoryError: If this is one row of one replicate, or there are other processes.
        """
        _check_alone()
        if self.replicates > 1:
            return replace(self, replicates=self.replicates // 2)
        rows = self.rows or batch
        if rows > 1:
            return replace(self, rows=rows // 2)
        raise NoMemoryError(
            "memory ran out for one replicate with a single row at a time (a whole batch, if an "
            "encoder is your own or normalises batches). Use a smaller encoder (--hidden, "
            "--depth), a smaller --batch-size, or a machine with more memory (a GPU alone: "
            "--gpus 1)"
        )


def in_portions(
    work: Callable[[int, Portion], _Result],
    portion: Portion,
    count: int,
    batch: int,
    device: torch.device,
) -> list[_Result]:
    """Do a work for one stack of replicates after another; smaller ones once memory ran out.

    Args:
        work: Given the first replicate of a stack, and how much is computed at a time.
        portion: What is tried first.
        count: Replicates in all.
        batch: Rows of a batch.
        device: Where it is done.

    Raises:
        NoMemoryError: If memory runs out for the least that can be computed at a time.
    """
    results: list[_Result] = []
    first = 0
    while first < count:
        portion = replace(portion, replicates=min(portion.replicates, count - first))
        result = attempt(partial(work, first, portion), device)
        if result is None:
            portion = portion.halved(batch)
        else:
            results.append(result)
            first += portion.replicates
    return results


def _check_alone() -> None:
    if Ranks().count > 1:
        raise NoMemoryError(
            "memory ran out in one of the processes that train together (--ranks), and the others "
            "cannot know: use more of them, a smaller --batch-size or a smaller encoder"
        )


def attempt(work: Callable[[], _Result], device: torch.device) -> _Result | None:
    """Do something; None if memory ran out, which is given back then.

    Raises:
        DeviceError: If the GPU was lost over it.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            if isinstance(error, RuntimeError):
                raise_if_lost(error)
            raise
    release_memory(device)  # here: while it was handled, the error held what had been made
    return None


def replicates_that_fit(most: int, rehearse: Callable[[], int], device: torch.device) -> int:
    """Return how many replicates, `most` at most, a GPU has memory for at a time, at least 1.

    Args:
        most: As many as are wanted.
        rehearse: Does with one replicate what training does, and returns the bytes of its rows,
            which all replicates share.
        device: Where they are trained; a CPU's memory sets no bound.

    Raises:
        NoMemoryError: If memory runs out even so in one of several processes.
    """
    size = memory_size(device)
    if size is None or most == 1:
        return most  # alike for all ranks
    shared = 0

    def rehearsed() -> None:
        nonlocal shared
        shared = rehearse()

    peak = attempt(lambda: peak_memory(device, rehearsed), device)
    fitting = 1
    if peak is None:
        _check_alone()
    else:
        release_memory(device)
        fitting = int(_USED * size - shared) // max(1, peak - shared)
    return Ranks().least(max(1, min(most, fitting)), device)
