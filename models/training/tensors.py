"""Rows as tensors: where they lie, and how batches are made of them."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuner.data.memory.spool import will_read
from tuner.models.compute.device import place_of_rows, send
from tuner.models.rows import Rows
from tuner.models.typing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class RowTensors:
    """Rows of one split: `a` and `b` (…, rows, …), `y` and `labelled` (…, rows).

    Rows that fit lie on the device; others stay where they are, in memory or in a mapped file, and
    batches are brought from there. On a CPU they are never copied.

    Attributes:
        a: Inputs of modality A.
        b: The same of B.
        y: Class codes or standardised values.
        labelled: 1 where `y` counts, else 0.
        a_real: (…, rows, time) True where a step of padded sequences counts, else None.
        b_real: The same for B.
        device: Where batches go.
    """

    a: Tensor
    b: Tensor
    y: Tensor
    labelled: Tensor
    a_real: Tensor | None
    b_real: Tensor | None
    device: torch.device
    _mapped: tuple[Array, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> "RowTensors":
        """Take rows as they are, in the default type of tensors."""
        dtype = torch.get_default_dtype()
        place = place_of_rows(device, rows.a.nbytes + rows.b.nbytes)

        def tensor(values: Array) -> Tensor:
            shared = _shared(values)
            return shared.to(place, dtype if shared.is_floating_point() else None)

        return cls(
            a=tensor(rows.a),
            b=tensor(rows.b),
            y=tensor(rows.target),
            labelled=tensor(rows.is_labelled).to(dtype),
            a_real=None if rows.a_real is None else tensor(rows.a_real),
            b_real=None if rows.b_real is None else tensor(rows.b_real),
            device=device,
            _mapped=tuple(
                side
                for side in (rows.a, rows.b)
                if isinstance(side, np.memmap) and place.type == "cpu"
            ),
        )

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.labelled.shape[-1]

    @property
    def place(self) -> torch.device:
        """Where the rows lie, and row numbers have to."""
        return self.labelled.device

    def of_modality(self, modality: str) -> tuple[Tensor, Tensor | None]:
        """What the encoder of a modality is called with."""
        return (self.a, self.a_real) if modality == "a" else (self.b, self.b_real)

    def will_take(self, index: Tensor) -> None:
        """Say which rows are taken next, so that those in a mapped file are on their way."""
        for side in self._mapped:
            will_read(side, index.numpy())

    def take(self, index: Tensor, replicates: int) -> "RowTensors":
        """Gather each replicate's batch: `index` is (replicates · batch,)."""
        return self._each(
            lambda values: send(
                values.index_select(0, index).view(replicates, -1, *values.shape[1:]), self.device
            )
        )

    @property
    def device_bytes(self) -> int:
        """What these rows take of a device, if they lie there; 0 where they are in memory."""
        if self.place.type == "cpu":
            return 0
        return sum(each.nbytes for each in vars(self).values() if isinstance(each, Tensor))

    def split(self, size: int) -> Iterator["RowTensors"]:
        """Yield a batch, (replicates, rows, …), at most `size` rows at a time."""
        for start in range(0, self.count, size):
            part = slice(start, start + size)
            yield self._each(itemgetter((slice(None), part)))

    def parts(self, size: int, replicates: int) -> Iterator["RowTensors"]:
        """Yield all rows, at most `size` at a time; every replicate sees the same ones."""
        for start in range(0, self.count, size):
            index = torch.arange(start, min(start + size, self.count), device=self.place)
            self.will_take(index)
            yield self.take(index, 1).stacked(replicates)

    def stacked(self, replicates: int) -> "RowTensors":
        """Show a batch of one replicate to all, without copying it."""
        return self._each(lambda values: values.expand(replicates, *values.shape[1:]))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RowTensors":
        held: dict[str, Any] = {
            name: change(values)
            for name, values in vars(self).items()
            if isinstance(values, Tensor)
        }
        return replace(self, **held, _mapped=())


def _shared(values: Array) -> Tensor:
    """Return a tensor over an array's own memory, which nothing here writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(values))
