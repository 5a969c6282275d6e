"""Any encoder as K replicates: the first axis of every parameter and buffer is the replicate."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class Replicated(nn.Module):
    """K copies of a module, initialised each from its own generator and run in one call.

    One copy is called as it is, several through `torch.func.vmap`, which turns every product into
    a batched one.

    Args:
        make: Builds a module; it draws its weights from torch's global generator.
        generators: One per replicate.
    """

    _template: nn.Module

    def __init__(self, make: Callable[[], nn.Module], generators: Sequence[Generator]) -> None:
        super().__init__()
        copies = [_initialised(make, generator) for generator in generators]
        # Not a submodule: its own weights are neither trained nor stored.
        object.__setattr__(self, "_template", copies[0])
        parameters, buffers = stack_module_state(copies)
        self._names = {name.replace(".", "/"): name for name in (*parameters, *buffers)}
        for name, value in parameters.items():
            trained = copies[0].get_parameter(name).requires_grad
            kept = nn.Parameter(value.detach(), requires_grad=trained)
            self.register_parameter(name.replace(".", "/"), kept)
        stored = copies[0].state_dict()
        for name, value in buffers.items():
            self.register_buffer(name.replace(".", "/"), value, persistent=name in stored)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Map (replicates, rows, …) to (replicates, rows, embedding)."""
        state = {
            self._names[name]: value
            for name, value in (*self.named_parameters(), *self.named_buffers())
        }
        inputs = (x,) if real is None else (x, real)
        if len(x) == 1:
            alone = {name: value[0] for name, value in state.items()}
            single: Tensor = self._call(alone, *(part[0] for part in inputs))
            return single.unsqueeze(0)
        stacked: Tensor = vmap(self._call)(state, *inputs)
        return stacked

    def train(self, mode: bool = True) -> "Replicated":
        """Set the mode of the copies, too."""
        self._template.train(mode)
        return super().train(mode)

    def unstack(self, replicate: int) -> nn.Module:
        """Copy one replicate as an ordinary module."""
        plain = copy.deepcopy(self._template)
        state = {self._names[name]: value[replicate] for name, value in self.state_dict().items()}
        plain.load_state_dict(state)
        return plain

    def _call(self, state: dict[str, Tensor], *inputs: Tensor) -> Any:
        return functional_call(self._template, state, inputs)


def _initialised(make: Callable[[], nn.Module], generator: Generator) -> nn.Module:
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
