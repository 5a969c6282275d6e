"""Several processes that train one stack together, each on its share of every batch.

All hold the same parameters, the same rows and the same random streams, so each knows which rows of
the whole batch are whose. The loss is that of the whole batch: InfoNCE contrasts every row with
every other, so embeddings are gathered, and the gradient with respect to a rank's own embeddings is
that of the whole loss (as in Radford et al., arXiv 2103.00020, section 2.5). Summed over the ranks,
gradients are those of one process on the same batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it only hands it on

_TIMEOUT = timedelta(seconds=600)  # that a rank waits for the others
_BUCKET = 25 * 2**20  # bytes of gradients that are added up at a time, as those of torch's DDP


def open_meeting(host: str) -> TCPStore:
    """Open a place where ranks meet, on a free port of this machine.

    Args:
        host: Address under which the others find this machine.
    """
    return TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)


@contextmanager
def joined(
    own: int, count: int, meeting: TCPStore | tuple[str, int], *, on_gpus: bool
) -> Iterator[None]:
    """Be one of the ranks that train together meanwhile.

    Args:
        own: Which of them this process is.
        count: How many there are.
        meeting: Where they meet: what `open_meeting` returned, or its host and port.
        on_gpus: Whether each trains on a GPU.
    """
    if not isinstance(meeting, TCPStore):
        host, port = meeting
        meeting = TCPStore(host, port, is_master=False, timeout=_TIMEOUT)
    distributed.init_process_group(
        "nccl" if on_gpus else "gloo", store=meeting, rank=own, world_size=count, timeout=_TIMEOUT
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


class Ranks:
    """One process that trains alone, or one rank of a `torch.distributed` group.

    Attributes:
        count: Processes in the group.
        own: Which of them this is.
    """

    def __init__(self) -> None:
        grouped = distributed.is_available() and distributed.is_initialized()
        self.count = distributed.get_world_size() if grouped else 1
        self.own = distributed.get_rank() if grouped else 0

    @classmethod
    def alone(cls) -> "Ranks":
        """A process of no group, or one that asks nothing of its group."""
        one = cls()
        one.count, one.own = 1, 0
        return one

    def share(self, batch: int) -> slice:
        """Return which rows of a batch of so many are this rank's."""
        return slice(batch * self.own // self.count, batch * (self.own + 1) // self.count)

    def gather(self, own: Tensor, batch: int) -> Tensor:
        """Return the embeddings of the whole batch, of which only this rank's carry a gradient.

        Args:
            own: Of this rank's share, (replicates, share, width).
            batch: Rows of the whole batch.

        Returns:
            (replicates, batch, width).
        """
        if self.count == 1:
            return own
        whole = own.new_zeros(own.shape[0], batch, own.shape[2])
        whole[:, self.share(batch)] = own.detach()
        distributed.all_reduce(whole)
        whole[:, self.share(batch)] = own
        return whole

    def least(self, count: int, device: torch.device) -> int:
        """Return the least of every rank's number, where the ranks compute on such a device."""
        if self.count == 1:
            return count
        value = torch.tensor(count, device=device)
        distributed.all_reduce(value, distributed.ReduceOp.MIN)
        return int(value)

    def sum(self, values: Tensor) -> Tensor:
        """Add up values over the ranks, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def logsumexp(self, values: Tensor) -> Tensor:
        """Add up, over the ranks, what `values` are the logarithms of."""
        if self.count == 1:
            return values
        each = values.new_zeros(self.count, *values.shape)
        each[self.own] = values
        distributed.all_reduce(each)
        return each.logsumexp(0)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up gradients over the ranks, many at a time: all use the same parameters."""
        if self.count == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        for bucket in _buckets(gradients):
            whole = torch.cat([each.reshape(-1) for each in bucket])
            distributed.all_reduce(whole)
            parts = torch.split(whole, [each.numel() for each in bucket])
            for each, part in zip(bucket, parts, strict=True):
                each.copy_(part.view_as(each))

    def agree(self, values: Tensor) -> Tensor:
        """Take the first rank's values, so that all stop at the same epoch."""
        if self.count > 1:
            distributed.broadcast(values, src=0)
        return values


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Divide tensors, in their order, into lists of one type and of so many bytes, or of one."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        held = sum(each.nbytes for each in bucket)
        if bucket and (tensor.dtype != bucket[0].dtype or held + tensor.nbytes > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
