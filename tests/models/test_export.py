"""The exported encoder is the one that was trained, whatever its network is made of."""

import numpy as np
import pytest
import torch

from tests.support import networks
from tuner.data import Split, from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.export import portable_encoder
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

pytestmark = pytest.mark.integration
SEEDS = (3, 1, 2)
BUILT_IN = {
    "mlp": (5,),
    "transformer": (6, 3),
    "cnn": (2, 8, 8),
    "vit": (2, 8, 8),
    "logmel-transformer": (800, 1),
    "logmel-cnn": (800, 1),
}


def world(shape, rows=150, *, values=False):
    """Rows of classes, or values, that A knows a little of, so that patience ends soon."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, rows)
    a = rng.normal(size=(rows, *shape)) + 0.3 * y.reshape(-1, *[1] * len(shape))
    b = rng.normal(size=(rows, 4)) + 0.3 * y[:, None]
    y = y + rng.normal(size=rows) if values else y
    return from_arrays({"a": a.astype("f4"), "b": b.astype("f4"), "y": y})


def trained(kind, dataset, stack, **changes):
    """Train with a patience that ends for some replicates before others, and for all early."""
    data = TrainingData.of(dataset)
    config = TrainingConfig(
        encoder_a=kind, encoder_b="mlp", hidden=8, embedding=6, depth=2, heads=2, sample_rate=4000
    ).model_copy(
        update={"epochs": 12, "patience": 2, "batch_size": 32, "learning_rate": 0.03} | changes
    )
    outcome = train(
        data,
        config,
        strength=0.5,
        seeds=SEEDS,
        test=data.scaling.rows(dataset, Split.TEST),
        stack=stack,
    )
    return dataset, data, config, outcome


def assert_exported_as_trained(dataset, data, config, outcome):
    rows = dataset.indices(Split.TEST, labelled_only=True)
    for side in ("a", "b"):
        encoder = portable_encoder(outcome, data, config, modality=side)
        with torch.no_grad():
            _, answer = encoder(torch.from_numpy(np.array(getattr(dataset, side).values[rows])))
        best = outcome.best_replicate(side)
        predicted = outcome.test_predictions[side][best]
        np.testing.assert_array_equal(answer.numpy().argmax(-1), predicted)


def custom(network):
    return f"{networks.__name__}:{network.__name__}"


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker: sums of several threads round differently, and take longer."""
    prepare_process()


@pytest.mark.parametrize("stack", [1, 2, len(SEEDS)])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_kind_is_exported_as_trained(kind, stack):
    result = trained(kind, world(BUILT_IN[kind]), stack, epochs=30, patience=1)
    stopped = np.isnan(result[-1].curves["validation_loss_a"][:, -1])
    assert stopped.any()
    assert_exported_as_trained(*result)


@pytest.mark.parametrize("stack", [1, 2, len(SEEDS)])
@pytest.mark.parametrize("network", networks.DETERMINISTIC, ids=lambda n: n.__name__)
def test_own_networks_are_exported_as_trained(network, stack):
    assert_exported_as_trained(*trained(custom(network), world((5,)), stack))


@pytest.mark.parametrize("network", networks.ALONE, ids=lambda n: n.__name__)
def test_networks_that_are_not_stacked_are_exported_as_trained(network):
    assert_exported_as_trained(*trained(custom(network), world((5,)), None))


@pytest.mark.parametrize("network", networks.RANDOM, ids=lambda n: n.__name__)
def test_networks_that_draw_are_exported_as_trained_and_train_alike_twice(network):
    once, again = (trained(custom(network), world((5,)), None) for _ in range(2))
    assert_exported_as_trained(*once)
    for name, curve in once[-1].curves.items():
        np.testing.assert_array_equal(curve, again[-1].curves[name])


@pytest.mark.parametrize("network", networks.DETERMINISTIC, ids=lambda n: n.__name__)
def test_a_stack_trains_own_networks_as_one_at_a_time_does(network):
    """Tensors that do not learn are each replicate's own, and stay so when others retire."""
    alone, together = (
        trained(custom(network), world((5,)), stack)[-1] for stack in (1, len(SEEDS))
    )
    for name, curve in alone.curves.items():
        np.testing.assert_allclose(together.curves[name], curve, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("stack", [1, 2])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_what_bfloat16_trained_is_measured_as_it_is_exported(kind, stack):
    """Values, which show each rounding: those of bfloat16 are a thousand times as large."""
    dataset = world(BUILT_IN[kind], values=True)
    *_, config, full = trained(kind, dataset, stack, precision="float32")
    _, data, config, outcome = trained(kind, dataset, stack, precision="bfloat16")
    losses = outcome.curves["validation_loss_a"][:, 0]
    np.testing.assert_allclose(losses, full.curves["validation_loss_a"][:, 0], rtol=0.2)
    assert not np.array_equal(losses, full.curves["validation_loss_a"][:, 0])
    rows = dataset.indices(Split.TEST, labelled_only=True)
    for side in ("a", "b"):
        encoder = portable_encoder(outcome, data, config, modality=side)
        with torch.no_grad():
            _, answer = encoder(torch.from_numpy(np.array(getattr(dataset, side).values[rows])))
        measured = outcome.test_predictions[side][outcome.best_replicate(side)]
        np.testing.assert_allclose(answer, measured, rtol=1e-5, atol=1e-5 * np.ptp(measured))


def test_offsets_of_features_and_targets_reach_the_exported_encoder():
    """Seconds since 1970 in both: in float32 all would be one number."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=150)
    a = np.stack([1.7e9 + 60 * z, rng.normal(size=150)], 1)
    dataset = from_arrays({"a": a, "b": rng.normal(size=(150, 3)), "y": 1.7e9 + 15 * z})
    _, data, config, outcome = trained("mlp", dataset, None, epochs=60, patience=60)
    rows = dataset.indices(Split.TEST)
    encoder = portable_encoder(outcome, data, config, modality="a")
    with torch.no_grad():
        _, answer = encoder(torch.from_numpy(np.array(dataset.a.values[rows])))
    measured = outcome.test_predictions["a"][outcome.best_replicate("a")]
    np.testing.assert_allclose(answer.numpy(), measured, rtol=0, atol=0.01)
    errors = np.abs(answer.numpy() - dataset.y[rows])
    guess = np.abs(np.median(dataset.y[dataset.indices(Split.TRAIN)]) - dataset.y[rows])
    assert errors.mean() < guess.mean() / 2


@pytest.mark.parametrize("far", [1e4, 1e7])
def test_outliers_of_targets_leave_training_better_than_a_guess(far):
    rng = np.random.default_rng(5)
    z = rng.normal(size=(300, 2))
    y = z[:, 0] + 0.1 * rng.normal(size=300)
    y[::60] = far
    dataset = from_arrays({"a": z, "b": rng.normal(size=(300, 3)), "y": y})
    *_, outcome = trained("mlp", dataset, None, epochs=40, patience=40)
    rows = dataset.indices(Split.TEST)
    near = dataset.y[rows] < far
    measured = outcome.test_predictions["a"][outcome.best_replicate("a")][near]
    truth = dataset.y[rows][near]
    guess = np.median(dataset.y[dataset.indices(Split.TRAIN)])
    assert np.abs(measured - truth).mean() < np.abs(guess - truth).mean() / 2
