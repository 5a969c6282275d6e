"""The alignment loss: symmetric InfoNCE over stacked replicates.

Source: van den Oord et al., arXiv 1807.03748; symmetric as in Radford et al., arXiv 2103.00020;
its role here is L_align of Fang et al., arXiv 2511.12121.
"""

from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tuner.models.compute.kernels import exp_, product

# exp(cosine / temperature) and its sums over a batch stay within float32 down to this
# temperature; below it the largest logit has to be subtracted first.
_SMALLEST_SHIFT_FREE_TEMPERATURE = 0.02

# Similarity matrices of a core that take no more than this stay in its private cache.
_CACHE_BYTES = 1 << 19


class _SymmetricInfoNCE(Function):
    """One exponential serves both directions, and the gradient while it is at hand.

    With s = cosine similarity, E = exp(s / τ), r its row sums and c its column sums:
    loss = mean(½ log r + ½ log c) - mean(diag s) / τ and
    dloss/ds = (E ∘ (1/r + 1/c) / 2 - I) / (rows · τ).
    Cosines are bounded, so no maximum has to be found and subtracted first. Where E is 0 a row is
    no negative.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, temperature: float, negative: Tensor | None
    ) -> Tensor:
        together = len(a)
        if a.device.type == "cpu":
            together = max(1, _CACHE_BYTES // (a.shape[-2] ** 2 * a.element_size()))
        parts = zip(torch.split(a, together), torch.split(b, together), strict=True)
        kept = repeat(None) if negative is None else torch.split(negative, together)
        found = [
            _loss_and_gradients(*part, 1.0 / temperature, counts)
            for part, counts in zip(parts, kept, strict=False)
        ]
        loss, *gradients = (torch.cat(each) for each in zip(*found, strict=True))
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_a, of_b = ctx.saved_tensors
        scale = grad.reshape(-1, 1, 1)
        return of_a * scale, of_b * scale, None, None


def _loss_and_gradients(
    a: Tensor, b: Tensor, inverse: float, counts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    exps = exp_(product(a * inverse, b.mT))
    if counts is not None:
        exps.mul_(counts)
    row, column = exps.sum(-1), exps.sum(-2)
    loss = (row.log() + column.log()).mean(-1) / 2 - torch.linalg.vecdot(a, b).mean(-1) * inverse
    pull = exps * (0.5 / row).unsqueeze(-1)
    pull.addcmul_(exps, (0.5 / column).unsqueeze(-2))
    scale = inverse / a.shape[-2]
    return loss, (product(pull, b) - b).mul_(scale), (product(pull.mT, a) - a).mul_(scale)


def symmetric_info_nce(
    a: Tensor, b: Tensor, *, temperature: float, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE of each replicate, ½(L_A→B + L_B→A).

    Args:
        a: L2-normalised projections of modality A, (replicates, rows, width).
        b: L2-normalised projections of modality B, same shape; row i of `b` belongs to row i of
            `a`, all other rows are its negatives.
        temperature: τ, what the cosine similarities are divided by.
        same: (replicates, rows), equal for rows that are no negatives of each other; None if all
            are.

    Returns:
        One loss a replicate, in nats, (replicates,).
    """
    negative = None if same is None else _negatives(same)
    if temperature < _SMALLEST_SHIFT_FREE_TEMPERATURE:
        return _with_maximum_shift(a, b, temperature, negative)
    loss: Tensor = _SymmetricInfoNCE.apply(a, b, temperature, negative)  # type: ignore[no-untyped-call]  # torch's
    return loss


def _negatives(same: Tensor) -> Tensor:
    """(replicates, rows, rows), True where a row is the partner or a negative of another."""
    counts = same.unsqueeze(-1) != same.unsqueeze(-2)
    counts.diagonal(dim1=-2, dim2=-1).fill_(True)
    return counts


def _with_maximum_shift(
    a: Tensor, b: Tensor, temperature: float, negative: Tensor | None
) -> Tensor:
    similarity = torch.bmm(a, b.mT) / temperature
    positive = similarity.diagonal(dim1=-2, dim2=-1)
    if negative is not None:
        similarity = similarity.masked_fill(~negative, -torch.inf)
    both = similarity.logsumexp(-1) + similarity.logsumexp(-2)
    return (0.5 * both - positive).mean(-1)
