"""Own encoders as researchers write them, of every kind that once was registered wrongly."""

import math
import random

import numpy as np
import torch
from torch import nn


class Mlp(nn.Module):
    """Two layers; the others change one thing about it."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.first = nn.Linear(math.prod(shape), 16)
        self.last = nn.Linear(16, embedding)

    def forward(self, x):
        return self.last(torch.relu(self.first(x.flatten(1))))


class FrozenLayer(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.first.requires_grad_(False)


class FrozenParameter(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.angle = nn.Parameter(torch.randn(embedding), requires_grad=False)

    def forward(self, x):
        return super().forward(x) + 3 * self.angle


class AllFrozen(Mlp):
    """The head alone learns."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.requires_grad_(False)


class Tied(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.one, self.other = nn.Linear(16, 16), nn.Linear(16, 16)
        self.other.weight = self.one.weight

    def forward(self, x):
        hidden = torch.relu(self.one(torch.relu(self.first(x.flatten(1)))))
        return self.last(torch.relu(self.other(hidden)))


class Shared(Mlp):
    """One module under two names."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.inner = nn.Linear(16, 16)
        self.blocks = nn.ModuleList([self.inner, self.inner])

    def forward(self, x):
        hidden = torch.relu(self.first(x.flatten(1)))
        for block in self.blocks:
            hidden = torch.relu(block(hidden))
        return self.last(hidden)


class Buffered(Mlp):
    """Buffers that are stored and that are not, one that counts, and one that is None."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.register_buffer("stretch", 1 + torch.rand(embedding))
        self.register_buffer("shift", torch.randn(embedding), persistent=False)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("nothing", None)

    def forward(self, x):
        if self.training:
            self.calls += 1
        growth = 1 + 0.01 * self.calls
        return super().forward(x) * self.stretch * growth + self.shift


class Attribute(Mlp):
    """A tensor that is neither parameter nor buffer."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.shift = 3 * torch.randn(embedding)

    def forward(self, x):
        return super().forward(x) + self.shift


class Averaged(Mlp):
    """A frozen copy that follows the trained one, as a teacher does."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.teacher = nn.Linear(16, embedding).requires_grad_(False)

    def forward(self, x):
        hidden = torch.relu(self.first(x.flatten(1)))
        if self.training:
            with torch.no_grad():
                self.teacher.weight.mul_(0.9).add_(self.last.weight.detach(), alpha=0.1)
        return self.last(hidden) + self.teacher(hidden)


class Normalised(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.first = nn.Linear(math.prod(shape), 16, bias=False)  # its gradient would be noise
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x.flatten(1)))))


class Parametrised(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.first = nn.utils.parametrizations.weight_norm(self.first)


class Dropped(Mlp):
    def forward(self, x):
        hidden = torch.relu(self.first(x.flatten(1)))
        return self.last(nn.functional.dropout(hidden, 0.5, self.training))


class NumpyDrawn(Mlp):
    """Weights and noise of NumPy's and Python's own generators."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        with torch.no_grad():
            drawn = np.random.randn(*self.first.weight.shape)  # noqa: NPY002  # as people do
            self.first.weight.copy_(torch.from_numpy(drawn))
            self.first.bias.fill_(random.random())

    def forward(self, x):
        if self.training:
            noise = np.random.randn(*x.shape)  # noqa: NPY002  # as people do
            x = x + 0.1 * torch.as_tensor(noise.astype("float32"))
        return super().forward(x)


class Remembers(Mlp):
    """Counts in Python, and says so by `get_extra_state`."""

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.calls = 0

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]

    def forward(self, x):
        self.calls += self.training
        return super().forward(x) * (1 + 0.01 * self.calls)


DETERMINISTIC = (
    Mlp,
    FrozenLayer,
    FrozenParameter,
    AllFrozen,
    Tied,
    Shared,
    Buffered,
    Attribute,
    Averaged,
    Normalised,
)
ALONE = (Parametrised, Remembers)  # what torch stacks slowly, or not at all
RANDOM = (Dropped, NumpyDrawn)
