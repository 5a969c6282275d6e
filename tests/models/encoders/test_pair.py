"""Every kind of encoder: alone or stacked, padded or not, refused by name, exported."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.built_in.audio import AudioEncoder
from tuner.models.encoders.built_in.image import ConvolutionalEncoder, VisionTransformer
from tuner.models.encoders.built_in.ngrams import NgramEncoder
from tuner.models.encoders.built_in.sequence import SequenceEncoder
from tuner.models.encoders.custom import build_own_encoder
from tuner.models.encoders.kinds import KINDS, resolve
from tuner.models.encoders.replicated import Replicated
from tuner.models.errors import EncoderModuleError, UnsupportedShapeError
from tuner.models.export import portable_encoder
from tuner.models.rows import Scaling, TrainingData
from tuner.models.training.loop import train
from tuner.models.training.stacks import stack_size

TINY = TrainingConfig(
    encoder_b="mlp",
    sample_rate=4000,
    hidden=16,
    embedding=6,
    heads=2,
    depth=2,
    epochs=3,
    patience=3,
    batch_size=32,
    projection_width=5,
)
OWN = "tests.models.own_encoders"


class WholeNumbers(nn.Sequential):
    """Makes ids of any rows."""

    def forward(self, x):
        return super().forward((10 * x.abs()).long())


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def world(kind, rows=200, seed=0):
    """A data set whose modality A has the shape of a kind, with few labels missing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    arrays = {"b": (np.eye(3)[y] + rng.normal(size=(rows, 3))).astype(np.float32), "y": y}
    if kind == "transformer":
        lengths = rng.integers(2, 8, rows)
        arrays["a"] = (np.eye(3)[y][:, None] + rng.normal(size=(rows, 7, 3))).astype(np.float32)
        arrays["a_mask"] = np.arange(7) < lengths[:, None]
    elif kind in ("cnn", "vit"):
        arrays["a"] = rng.normal(size=(rows, 2, 9, 10)).astype(np.float32)
        arrays["a"][:, 0, :4] += y[:, None, None]
    elif kind.startswith("logmel"):
        pitch = np.array([200, 500, 1100])[y][:, None] * np.arange(600) / 4000
        wave = np.sin(2 * np.pi * pitch) + rng.normal(size=(rows, 600))
        arrays["a"] = wave[:, :, None].astype(np.float32)
        arrays["a_mask"] = np.arange(600) < rng.integers(300, 601, rows)[:, None]
    elif kind == "text":
        names = np.array(["cat", "dog", "cow"])[y][:, None]
        words = np.hstack([rng.choice([*"abcdef"], (rows, 4)), names])
        arrays["a"] = [" ".join(few) for few in words]
    elif kind == "tokens":
        arrays["a"] = rng.integers(4, 30, (rows, 7))
        arrays["a"][:, 1] = y + 1
        arrays["a_mask"] = np.arange(7) < rng.integers(2, 8, rows)[:, None]
    else:
        arrays["a"] = (np.eye(3)[y] + rng.normal(size=(rows, 3))).astype(np.float32)
    return from_arrays(arrays, name=kind)


def with_kind(kind, **changes):
    return TINY.model_copy(update={"encoder_a": kind} | changes)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_how_many_share_a_stack_changes_nothing_but_rounding(kind):
    """At a higher rate rounding grows without bound: a vit is chaotic at .05."""
    dataset = world(kind, rows=120)
    noise = np.random.default_rng(1).permutation(dataset.y)  # it is soon overfitted
    data = TrainingData.of(replace(dataset, y=noise))
    config = with_kind(kind, epochs=12, patience=1, learning_rate=0.02)
    outcomes = [train(data, config, strength=0.7, seeds=range(3), stack=k) for k in (1, 2, 3)]
    ended = np.isfinite(outcomes[0].curves["train_loss_a"]).sum(1)
    assert len(set(ended)) > 1  # some went on while others were out of patience
    assert ended.min() < config.epochs
    for stacked in outcomes[1:]:
        for name, curve in outcomes[0].curves.items():
            np.testing.assert_allclose(stacked.curves[name], curve, rtol=1e-7, equal_nan=True)
        for side in ("a", "b"):
            np.testing.assert_array_equal(stacked.predictions[side], outcomes[0].predictions[side])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SequenceEncoder(3, TINY), (5, 3)),
        (lambda: VisionTransformer((2, 9, 10), TINY), (2, 9, 10)),
        (lambda: ConvolutionalEncoder(2, TINY), (2, 9, 10)),
        (lambda: WholeNumbers(NgramEncoder("text", TINY)), (9,)),
        (lambda: WholeNumbers(NgramEncoder("tokens", TINY)), (9,)),
    ],
)
def test_replicates_are_the_modules_that_they_were_made_of(make, shape):
    generators = [torch.Generator().manual_seed(k) for k in range(3)]
    stacked = Replicated(make, generators)
    x = torch.randn(3, 4, *shape)
    together = stacked(x)
    for k in range(3):
        plain = stacked.unstack(k)
        torch.testing.assert_close(together[k], plain(x[k]))
        # A row's embedding depends on that row alone.
        torch.testing.assert_close(plain(x[k, :1]), plain(x[k])[:1])
    assert not torch.allclose(together[0], stacked(x.roll(1, 0))[1])


def test_padding_has_no_influence_and_neither_has_its_length():
    encoder = SequenceEncoder(3, TINY)
    x = torch.randn(4, 6, 3)
    real = torch.arange(6) < torch.tensor([6, 3, 1, 5])[:, None]
    embedded = encoder(x, real)
    garbage = torch.where(real[:, :, None], x, torch.full_like(x, 1e3))
    torch.testing.assert_close(encoder(garbage, real), embedded)
    longer = torch.cat([x, torch.randn(4, 9, 3)], 1)
    more = torch.cat([real, torch.zeros(4, 9, dtype=torch.bool)], 1)
    torch.testing.assert_close(encoder(longer, more), embedded)
    torch.testing.assert_close(encoder(x[1:2, :3]), embedded[1:2])


def test_order_matters_to_a_transformer_and_place_to_a_vit():
    x = torch.randn(4, 6, 3)
    encoder = SequenceEncoder(3, TINY)
    assert not torch.allclose(encoder(x), encoder(x.flip(1)), atol=1e-4)
    images = torch.randn(4, 2, 8, 8)
    assert not torch.allclose(
        (vit := VisionTransformer((2, 8, 8), TINY))(images), vit(images.roll(4, 2)), atol=1e-4
    )


@pytest.mark.integration
@pytest.mark.parametrize("kind", [*KINDS, f"{OWN}:Pooling"])
def test_what_is_exported_answers_raw_rows_as_training_did(kind):
    dataset = world(kind)
    data = TrainingData.of(dataset)
    test_rows = Scaling.of(dataset).rows(dataset, 2)
    asked = with_kind(kind, epochs=12, patience=12, learning_rate=1e-2)
    config = resolve(asked, data.shapes, 100, (dataset.a.holds, "numbers"))
    outcome = train(data, config, strength=0.5, seeds=[1, 2], test=test_rows)
    raw = dataset.a.values[dataset.indices(2)].astype(np.float32)
    if dataset.a.mask is not None:
        raw[~dataset.a.mask[dataset.indices(2)]] = np.nan
    encoder = portable_encoder(outcome, data, config, modality="a")
    exported = torch.export.export(
        encoder,
        (torch.from_numpy(raw[:2]),),
        dynamic_shapes=({0: torch.export.Dim("rows", min=1)},),
    ).module()
    with torch.no_grad():
        _, probability = exported(torch.from_numpy(raw))
    np.testing.assert_array_equal(
        probability.argmax(-1).numpy(), outcome.test_predictions["a"][outcome.best_replicate("a")]
    )
    truth = dataset.y[dataset.indices(2)]
    assert (outcome.test_predictions["a"] == truth).mean() > 0.45  # a third by chance


@pytest.mark.parametrize(
    ("shape", "rows", "kind"),
    [
        ((5,), 100, "mlp"),
        ((7, 3), 100, "transformer"),
        ((3, 32, 32), 10**6, "cnn"),
        ((3, 224, 224), 1000, "cnn"),
        ((3, 224, 224), 50_000, "vit"),
    ],
)
def test_auto_chooses_by_shape_and_size(shape, rows, kind):
    resolved = resolve(TrainingConfig(), (shape, (4,)), rows)
    assert (resolved.encoder_a, resolved.encoder_b) == (kind, "mlp")
    assert resolve(resolved, (shape, (4,)), rows) == resolved


@pytest.mark.parametrize(
    ("rows", "options", "epochs"),
    [
        (12_900, {}, 100),  # 100 steps an epoch: as ever
        (12_928, {}, 99),
        (70_000, {}, 18),  # 546
        (70_000, {"max_steps": 60_000}, 100),
        (70_000, {"batch_size": 1024}, 100),
        (10**7, {}, 5),
        (10**7, {"epochs": 2}, 2),
        (50, {}, 100),  # a batch of all rows
    ],
)
def test_there_are_no_more_epochs_than_gradient_steps_are_enough_for(rows, options, epochs):
    resolved = resolve(TrainingConfig(**options), ((5,), (4,)), rows)
    assert resolved.epochs == epochs
    assert resolve(resolved, ((5,), (4,)), rows) == resolved


@pytest.mark.parametrize(
    ("kind", "shape", "changes", "words"),
    [
        ("mlp", (7, 3), {}, r"modality a: the mlp .* has shape \(7, 3\): flatten it"),
        ("transformer", (7,), {}, "modality a: the transformer .* with a time axis"),
        ("cnn", (7, 3), {}, "modality a: the cnn .* save it as images"),
        ("vit", (7,), {}, "modality a: the vit encoder takes images"),
        ("cnn", (1, 6, 40), {"depth": 4}, "4 halvings leave nothing of it: use --depth 2"),
        ("vit", (1, 3, 40), {}, "smaller than a patch of 4 pixels"),
        ("transformer", (7, 3), {"hidden": 15}, "width 15 is no multiple of 2 heads"),
        ("logmel-cnn", (7, 3), {}, r"save it as array.reshape\(rows, samples, 1\)"),
        ("logmel-cnn", (90, 1), {}, "shorter than a frame of 25 ms at --sample-rate 4000"),
        ("logmel-cnn", (200, 1), {"depth": 3}, "3 halvings leave nothing of its 3 frames"),
        ("auto", (2, 3, 4, 5), {}, "modality a: no encoder takes rows of shape"),
        ("text", (7,), {}, "the text encoder takes text, .* numbers: use --encoder-a auto"),
        ("tokens", (7, 3), {}, "the tokens encoder takes ids of tokens"),
    ],
)
def test_shapes_are_refused_by_name(kind, shape, changes, words):
    with pytest.raises(UnsupportedShapeError, match=words):
        resolve(with_kind(kind, **changes), (shape, (4,)), 100)


@pytest.mark.parametrize("holds", ["text", "tokens"])
def test_language_has_encoders_of_its_own(holds):
    held = (holds, "numbers")
    assert resolve(TrainingConfig(), ((9,), (4,)), 100, held).encoder_a == holds
    with pytest.raises(UnsupportedShapeError, match=f"use --encoder-a {holds}, or hf:FOLDER"):
        resolve(with_kind("mlp"), ((9,), (4,)), 100, held)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent_module:Net", "cannot import 'absent_module'"),
        (f"{OWN}:Absent", "has no 'Absent'"),
        (f"{OWN}:crashing", "raised RuntimeError: no weights found"),
        (f"{OWN}:NOT_A_MODULE", "a torch.nn.Module is wanted|raised TypeError"),
    ],
)
def test_what_builds_no_encoder_is_refused_by_name(kind, words):
    with pytest.raises(EncoderModuleError, match=words):
        build_own_encoder(kind, (5,), TINY)


def test_ones_own_encoder_gives_the_same_twice():
    data = TrainingData.of(world("mlp"))
    config = with_kind(f"{OWN}:Pooling")
    first, second = (train(data, config, strength=0.5, seeds=[3, 4]) for _ in range(2))
    np.testing.assert_array_equal(
        first.curves["validation_loss_a"], second.curves["validation_loss_a"]
    )


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [
        ("transformer", "cpu", 1),
        ("transformer", "cuda", 12),
        ("mlp", "cpu", 12),
        ("m:N", "cuda", 1),
    ],
)
def test_what_shares_a_stack(kind, device, expected):
    how = {"shapes": ((6,), (6,)), "on_cpu": device == "cpu"}
    assert stack_size(with_kind(kind), rows=999, replicates=12, **how) == expected


@pytest.mark.parametrize("kind", ["Net", "a b:c", "x:", "resnet", "../x:y"])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(ValueError, match="is none of auto, mlp"):
        TrainingConfig(encoder_a=kind)


def test_shapes_without_values_pass_through():
    """The encoders hold no assumption about a device: shapes alone flow through on `meta`."""
    for module, shape in (
        (SequenceEncoder(3, TINY), (5, 3)),
        (VisionTransformer((2, 9, 10), TINY), (2, 9, 10)),
        (ConvolutionalEncoder(2, TINY), (2, 9, 10)),
        (AudioEncoder("transformer", TINY), (600, 1)),
        (AudioEncoder("cnn", TINY), (600, 1)),
    ):
        assert module.to("meta")(torch.empty(4, *shape, device="meta")).shape == (4, 6)


def test_masks_follow_their_rows():
    data = TrainingData.of(world("transformer"))
    labelled = replace(data.train, is_labelled=np.arange(data.train.count) % 2 == 0).labelled()
    np.testing.assert_array_equal(labelled.a_real, data.train.a_real[::2])
    assert (data.train.a[~data.train.a_real] == 0).all()
