"""Any encoder as K replicates: the first axis of every parameter and buffer is the replicate."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from tuner.models.compute.randomness import seeded


class Replicated(nn.Module):
    """K copies of a module, initialised each from its own generator and run in one call.

    One copy is called as it is, several through `torch.func.vmap`, which turns every product into
    a batched one.

    Tensors that a module holds as plain attributes become buffers: each replicate has its own.

    Args:
        make: Builds a module, with no lazy layers left; it draws its weights from torch's, NumPy's
            or Python's global generator.
        generators: One per replicate.

    Attributes:
        fixed_tensors: Names of parameters and buffers that lie in a file of their own and never
            change: what the method `fixed_tensors` of the module returns, if it has one.
    """

    _template: nn.Module

    def __init__(self, make: Callable[[], nn.Module], generators: Sequence[Generator]) -> None:
        super().__init__()
        copies = [_initialised(make, generator) for generator in generators]
        for module in copies:
            _register_attributes(module)
        # Not a submodule: its own weights are neither trained nor stored.
        object.__setattr__(self, "_template", copies[0])
        self._slots: list[tuple[dict[str, Any], str, Any]] = [  # where the copy's own tensors lie
            (holder, name, value)
            for part in copies[0].modules()
            for holder in (part._parameters, part._buffers)
            for name, value in holder.items()
        ]
        parameters, buffers = stack_module_state(copies)
        self._names = {name.replace(".", "/"): name for name in (*parameters, *buffers)}
        for name, value in parameters.items():
            trained = copies[0].get_parameter(name).requires_grad
            kept = nn.Parameter(value.detach(), requires_grad=trained)
            self.register_parameter(name.replace(".", "/"), kept)
        stored = copies[0].state_dict()
        for name, value in buffers.items():
            self.register_buffer(name.replace(".", "/"), value, persistent=name in stored)
        fixed: set[str] = getattr(copies[0], "fixed_tensors", set)()
        self.fixed_tensors = frozenset(name.replace(".", "/") for name in fixed)

    @property
    def normalises_batches(self) -> bool:
        """Whether a layer of it normalises by the rows of a batch."""
        return any(isinstance(part, _BatchNorm) for part in self._template.modules())

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
        # A call leaves tensors of its own in a module that has two names.
        for holder, name, value in self._slots:
            holder[name] = value
        plain = copy.deepcopy(self._template)
        tensors = dict((*plain.named_parameters(), *plain.named_buffers()))
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            tensors[self._names[name]].data = value[replicate].detach().clone()
        return plain

    def extra_state(self) -> dict[str, Any]:
        """Return what the modules of a lone copy keep besides tensors, by `get_extra_state`."""
        return {
            name: copy.deepcopy(part.get_extra_state())
            for name, part in self._template.named_modules()
            if type(part).get_extra_state is not nn.Module.get_extra_state
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Give the modules back what `extra_state` returned."""
        for name, value in state.items():
            self._template.get_submodule(name).set_extra_state(copy.deepcopy(value))

    def _call(self, state: dict[str, Tensor], *inputs: Tensor) -> Any:
        return functional_call(self._template, state, inputs)


def _initialised(make: Callable[[], nn.Module], generator: Generator) -> nn.Module:
    with seeded(int(torch.randint(2**62, (1,), generator=generator))):
        return make()


def _register_attributes(module: nn.Module) -> None:
    """Make buffers of the tensors that its modules hold as plain attributes."""
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and not value.requires_grad:
                delattr(part, name)
                part.register_buffer(name, value, persistent=False)
