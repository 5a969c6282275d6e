"""Own encoders are tried before the first trial: what is wrong with one is a sentence."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from tests.models.encoders import test_custom as custom
from tests.support import networks
from tests.support.networks import Mlp
from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.errors import EncoderModuleError
from tuner.models.preflight import check_own_encoders
from tuner.models.rows import TrainingData

BUILT = itertools.count()


class Refused(Mlp):
    """What it must not do is in the class that follows; `words` say so."""

    words: str


class Pair(Refused):
    words = "returns a tuple in training .* return the embeddings alone"

    def forward(self, x):
        return super().forward(x), x


class Lengths(Refused):
    words = r"is called as forward\(x\), but missing a required argument: 'lengths'"

    def forward(self, x, lengths):
        return super().forward(x)


class Narrow(Refused):
    words = r"gives \(32, 5\) .* of shape \(32, 6\) are wanted"

    def forward(self, x):
        return super().forward(x)[:, 1:]


class Squeezed(Refused):
    words = r"gives \(6,\) in evaluation on one row alone.* no squeeze"

    def forward(self, x):
        return super().forward(x).squeeze(0)


class Half(Refused):
    words = r"gives bfloat16 .*end forward with \.float\(\)"

    def forward(self, x):
        return super().forward(x).bfloat16()


class Logarithm(Refused):
    words = "gives NaN or infinite values in training"

    def forward(self, x):
        return super().forward(torch.log(x))


class InPlace(Refused):
    words = "changes its input in place"

    def forward(self, x):
        return super().forward(functional.relu_(x))


class Detached(Refused):
    words = "gives embeddings without a gradient"

    def forward(self, x):
        return super().forward(x).detach()


class RootOfZero(Refused):
    words = "gradients that are NaN or infinite"

    def forward(self, x):
        return super().forward(x) + (self.last.bias * 0).sum().sqrt()


class SmallBatches(Refused):
    words = "fails in training on a batch of 32 rows: ValueError: memory"

    def forward(self, x):
        if len(x) > 8:
            raise ValueError("memory")
        return super().forward(x)


class OnlyTrains(Refused):
    words = "fails in evaluation: AttributeError: .*no attribute 'mean'"

    def forward(self, x):
        return super().forward(x if self.training else x - self.mean)


class DropsAlways(Refused):
    words = r"answers the same rows twice in two ways.*F\.dropout\(x, p, self\.training\)"

    def forward(self, x):
        return super().forward(functional.dropout(x, 0.3))


class OfTheBatch(Refused):
    words = "by what other rows are in its batch"

    def forward(self, x):
        return super().forward(x - x.mean(0))


class OwnSeed(Refused):
    words = "is another one each time that it is built from the same seed: last.bias differs"

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        nn.init.constant_(self.last.bias, random.Random(next(BUILT)).random())


class OwnNoise(Refused):
    words = "trains in another way each time"

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.drawn = np.random.default_rng(next(BUILT))

    def forward(self, x):
        noise = torch.as_tensor(self.drawn.normal(size=x.shape), dtype=x.dtype)
        return super().forward(x + noise * self.training)


class Unsafe(Refused):
    words = "an extra state that cannot be kept without running code.*get_extra_state"

    def get_extra_state(self):
        return {"when": random.Random(0)}

    def set_extra_state(self, state):
        pass


class Branches(Refused):
    words = "cannot be exported.*without branches on values"

    def forward(self, x):
        hidden = super().forward(x)
        return hidden if bool(self.last.bias.sum() < 1e6) else 2 * hidden


class FixedSize(Refused):
    words = "once it is exported.*take the number of rows from x.shape|cannot be exported"

    def forward(self, x):
        ones = torch.ones(2, 1) if not self.training and len(x) == 2 else torch.ones(len(x), 1)
        return super().forward(x) * ones


class Locked(Refused):
    words = "cannot be copied.*hold nothing that copy.deepcopy refuses"

    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.generator = (row for row in range(3))


class MaskIgnored(Refused):
    words = r"is called as forward\(x, real\).*the data have a mask \(a_mask\)"

    def __init__(self, shape, embedding):
        super().__init__(shape[-1:], embedding)

    def forward(self, x):
        return super().forward(x.mean(1))


class Packed(nn.Module):
    words = "cannot be exported.*without packed sequences"

    def __init__(self, shape, embedding):
        super().__init__()
        self.net = nn.GRU(shape[-1], embedding, batch_first=True)

    def forward(self, x, real):
        steps = real.sum(1).cpu()
        packed = pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False)
        return self.net(packed)[1][0]


class Recurrent(Packed):
    """A mask that may be there, and is not needed."""

    def forward(self, x, real=None):
        return self.net(x)[1][0]


class Compiled(Mlp):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.first = torch.compile(self.first)


def compiled(shape, embedding):
    return torch.compile(Mlp(shape, embedding))


def data_of(shape, *, padded=False):
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 100)
    a = rng.normal(size=(100, *shape)) + y.reshape(-1, *[1] * len(shape))
    arrays = {"a": a.astype("f4"), "b": rng.normal(size=(100, 3)).astype("f4"), "y": y}
    if padded:
        arrays["a_mask"] = np.arange(shape[0]) < rng.integers(1, shape[0], 100)[:, None]
    return TrainingData.of(from_arrays(arrays))


FLAT, SEQUENCES = data_of((5,)), data_of((7, 3), padded=True)


def check(data, network):
    config = TrainingConfig(
        encoder_a=f"{network.__module__}:{network.__name__}",
        encoder_b="mlp",
        embedding=6,
        batch_size=32,
    )
    check_own_encoders(data, config, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("network", [*Refused.__subclasses__(), Packed], ids=lambda n: n.__name__)
def test_what_cannot_be_trained_or_registered_is_refused_in_a_sentence(network):
    data = SEQUENCES if network in (MaskIgnored, Packed) else FLAT
    with pytest.raises(EncoderModuleError, match=network.words) as caught:
        check(data, network)
    message = str(caught.value)
    assert message.startswith(f"encoder {__name__}:{network.__name__} of modality A ")
    assert ". Mend: " in message
    assert "\n" not in message


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [*networks.DETERMINISTIC, *networks.ALONE, *networks.RANDOM, custom.Lazy, Compiled, compiled],
    ids=lambda n: n.__name__,
)
def test_what_can_is_not(network):
    check(FLAT, network)


@pytest.mark.slow
@pytest.mark.parametrize("network", [custom.Masked, Recurrent], ids=lambda n: n.__name__)
def test_the_mask_is_handed_over(network):
    check(SEQUENCES, network)


def test_built_in_encoders_are_not_tried(monkeypatch):
    monkeypatch.setattr("tuner.models.preflight.Branch", None)
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp")
    check_own_encoders(FLAT, config, seed=0)


@pytest.mark.slow
def test_nothing_global_is_changed():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    check(FLAT, networks.NumpyDrawn)
    assert torch.equal(torch.rand(1), expected)
