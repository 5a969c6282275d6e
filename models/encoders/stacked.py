"""Encoders and heads with stacked replicates: the first axis of every parameter is the replicate.

Replicates never mix: a batched product treats each with its own weights, so a stack of K models
trains as K models would alone, in one call per operation.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from tuner.models.compute.kernels import product
from tuner.models.encoders.replicated import Replicated


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
        if _is_plain(x):
            return _mlp(x, self.weight, self.bias)
        return torch.baddbmm(self.bias, x, self.weight)


class StackedMLP(nn.Sequential):
    """Affine maps through `widths` with ReLU between them, one network per generator."""

    def __init__(self, widths: Sequence[int], generators: Sequence[Generator]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [StackedLinear(inputs, outputs, generators), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (replicates, rows, first width) to (replicates, rows, last width)."""
        layers = [layer for layer in self if isinstance(layer, StackedLinear)]
        if layers and _is_plain(x):
            return _mlp(x, *(part for layer in layers for part in (layer.weight, layer.bias)))
        mapped: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch's
        return mapped


class _MLP(Function):
    """All layers in one node of the graph, by the fastest products that a CPU has.

    What torch would do layer by layer, less the copies that it keeps and the time it takes to say
    so. Arguments: x, then weight and bias of each layer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        weights = parameters[::2]
        inputs: list[Tensor] = []
        for weight, bias in zip(weights, parameters[1::2], strict=True):
            if inputs:
                x.relu_()
            inputs.append(x)
            x = product(x, weight).add_(bias)
        ctx.save_for_backward(*inputs, *weights)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        layers = list(zip(saved[: len(saved) // 2], saved[len(saved) // 2 :], strict=True))
        grads: list[Tensor | None] = []
        for place, (x, weight) in reversed(list(enumerate(layers))):
            grads[:0] = [product(x.mT, grad), grad.sum(-2, keepdim=True)]
            if place == 0 and not ctx.needs_input_grad[0]:
                return None, *grads
            grad = product(grad, weight.mT)
            if place:
                torch.ops.aten.threshold_backward.grad_input(grad, x, 0, grad_input=grad)
        return grad, *grads


def _mlp(x: Tensor, *parameters: Tensor) -> Tensor:
    mapped: Tensor = _MLP.apply(x, *parameters)  # type: ignore[no-untyped-call]  # torch's
    return mapped


def _is_plain(x: Tensor) -> bool:
    """Whether products of `x` are computed on a CPU, in its own precision."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


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
