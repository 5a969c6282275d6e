"""The alignment loss: symmetric InfoNCE over stacked replicates.

Source: van den Oord et al., arXiv 1807.03748; symmetric as in Radford et al., arXiv 2103.00020;
its role here is L_align of Fang et al., arXiv 2511.12121.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# exp(cosine / temperature) and its sums over a batch stay within float32 down to this
# temperature; below it the largest logit has to be subtracted first.
_SMALLEST_SHIFT_FREE_TEMPERATURE = 0.02

# One similarity matrix above this size fills a core's private cache alone.
_CACHE_BYTES = 1 << 19


class _SymmetricInfoNCE(Function):
    """One exponential serves both directions, and the backward pass reuses it.

    With s = cosine similarity, E = exp(s / τ), r its row sums and c its column sums:
    loss = mean(½ log r + ½ log c) - mean(diag s) / τ and
    dloss/ds = (E ∘ (1/r + 1/c) / 2 - I) / (rows · τ).
    Cosines are bounded, so no maximum has to be found and subtracted first.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, temperature: float) -> Tensor:
        inverse = 1.0 / temperature
        exps = torch.bmm(a * inverse, b.mT).exp_()
        row, column = exps.sum(-1), exps.sum(-2)
        positive = torch.linalg.vecdot(a, b).mean(-1)
        ctx.save_for_backward(a, b, exps, row, column)
        ctx.inverse = inverse
        loss: Tensor = (row.log() + column.log()).mean(-1) / 2 - positive * inverse
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b, exps, row, column = ctx.saved_tensors
        scale = grads[0].reshape(-1, 1, 1) * (ctx.inverse / a.shape[-2])
        pull = exps * (0.5 / row).unsqueeze(-1)
        pull.addcmul_(exps, (0.5 / column).unsqueeze(-2))
        return (torch.bmm(pull, b) - b) * scale, (torch.bmm(pull.mT, a) - a) * scale, None


def symmetric_info_nce(a: Tensor, b: Tensor, *, temperature: float) -> Tensor:
    """Symmetric InfoNCE of each replicate, ½(L_A→B + L_B→A).

    Args:
        a: L2-normalised projections of modality A, (replicates, rows, width).
        b: L2-normalised projections of modality B, same shape; row i of `b` belongs to row i of
            `a`, all other rows are its negatives.
        temperature: τ, what the cosine similarities are divided by.

    Returns:
        One loss a replicate, in nats, (replicates,).
    """
    if temperature < _SMALLEST_SHIFT_FREE_TEMPERATURE:
        return _with_maximum_shift(a, b, temperature)
    matrix_bytes = a.shape[-2] ** 2 * a.element_size()
    alone = a.device.type == "cpu" and matrix_bytes > _CACHE_BYTES
    parts = zip(torch.split(a, 1), torch.split(b, 1), strict=True) if alone else [(a, b)]
    return torch.cat([_loss(part_a, part_b, temperature) for part_a, part_b in parts])


def _loss(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    loss: Tensor = _SymmetricInfoNCE.apply(a, b, temperature)  # type: ignore[no-untyped-call]  # torch's
    return loss


def _with_maximum_shift(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    similarity = torch.bmm(a, b.mT) / temperature
    positive = similarity.diagonal(dim1=-2, dim2=-1)
    both = similarity.logsumexp(-1) + similarity.logsumexp(-2)
    return (0.5 * both - positive).mean(-1)
