"""AdamW over stacked replicates."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class StackedAdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), whose replicates can leave the stack.

    The arithmetic is torch's. Its `Optimizer` is not used: the first one of a process loads torch's
    compiler, which takes a second, and every step of one takes a third of a millisecond.

    Args:
        parameters: The first axis of each is the replicate. Those without a gradient stay as they
            are.
        learning_rate: Of every step.
        weight_decay: Decoupled, per step and times the learning rate.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
    ) -> None:
        self._parameters = list(parameters)
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._mean = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._square = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self._parameters]

    def step(self) -> None:
        """Take a step along the gradients, and forget them."""
        moved = [place for place, one in enumerate(self._parameters) if one.grad is not None]

        def of(tensors: list[Any]) -> list[Tensor]:
            return [tensors[place] for place in moved]

        with torch.no_grad():
            adamw(
                of(self._parameters),
                of([parameter.grad for parameter in self._parameters]),
                of(self._mean),
                of(self._square),
                [],
                of(self._steps),
                fused=True,
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=self._learning_rate,
                weight_decay=self._weight_decay,
                eps=_EPSILON,
                maximize=False,
            )
        self.forget()

    def forget(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def select(self, replicates: Tensor) -> None:
        """Keep these replicates, numbers or a mask of them, of the parameters, too."""
        for parameter in self._parameters:
            parameter.data = parameter.data[replicates]
        self._mean = [values[replicates] for values in self._mean]
        self._square = [values[replicates] for values in self._square]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return all that a later step depends on, but for the parameters."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Go on from a state of the same parameters."""
        self._mean, self._square, self._steps = (
            [
                value.to(parameter.device)
                for value, parameter in zip(state[name], self._parameters, strict=True)
            ]
            for name in ("mean", "square", "steps")
        )
