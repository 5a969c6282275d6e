"""The encoder of one replicate for text and for ids of tokens: a bag of hashed n-grams.

What a row is made of is counted, and a linear map of the counts is the sum of learned vectors of
its n-grams, as in fastText (Joulin et al., arXiv 1607.01759). With few labels that is hard to
beat, it takes any language and any vocabulary, and it needs no table of words: n-grams are hashed,
half of them with the opposite sign, so that what falls together cancels on average (Weinberger et
al., arXiv 0902.2206).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.models.config import TrainingConfig

_SIZES = {"text": (3, 4, 5), "tokens": (1, 2)}  # of n-grams, in bytes or tokens
_BITS = 13
_FACTOR = 0x9E3779B97F4A7C15 - 2**64  # 2^64 over the golden ratio, odd: Fibonacci hashing
_INITIAL = 0.02  # spread of weights, as in Transformers


class NgramEncoder(nn.Module):
    """Hashed counts of n-grams, their learned vectors summed and normalised, and an MLP.

    Nothing in it depends on the length of a row or on how far it is padded.

    Args:
        of: What a row holds: UTF-8 bytes, or ids of tokens.
        config: Widths and depth.
    """

    def __init__(self, of: Literal["text", "tokens"], config: TrainingConfig) -> None:
        super().__init__()
        self._sizes = _SIZES[of]
        self.embed = nn.Linear(2**_BITS, config.hidden, bias=False)
        nn.init.normal_(self.embed.weight, std=_INITIAL)
        self.norm = nn.LayerNorm(config.hidden)
        self.layers = nn.Sequential(
            *(
                layer
                for _ in range(config.depth - 1)
                for layer in (nn.Linear(config.hidden, config.hidden), nn.GELU())
            )
        )
        self.out = nn.Linear(config.hidden, config.embedding)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Embed (rows, steps) or (rows, steps, 1) whole numbers; real ones are where `real` is."""
        x = x.flatten(1)
        counts = self._counts(x, torch.ones_like(x, dtype=torch.bool) if real is None else real)
        weights = functional.normalize(counts / (1 + counts.abs()), dim=-1)  # saturates, as BM25
        embedding: Tensor = self.out(self.layers(self.norm(self.embed(weights))))
        return embedding

    def _counts(self, x: Tensor, real: Tensor) -> Tensor:
        """How often each n-gram is in a row, (rows, buckets), some with the opposite sign."""
        hashes = torch.cat([_hashed(x, size) for size in self._sizes], -1)
        places = (hashes >> (64 - _BITS)) & (2**_BITS - 1)
        signs = 1 - 2 * ((hashes >> (63 - _BITS)) & 1)
        counted = (signs * real.repeat(1, len(self._sizes))).to(self.embed.weight.dtype)
        none = counted.new_zeros(x.shape[0], 2**_BITS)
        return none.scatter_add(1, places, counted)


def _hashed(x: Tensor, size: int) -> Tensor:
    """64 bits for each n-gram, where it ends (rows, steps); before the first step are zeros."""
    steps = x.shape[1]
    padded = functional.pad(x + 1, (size - 1, 0))
    hashed = torch.full_like(x, size)
    for back in range(size):
        hashed = (hashed + padded[:, back : back + steps]) * _FACTOR
    return hashed
