"""Encoders and heads with stacked replicates: the first axis of every parameter is the replicate.

Replicates never mix: a batched product treats each with its own weights, so a stack of K models
trains as K models would alone, in one call per operation.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from models.replicated import Replicated


class StackedLinear(nn.Module):
    """An affine map per replicate, initialised as `torch.nn.Linear` is.

    Attributes:
        weight: (replicates, inputs, outputs).
        bias: (replicates, 1, outputs).
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[Generator]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        draws = [
            (
                torch.empty(inputs, outputs).uniform_(-bound, bound, generator=generator),
                torch.empty(1, outputs).uniform_(-bound, bound, generator=generator),
            )
            for generator in generators
        ]
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in draws]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in draws]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (replicates, rows, inputs) to (replicates, rows, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


def stacked_mlp(widths: Sequence[int], generators: Sequence[Generator]) -> nn.Sequential:
    """Affine maps through `widths` with ReLU between them, one network per generator."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [StackedLinear(inputs, outputs, generators), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def unstack(stacked: nn.Module, replicate: int) -> nn.Module:
    """Copy one replicate of a stacked network as ordinary `torch.nn` layers."""
    if isinstance(stacked, Replicated):
        return stacked.unstack(replicate)
    if not isinstance(stacked, nn.Sequential):
        raise TypeError(f"cannot unstack a {type(stacked).__name__}")
    plain: list[nn.Module] = []
    for layer in stacked:
        if isinstance(layer, StackedLinear):
            inputs, outputs = layer.weight.shape[1:]
            linear = nn.Linear(inputs, outputs)
            with torch.no_grad():
                linear.weight.copy_(layer.weight[replicate].T)
                linear.bias.copy_(layer.bias[replicate, 0])
            plain.append(linear)
        else:
            plain.append(type(layer)())
    return nn.Sequential(*plain)
