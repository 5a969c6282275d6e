"""The encoder of one replicate for sequences, as a plain `torch.nn` module.

No dropout and no batch statistics: what an encoder does to a row depends on that row alone, so
replicates can be stacked and a registered encoder answers as it did in training.
"""

import math

import torch
from torch import Tensor, nn

from tuner.models.config import TrainingConfig


class Block(nn.Module):
    """A pre-norm Transformer block (Xiong et al., arXiv 2002.04745)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Map (rows, steps, width) to the same; steps where `real` is False are not seen."""
        x = x + self.outward(self._attend(self.inward(self.attention_norm(x)), real))
        fed: Tensor = self.feed(self.feed_norm(x))
        return x + fed

    def _attend(self, x: Tensor, real: Tensor | None) -> Tensor:
        rows, steps, triple = x.shape
        query, key, value = x.view(rows, steps, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None, :], -torch.inf)
        mixed: Tensor = scores.softmax(-1) @ value
        return mixed.permute(0, 2, 1, 3).reshape(rows, steps, triple // 3)


class SequenceEncoder(nn.Module):
    """A Transformer over (time, features) with sinusoidal positions and a mean over real steps.

    Vaswani et al., arXiv 1706.03762. Nothing in it depends on the number of steps.
    """

    def __init__(self, features: int, config: TrainingConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(features, config.hidden)
        self.blocks = nn.ModuleList(Block(config.hidden, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.hidden)
        self.out = nn.Linear(config.hidden, config.embedding)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Embed (rows, time, features); `real` is (rows, time), True where a step counts."""
        x = self.embed(x)
        x = x + _positions(x.shape[-2], x.shape[-1], like=x)
        for block in self.blocks:
            x = block(x, real)
        x = self.norm(x)
        if real is None:
            pooled = x.mean(-2)
        else:
            weights = real.to(x.dtype).unsqueeze(-1)
            pooled = (x * weights).sum(-2) / weights.sum(-2)
        embedding: Tensor = self.out(pooled)
        return embedding


def _positions(steps: int, width: int, *, like: Tensor) -> Tensor:
    """Sines and cosines of each step's number, (steps, width)."""
    step = torch.arange(steps, device=like.device, dtype=like.dtype)[:, None]
    index = torch.arange(width, device=like.device)
    angle = step * torch.exp(-math.log(1e4) * (index // 2 * 2).to(like.dtype) / width)
    return torch.where(index % 2 == 0, angle.sin(), angle.cos())
