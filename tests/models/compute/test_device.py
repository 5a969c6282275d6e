"""The one place that knows about devices."""

import os

import numpy as np
import pytest
import torch

from tuner.data import from_arrays
from tuner.models.compute.device import choose_device, hide_gpus, mixed_precision
from tuner.models.config import TrainingConfig
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

TINY = TrainingConfig(
    encoder_a="mlp", encoder_b="mlp", hidden=32, embedding=8, epochs=6, patience=6, batch_size=32
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    side = (y[:, None] + rng.normal(size=(300, 6))).astype(np.float32)
    return TrainingData.of(from_arrays({"a": side, "b": side[:, ::-1], "y": y}, name="x"))


def test_auto_is_what_this_process_sees():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("meta").type == "meta"


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_products_on_a_cpu_are_in_full_precision_unless_asked(precision, dtype):
    x = torch.ones(2, 2)
    with mixed_precision(torch.device("cpu"), precision):
        assert (x @ x).dtype == dtype


def test_mixed_precision_trains_to_about_the_same_losses_with_weights_in_float32(data):
    full, mixed = (
        train(
            data,
            TINY.model_copy(update={"precision": precision}),
            strength=0.5,
            seeds=[1, 2],
            test=data.validation,
        )
        for precision in ("float32", "bfloat16")
    )
    for name, curve in full.curves.items():
        np.testing.assert_allclose(mixed.curves[name], curve, rtol=0.1)
        if "loss" in name:  # as many rows may be right
            assert not np.array_equal(mixed.curves[name], curve)
    assert all(values.dtype == np.float32 for values in mixed.weights["a"].values())


def test_a_process_that_was_given_no_gpu_hides_those_that_are_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert choose_device() == torch.device("cpu")
