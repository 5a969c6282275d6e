"""Ids that an encoder embeds reach it as they are; what is not embedded is standardised."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tuner.data import Split, from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.custom import embeds_ids
from tuner.models.errors import EncoderModuleError
from tuner.models.export import portable_encoder
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

WORDS, STEPS = 30, 9


class Bag(nn.Module):
    """The mean of embedded tokens, whatever type they come in."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.table = nn.Embedding(WORDS, 16)
        self.out = nn.Linear(16, embedding)

    def forward(self, x):
        return self.out(self.table(x.long()).mean(1))


class Strict(nn.Module):
    """Takes whole numbers alone, and has lazy layers."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WORDS, 16))
        self.out = nn.LazyLinear(embedding)

    def forward(self, x):
        return self.out(functional.embedding(x, self.weight).mean(1))


class Masked(Bag):
    def forward(self, x, real):
        shares = real.float() / real.sum(1, keepdim=True)
        return self.out((self.table(x[..., 0]) * shares[..., None]).sum(1))


class Places(nn.Module):
    """Embeds positions, and multiplies what is there."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.table = nn.Embedding(shape[0], 16)
        self.out = nn.Linear(math.prod(shape) + 16, embedding)

    def forward(self, x):
        where = self.table(torch.arange(x.shape[1])).mean(0).expand(len(x), -1)
        return self.out(torch.cat([x.flatten(1).float(), where], 1))


class Short(Bag):
    def __init__(self, shape, embedding):
        super().__init__(shape, embedding)
        self.table = nn.Embedding(WORDS - 3, 16)


def kind(network):
    return f"{__name__}:{network.__name__}"


def world(rows=400, *, padded=False, offset=0.0):
    """The label is whether word 7 or 8 comes first: their numbers tell nothing, their names do."""
    rng = np.random.default_rng(2)
    tokens = rng.integers(9, WORDS, size=(rows, STEPS)) + offset
    y = rng.integers(0, 2, rows)
    tokens[:, 0] = 7 + y + offset
    arrays = {"a": tokens, "b": rng.normal(size=(rows, 3)), "y": y}
    if padded:
        arrays["a"] = tokens[..., None]
        arrays["a_mask"] = np.arange(STEPS) < rng.integers(2, STEPS, rows)[:, None]
    return from_arrays(arrays, name="words")


def study(network, dataset):
    training = TrainingConfig(
        encoder_a=network if isinstance(network, str) else kind(network),
        encoder_b="mlp",
        epochs=12,
        batch_size=32,
        embedding=6,
        learning_rate=0.03,
    )
    return Study.of(StudySpec(training=training), dataset)


@pytest.mark.slow
@pytest.mark.parametrize("network", [Bag, Strict, Masked], ids=lambda n: n.__name__)
def test_they_are_learned_from_and_the_exported_encoder_takes_them(network):
    dataset = world(padded=network is Masked)
    asked = study(network, dataset)
    train_rows = dataset.indices(Split.TRAIN)
    assert asked.data.train.a.dtype == np.int64
    np.testing.assert_array_equal(asked.data.train.a, dataset.a.values[train_rows])
    asked.check_encoders()
    outcome = train(asked.data, asked.training, strength=0.0, seeds=[1], test=asked.test_rows)
    index = dataset.indices(Split.TEST)
    assert (outcome.test_predictions["a"][0] == dataset.y[index]).mean() > 0.95
    rows = dataset.a.values[index].copy()
    if dataset.a.mask is not None:
        rows[~dataset.a.mask[index]] = np.nan
    encoder = portable_encoder(outcome, asked.data, asked.training, modality="a")
    with torch.no_grad():
        _, probability = encoder(torch.from_numpy(rows))
    np.testing.assert_array_equal(probability.argmax(-1), outcome.test_predictions["a"][0])


@pytest.mark.parametrize(
    ("network", "offset", "expected"),
    [(Bag, 0, True), (Bag, 0.5, False), (Bag, -20, False), (Places, 0, False), (Short, 0, True)],
)
def test_what_is_embedded_is_seen_by_calling_it(network, offset, expected):
    side = world(40, offset=offset).a
    assert embeds_ids(kind(network), side, TrainingConfig(embedding=6)) == expected


def test_what_is_not_embedded_is_standardised():
    rows = study(Places, world()).data.train.a
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)


def test_a_table_that_is_too_short_is_named_before_the_first_trial():
    with pytest.raises(EncoderModuleError, match=f"ids from 0 to {WORDS - 1}, .* {WORDS} rows"):
        study(Short, world()).check_encoders()


@pytest.mark.integration
@pytest.mark.parametrize("architecture", ["BertConfig", "CLIPTextConfig"])
def test_a_pretrained_model_of_language_takes_ids(tmp_path, architecture):
    import transformers

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, architecture)(
        vocab_size=WORDS, intermediate_size=16, **small, **ends
    )
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    for padded in (False, True):
        asked = study(f"hf:{tmp_path}", world(60, padded=padded))
        assert asked.data.train.a.dtype == np.int64
        asked.check_encoders()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*")
def test_the_loaded_model_takes_ids_of_any_type_and_refuses_what_is_none(tmp_path):
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    from tuner.tracking.registered.encoder_model import example_rows, export_network, save_encoder

    dataset = world(60)
    asked = study(Bag, dataset)
    outcome = train(asked.data, asked.training, strength=0.0, seeds=[1], test=asked.test_rows)
    encoder = portable_encoder(outcome, asked.data, asked.training, modality="a")
    export_network(tmp_path / "network", encoder, example_rows(dataset, "a"), "a")
    logged = SimpleNamespace(artifact_location=str(tmp_path), source_run_id=None, model_id=None)
    save_encoder(tmp_path / "model", tmp_path / "network", encoder, dataset, "a", logged)
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    rows = dataset.a.values[:4].astype(np.int64)
    expected = model.predict(rows)["prediction"].tolist()
    for given in (rows.tolist(), rows.astype(np.float64), rows.astype(np.uint8)):
        assert model.predict(given)["prediction"].tolist() == expected
    for change, words in (
        (-rows, "row 0 .* holds a number that is no id"),
        (rows + 0.5, "row 0 .* whole numbers from 0"),
        (rows + WORDS, "an id that its table does not"),
    ):
        with pytest.raises(MlflowException, match=words):
            model.predict(change)


class Letters(nn.Module):
    """The mean of embedded bytes, of those that are real."""

    def __init__(self, shape, embedding):
        super().__init__()
        self.table = nn.Embedding(256, 16)
        self.out = nn.Linear(16, embedding)

    def forward(self, x, real):
        assert x.dtype == torch.int64
        assert real.shape == x.shape
        shares = real.float() / real.sum(1, keepdim=True)
        return self.out((self.table(x) * shares[..., None]).sum(1))


class Unmasked(Letters):
    def forward(self, x):
        return self.out(self.table(x).mean(1))


def captions(rows=400):
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, rows)
    texts = [f"{'zx'[name] * 3} {rng.integers(10 ** rng.integers(1, 9))}" for name in y]
    return from_arrays({"a": texts, "b": rng.normal(size=(rows, 3)), "y": y}, name="words")


def test_an_own_encoder_of_text_gets_its_bytes():
    dataset = captions()
    asked = study(Letters, dataset)
    assert asked.data.train.a.dtype == np.uint8
    asked.check_encoders()
    outcome = train(asked.data, asked.training, strength=0.0, seeds=[1], test=asked.test_rows)
    assert (outcome.test_predictions["a"][0] == asked.test_rows.target).mean() > 0.95


def test_one_that_takes_no_mask_is_refused_before_training():
    with pytest.raises(EncoderModuleError, match=r"define forward\(self, x, real\)"):
        study(Unmasked, captions()).check_encoders()
