"""The alignment loss: symmetric InfoNCE over stacked replicates.

Source: van den Oord et al., arXiv 1807.03748; symmetric as in Radford et al., arXiv 2103.00020;
its role here is L_align of Fang et al., arXiv 2511.12121.

A matrix of similarities has the square of the batch's rows. One that is small is made as a whole;
of a larger batch strips are made, each twice, so that memory grows with the rows alone.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tuner.models.compute.kernels import exp_, product
from tuner.models.compute.ranks import Ranks

# exp(cosine / temperature) and its sums over a batch stay within float32 down to this
# temperature; below it the largest logit has to be subtracted first.
_SMALLEST_SHIFT_FREE_TEMPERATURE = 0.02

# Similarity matrices of a core that take no more than this stay in its private cache.
_CACHE_BYTES = 1 << 19

# What is held of the similarities at a time. A replicate's matrix that takes no more is made whole.
_MATRIX_BYTES = 1 << 28
_STRIP_BYTES = 1 << 26


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
        most = _CACHE_BYTES if a.device.type == "cpu" else _MATRIX_BYTES
        together = max(1, most // (a.shape[-2] ** 2 * a.element_size()))
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


class _StripInfoNCE(Function):
    """The same loss of a batch whose similarities are too many to be held at once.

    A first pass over strips of this rank's rows sums up rows and columns, as logarithms, so that
    any temperature will do; the second makes the strips again, and the gradients from them:
    dloss/ds = (exp(s/τ - log r) / 2 + exp(s/τ - log c) / 2 - I) / (rows · τ).
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        temperature: float,
        same: Tensor | None,
        ranks: Ranks,
        batch: int,
    ) -> Tensor:
        strips = _Strips(a, ranks.gather(b.detach(), batch), temperature, same, ranks.share(batch))
        row, column = strips.log_sums()
        column = ranks.logsumexp(column)
        of_a, of_b = strips.gradients(row, column)
        of_b = ranks.sum(of_b)[:, strips.own]
        positive = torch.linalg.vecdot(a, b)
        scale = 1 / (temperature * batch)
        ctx.save_for_backward((of_a - b).mul_(scale), (of_b - a).mul_(scale))
        own = (row / 2 - positive / temperature).sum(-1)
        return (ranks.sum(own) + column.sum(-1) / 2) / batch

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        of_a, of_b = ctx.saved_tensors
        scale = grad.reshape(-1, 1, 1)
        return of_a * scale, of_b * scale, None, None, None, None


class _Strips:
    """The similarities of a rank's rows of A with all of B, some rows at a time.

    Args:
        a: This rank's rows, (replicates, own rows, width).
        b: All rows, (replicates, rows, width).
        temperature: τ.
        same: As of `symmetric_info_nce`.
        own: Which rows of B are the partners of `a`.
    """

    def __init__(
        self, a: Tensor, b: Tensor, temperature: float, same: Tensor | None, own: slice
    ) -> None:
        self.own = own
        self._a, self._b, self._temperature, self._same = a.detach(), b, temperature, same
        row_bytes = len(b) * b.shape[1] * b.element_size()
        self._rows = max(1, _STRIP_BYTES // row_bytes)

    def log_sums(self) -> tuple[Tensor, Tensor]:
        """Logarithms of the sums over a row, (replicates, own rows), and over a column, (…, rows).

        Those of a column are over this rank's rows alone.
        """
        rows = []
        column = self._b.new_full(self._b.shape[:2], -torch.inf)
        for part in self._parts():
            logits = self._logits(part)
            rows.append(logits.logsumexp(-1))
            column = torch.logaddexp(column, logits.logsumexp(-2))
        return torch.cat([self._a.new_empty(len(self._a), 0), *rows], -1), column

    def gradients(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """What pulls at A and at B, but for partners, of the shapes of both."""
        of_a, of_b = torch.empty_like(self._a), torch.zeros_like(self._b)
        for part in self._parts():
            logits = self._logits(part)
            pull = (logits - row[:, part].unsqueeze(-1)).exp_()
            pull.add_(logits.sub_(column.unsqueeze(-2)).exp_()).div_(2)
            of_a[:, part] = product(pull, self._b)
            of_b.add_(product(pull.mT, self._a[:, part]))
        return of_a, of_b

    def _parts(self) -> Iterator[slice]:
        count = self._a.shape[1]
        for start in range(0, count, self._rows):
            yield slice(start, min(start + self._rows, count))

    def _logits(self, part: slice) -> Tensor:
        """Similarities over temperature, (replicates, rows of the part, rows)."""
        logits = product(self._a[:, part] / self._temperature, self._b.mT)
        if self._same is None:
            return logits
        partners = torch.arange(part.start, part.stop, device=logits.device) + self.own.start
        excluded = self._same[:, partners].unsqueeze(-1) == self._same.unsqueeze(-2)
        excluded[:, torch.arange(len(partners), device=logits.device), partners] = False
        return logits.masked_fill_(excluded, -torch.inf)


def symmetric_info_nce(
    a: Tensor,
    b: Tensor,
    *,
    temperature: float,
    same: Tensor | None = None,
    ranks: Ranks | None = None,
    batch: int | None = None,
) -> Tensor:
    """Symmetric InfoNCE of each replicate, ½(L_A→B + L_B→A).

    Args:
        a: L2-normalised projections of modality A, (replicates, rows, width).
        b: L2-normalised projections of modality B, same shape; row i of `b` belongs to row i of
            `a`, all other rows are its negatives.
        temperature: τ, what the cosine similarities are divided by.
        same: (replicates, rows), equal for rows that are no negatives of each other; None if all
            are.
        ranks: Who has the other rows of the batch, if `a` and `b` are this rank's share of it;
            `same` is of the whole. Gradients are those of the whole loss.
        batch: Rows of the whole batch, with `ranks`.

    Returns:
        One loss a replicate, in nats, (replicates,).
    """
    ranks = ranks or Ranks.alone()
    batch = a.shape[-2] if batch is None else batch
    if batch**2 * a.element_size() > _MATRIX_BYTES:
        strips: Tensor = _StripInfoNCE.apply(  # type: ignore[no-untyped-call]  # torch's
            a, b, temperature, same, ranks, batch
        )
        return strips
    a, b = ranks.gather(a, batch), ranks.gather(b, batch)
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
