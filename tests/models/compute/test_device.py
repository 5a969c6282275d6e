"""The one place that knows about devices."""

import os
import warnings
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from tuner.data import from_arrays
from tuner.models.compute import device as devices
from tuner.models.compute.device import (
    choose_device,
    described,
    deterministic,
    given_device,
    mixed_precision,
    send,
)
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
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


CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def card(monkeypatch):
    """A machine that says it has a GPU, and what is asked of it."""
    asked = {}

    class Properties:
        name, major, minor, total_memory = "NVIDIA T4", 7, 5, 2**34

    def capable(including_emulation=True):
        return Properties.major >= 8 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", capable)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: Properties.name)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part: asked.update(part=part)
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    Properties.asked = asked
    return Properties


def test_a_process_that_was_given_no_gpu_hides_those_that_are_there(monkeypatch, card):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert given_device(0) == CPU
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert card.asked == {}


@pytest.mark.parametrize(("gpus", "part"), [(0.25, 0.25), (1, 1.0), (2.0, 1.0)])
def test_a_process_takes_no_more_of_a_gpu_than_it_was_given(card, gpus, part):
    assert given_device(gpus) == GPU
    assert card.asked == {"part": part}


@pytest.mark.parametrize(
    ("cuda", "driver", "visible", "words"),
    [
        (None, "580.95.05", None, "build for CPUs alone, and the NVIDIA driver here is 580.95.05"),
        (None, None, None, "build for CPUs alone, and there is no NVIDIA driver here"),
        ("13.0", None, None, "built for CUDA 13.0, but no NVIDIA driver is loaded"),
        ("13.0", "535.1.2", "", "CUDA_VISIBLE_DEVICES hides every GPU"),
        ("13.0", "535.1.2", "0", "driver 535.1.2 shows it no GPU.*too old.*vanished.*nvidia-smi"),
    ],
)
def test_a_gpu_that_is_not_there_is_never_replaced_by_the_cpu(
    monkeypatch, tmp_path, cuda, driver, visible, words
):
    file = tmp_path / "version"
    if driver is not None:
        first = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Wed Mar 1 2026"
        file.write_text(f"{first}\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n")
    monkeypatch.setattr(devices, "_DRIVER", file)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(DeviceError, match=rf"--gpus 0.5: torch \S+ is .*{words}"):
        given_device(0.5)


def test_apples_gpus_are_refused(monkeypatch):
    with pytest.raises(DeviceError, match="leave --gpus out"):
        choose_device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="Apple"):
        given_device(1)


@pytest.mark.parametrize(("major", "precision"), [(7, "float32"), (8, "bfloat16")])
def test_bfloat16_is_used_where_the_hardware_has_it(card, major, precision):
    card.major = major
    assert described(GPU, "auto", [])["precision"] == precision
    assert mixed_precision(GPU, "auto")._enabled == (precision == "bfloat16")


def test_bfloat16_is_not_emulated(card):
    with pytest.raises(DeviceError, match=r"--precision bfloat16: NVIDIA T4 has none"):
        mixed_precision(GPU, "bfloat16")


def test_an_outcome_says_where_and_how_it_was_computed(card):
    words = described(GPU, "float32", [])
    assert words == {
        "device": "cuda",
        "precision": "float32",
        "torch": torch.__version__,
        "deterministic": "yes",
        "gpu": "NVIDIA T4",
        "cuda": "13.0",
        "tf32": "off",
        "graphs": "yes",
    }
    assert described(GPU, "auto", [], ["why", "why not"])["graphs"] == "no: why"
    assert "gpu" not in described(CPU, "auto", [])
    assert described(GPU, "auto", ["put_"])["deterministic"] == "no: put_ cannot be"


def test_a_gpu_computes_by_deterministic_algorithms_and_says_what_has_none(monkeypatch):
    """The flags are torch's own, for every device."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with deterministic(GPU) as used:
            assert torch.are_deterministic_algorithms_enabled()
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
            flags = torch.backends.cudnn
            assert (flags.deterministic, flags.benchmark, flags.allow_tf32) == (True, False, False)
            for _ in range(3):
                torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
            warnings.warn("another", UserWarning, stacklevel=1)
    assert used == ["put_"]
    assert [str(one.message) for one in others] == ["another"]
    assert before == (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
    )


def test_batches_from_memory_go_to_a_gpu_from_pinned_memory():
    """Of which a copy does not wait; a stand-in, because there is no GPU."""
    values = MagicMock(device=CPU)
    assert send(values, GPU) is values.pin_memory().to(GPU, non_blocking=True)
    there = torch.ones(2)
    assert send(there, CPU) is there


def test_a_cpu_needs_no_other_algorithms():
    with deterministic(CPU) as used:
        assert not torch.are_deterministic_algorithms_enabled()
    assert used == []


def test_training_says_where_it_was(data):
    outcome = train(data, TINY, strength=0.0, seeds=[1])
    assert outcome.environment == described(CPU, "auto", [])
    assert outcome.environment["device"] == "cpu"
    again = type(outcome).from_bytes(outcome.to_bytes())
    assert again.environment == outcome.environment
