"""Encoders of one replicate for images, as plain `torch.nn` modules.

As in `tuner.models.encoders.built_in.sequence`, what an encoder does to a row depends on that row
alone.
"""

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from tuner.models.config import TrainingConfig
from tuner.models.encoders.built_in.sequence import SequenceEncoder
from tuner.models.typing import Shape


class VisionTransformer(nn.Module):
    """A small ViT: patches as steps of a sequence (Dosovitskiy et al., arXiv 2010.11929).

    Differs from it in a mean over patches in place of a class token.
    """

    def __init__(self, shape: Shape, config: TrainingConfig) -> None:
        super().__init__()
        self._patch = config.patch
        self.sequence = SequenceEncoder(shape[0] * config.patch**2, config)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (rows, channels, height, width); the edges are padded with zeros to patches."""
        size = self._patch
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % size, 0, -height % size))
        rows, channels, height, width = x.shape
        x = x.view(rows, channels, height // size, size, width // size, size)
        patches = x.permute(0, 2, 4, 1, 3, 5).reshape(rows, -1, channels * size * size)
        embedding: Tensor = self.sequence(patches)
        return embedding


class ConvolutionalEncoder(nn.Module):
    """A small CNN: in each stage a convolution, GroupNorm, ReLU and halving; then a mean.

    Args:
        channels: Of the image.
        config: Stages and widths.
        columns: Width of the image, if what is left of it is to be told apart in the end and the
            mean is over the height alone, as a spectrogram's frequencies are.
    """

    def __init__(self, channels: int, config: TrainingConfig, columns: int | None = None) -> None:
        super().__init__()
        self._mean_over = (-2, -1) if columns is None else (-2,)
        left = 1 if columns is None else columns >> config.depth
        widths = [channels, *(max(8, config.hidden >> n) for n in reversed(range(config.depth)))]
        stages: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            stages += [
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.GroupNorm(math.gcd(8, outputs), outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(widths[-1] * left, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (rows, channels, height, width)."""
        embedding: Tensor = self.out(self.stages(x).mean(self._mean_over).flatten(1))
        return embedding
