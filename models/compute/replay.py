"""Steps that a GPU records once and then replays, without being told each operation again.

A GPU takes less time for the operations of a small step than it takes to launch them one by one.
A CUDA graph launches all of them at once (PyTorch's notes on CUDA semantics, "CUDA Graphs": capture
of a whole step). What is recorded has the same shapes each time, changes tensors in place and looks
at none of their values.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from tuner.models.compute.device import memory_size, raise_if_lost, release_memory

_WARM = 3  # steps before one is recorded: libraries make what they need in the first ones
_SMALL = 1 / 8  # of memory that a step takes at most: others gain little, and a graph takes as much
_ALIKE, _ROUNDING = 0.01, 1e-6  # how far a replay may be off: of what changes, and of what is there

Step = Callable[[], Tensor]


class Recorder(Protocol):
    """What records a step."""

    def warm(self, step: Step) -> tuple[Tensor, float]:
        """Take a step as it is; return what it returns, and the share of memory that it took."""

    def record(self, step: Step) -> Tensor:
        """Record a step without taking it; return where each replay writes what it returns."""

    def replay(self) -> None:
        """Take the step that was recorded."""


class CudaRecorder:
    """Records a step of a GPU as a CUDA graph."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
        self._graph = torch.cuda.CUDAGraph()

    def warm(self, step: Step) -> tuple[Tensor, float]:
        """Take a step on the stream that it is recorded on."""
        held = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        with self._aside():
            measured = step()
        took = torch.cuda.max_memory_allocated(self._device) - held
        return measured, took / (memory_size(self._device) or 1)

    def record(self, step: Step) -> Tensor:
        """Capture a step; the stream is left again if that fails."""
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(self._graph, stream=self._stream),
        ):
            return step()

    def replay(self) -> None:
        """Launch the graph."""
        self._graph.replay()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)


def recorder(device: torch.device) -> Recorder | None:
    """Return what records steps of a device; None for one that gains nothing by it."""
    return CudaRecorder(device) if device.type == "cuda" else None


class Replay:
    """Takes steps, replayed as soon as one could be recorded, and else as they are.

    The first replay is compared with the same step taken as it is, from the same state: what would
    not do the same is never used.

    Args:
        step: Takes a step for rows, (replicates, batch), always so many; returns what it measured.
        state: Returns every tensor that a step changes.
        recorder: Records a step; None if none is to be.
        refuse: Told why no step is replayed.
    """

    def __init__(
        self,
        step: Callable[[Tensor], Tensor],
        state: Callable[[], list[Tensor]],
        recorder: Recorder | None,
        refuse: Callable[[str], None],
    ) -> None:
        self._step, self._state, self._recorder, self._refuse = step, state, recorder, refuse
        self._warm = 0
        self._rows = self._measured = torch.empty(0)

    @property
    def is_settled(self) -> bool:
        """Whether the steps that follow are all taken alike."""
        return self._recorder is None or self._warm > _WARM

    def __call__(self, rows: Tensor) -> Tensor:
        """Take a step; what it measured is there until the next one."""
        if self._recorder is None:
            return self._step(rows)
        if self._warm > _WARM:
            self._rows.copy_(rows)
            self._recorder.replay()
            return self._measured
        self._warm += 1
        if self._warm > _WARM:
            return self._recorded(self._recorder, rows)
        measured, share = self._recorder.warm(lambda: self._step(rows))
        if share > _SMALL:
            self._give_up(f"a step takes {share:.0%} of the memory")
        return measured

    def _recorded(self, recorder: Recorder, rows: Tensor) -> Tensor:
        """Record a step, compare its replay with the step itself, and take that."""
        self._rows = rows.clone()
        before, places = [each.clone() for each in self._state()], self._places()
        try:
            self._measured = recorder.record(lambda: self._step(self._rows))
            recorder.replay()
        except RuntimeError as error:
            raise_if_lost(error)
            self._give_up(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
            release_memory(rows.device)
            self._restore(before)
            return self._step(rows)
        replayed = [*(each.clone() for each in self._state()), self._measured.clone()]
        moved = places != self._places()
        self._restore(before)
        measured = self._step(rows)
        expected, before = [*self._state(), measured], [*before, torch.zeros_like(measured)]
        if moved or not _alike(replayed, expected, before):
            self._give_up("a step that is replayed does something else")
        return measured

    def _places(self) -> list[int]:
        return [each.data_ptr() for each in self._state()]

    def _restore(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for each, value in zip(self._state(), values, strict=True):
                each.copy_(value)

    def _give_up(self, reason: str) -> None:
        self._recorder = None
        self._refuse(reason)


def _alike(replayed: list[Tensor], expected: list[Tensor], before: list[Tensor]) -> bool:
    """Whether two steps from the same state changed each tensor alike."""
    alike = []
    for values in zip(replayed, expected, before, strict=True):
        one, other, old = (each.detach().double() for each in values)
        bound = _ALIKE * (other - old).norm() + _ROUNDING * other.norm()
        alike.append((one - other).norm() <= bound)
    return bool(torch.stack(alike).all())
