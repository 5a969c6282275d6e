"""A worker trains on what it was given, or not at all."""

import pytest
import torch

from tests.support import worlds
from tuner.execution.workers import worker
from tuner.execution.workers.worker import train_in_worker
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

TRAINING = TrainingConfig(epochs=1, encoder_a="mlp", encoder_b="mlp")
STUDY = Study.of(StudySpec(training=TRAINING), worlds.null(0, rows=200))
REQUEST = TrialRequest(phase="search", number=0, strength=0.5, seeds=(1, 2))


def train(gpus):
    return train_in_worker(
        REQUEST, STUDY.data, STUDY.training, STUDY.test_rows, threads=1, checkpoints=None, gpus=gpus
    )


def test_without_gpus_it_is_the_cpu_whatever_the_machine_has(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert train(0).environment["device"] == "cpu"
    assert not torch.cuda.is_initialized()


def test_with_gpus_it_is_never_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"--gpus 0.5: torch"):
        train(0.5)


def test_the_device_reaches_training(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    monkeypatch.setattr(worker, "train_request", lambda *_, device, **__: asked.append(device))
    train(0.25)
    assert asked == [0.25, "cuda"]
