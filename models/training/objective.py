"""The loss of a batch and its gradients, of the whole at once or of a few rows at a time.

L = L_task,A + L_task,B + λ·L_align (Fang et al., arXiv 2511.12121). At λ = 0 the alignment term
is not computed at all. Pairs without a label take part in L_align only, which the paper does not
have.
"""

from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional

from tuner.models.alignment import symmetric_info_nce
from tuner.models.compute.device import full_precision, mixed_precision
from tuner.models.compute.randomness import seeded
from tuner.models.compute.ranks import Ranks
from tuner.models.config import TrainingConfig
from tuner.models.encoders.pair import Branch, EncoderPair
from tuner.models.training.tensors import RowTensors

_Align = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """What a stack of encoder pairs is trained for.

    Args:
        pair: The stack.
        config: How it is trained.
        strength: λ.
        classifies: Whether labels are classes; else they are values.
        device: Where the stack is.
        ranks: Who trains it.
        rows: Of a batch that encoders are given at a time, for where memory is short; None for all.
            The loss is that of the whole batch all the same.
    """

    def __init__(
        self,
        pair: EncoderPair,
        config: TrainingConfig,
        *,
        strength: float,
        classifies: bool,
        device: torch.device,
        ranks: Ranks,
        rows: int | None = None,
    ) -> None:
        self._config, self._strength, self._classifies = config, strength, classifies
        self._device, self._ranks, self._rows = device, ranks, rows
        self._branches: dict[str, Branch] = {"a": pair.a, "b": pair.b}

    def apply(
        self, modality: str, rows: RowTensors, *, exact: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embed and predict; the answers are float32, whatever the products were in.

        With `exact` these are float32, too: what is measured is what a registered encoder answers.
        """
        with full_precision(self._device) if exact else self._mixed():
            embedding, output = self._branches[modality](*rows.of_modality(modality))
        return embedding.to(rows.labelled.dtype), output.to(rows.labelled.dtype)

    def row_losses(self, output: Tensor, rows: RowTensors) -> Tensor:
        """Return the loss of each row, 0 where it has no label, (replicates, rows)."""
        if self._classifies:
            return functional.cross_entropy(  # several times as fast as along the last axis
                output.mT, rows.y, reduction="none", ignore_index=-1
            )
        return (output.squeeze(-1) - rows.y).abs() * rows.labelled

    def backward(
        self, batch: RowTensors, labelled: Tensor, *, size: int, same: Tensor | None
    ) -> Tensor:
        """Add the gradients of a batch to those of the parameters.

        Args:
            batch: This rank's share of it.
            labelled: Rows of the whole batch that have a label, (replicates,).
            size: Rows of the whole batch.
            same: Of the whole batch: see `symmetric_info_nce`.

        Returns:
            This rank's part of the task losses of A and of B, and the alignment loss of the whole,
            (3, replicates).
        """

        def align(a: Tensor, b: Tensor) -> Tensor:
            return symmetric_info_nce(
                a,
                b,
                temperature=self._config.temperature,
                same=same,
                ranks=self._ranks,
                batch=size,
            )

        one_step = self._at_once if self._rows is None else self._in_parts
        return one_step(batch, labelled, align)

    def _at_once(self, batch: RowTensors, labelled: Tensor, align: _Align) -> Tensor:
        (embedding_a, output_a), (embedding_b, output_b) = (self.apply(m, batch) for m in "ab")
        task_a = self._task_loss(output_a, batch, labelled)
        task_b = self._task_loss(output_b, batch, labelled)
        total = task_a + task_b
        alignment = torch.zeros_like(task_a)
        if self._strength > 0:
            alignment = align(*self._projected(embedding_a, embedding_b))
            total = total + self._strength * alignment
        total.sum().backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        return torch.stack([task_a.detach(), task_b.detach(), alignment.detach()])

    def _in_parts(self, batch: RowTensors, labelled: Tensor, align: _Align) -> Tensor:
        """The same in the memory of a few rows: each is embedded twice (Gao et al., GradCache).

        The first time without a graph, for the loss of the whole batch and what it pulls each
        projection by; the second time by parts, with these as their gradients (arXiv 2101.06983).
        What encoders draw is the same both times.
        """
        assert self._rows is not None
        parts = list(batch.split(self._rows))
        seed = int(torch.randint(2**62, ()))
        losses = torch.zeros(3, len(labelled), dtype=batch.labelled.dtype, device=self._device)
        pulls: Iterator[tuple[Tensor, Tensor] | None] = repeat(None)
        if self._strength > 0:
            losses[2], pulls = self._pulls(parts, seed, align)
        for number, (part, pull) in enumerate(zip(parts, pulls, strict=False)):
            with seeded(seed + number):
                embedded = [self.apply(m, part) for m in "ab"]
            tasks = [self._task_loss(output, part, labelled) for _, output in embedded]
            total = torch.stack(tasks).sum()
            if pull is not None:
                projections = self._projected(*(embedding for embedding, _ in embedded))
                total = total + sum(
                    (side * each).sum() for side, each in zip(projections, pull, strict=True)
                )
            total.backward()  # type: ignore[no-untyped-call]
            losses[:2] += torch.stack(tasks).detach()
        return losses

    def _pulls(
        self, parts: list[RowTensors], seed: int, align: _Align
    ) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
        """Return the alignment loss, and its gradients by the projections of each part."""
        assert self._rows is not None
        made = []
        for number, part in enumerate(parts):
            with torch.no_grad(), seeded(seed + number):
                made.append(self._projected(*(self.apply(m, part)[0] for m in "ab")))
        a, b = (torch.cat(side, 1).requires_grad_() for side in zip(*made, strict=True))
        alignment = align(a, b)
        of_a, of_b = torch.autograd.grad(self._strength * alignment.sum(), (a, b))
        pulls = zip(*(torch.split(of, self._rows, 1) for of in (of_a, of_b)), strict=True)
        return alignment.detach(), pulls

    def _projected(self, embedding_a: Tensor, embedding_b: Tensor) -> tuple[Tensor, Tensor]:
        with self._mixed():
            a = self._branches["a"].project(embedding_a)
            b = self._branches["b"].project(embedding_b)
        return a.to(embedding_a.dtype), b.to(embedding_b.dtype)

    def _mixed(self) -> torch.autocast:
        return mixed_precision(self._device, self._config.precision)

    def _task_loss(self, output: Tensor, rows: RowTensors, labelled: Tensor) -> Tensor:
        """Return the loss of each replicate's rows over so many labelled ones, (replicates,)."""
        return self.row_losses(output, rows).sum(-1) / labelled.clamp(min=1)
