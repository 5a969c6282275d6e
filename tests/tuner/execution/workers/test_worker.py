"""A worker trains on what it was given, or not at all; what it has trained it trains once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support import worlds
from tuner.execution.workers import worker
from tuner.execution.workers.worker import TrainOnRows, forget_parts, train_in_worker
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
from tuner.study.scoring.validation import ValidationFolds
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest, together

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


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Has a part trained as one of a study, and keeps what takes no second, too."""
    monkeypatch.setattr("tuner.models.training.checkpoint._WORTH_KEEPING", 0.0)

    def trained(request):
        study = (STUDY.data, STUDY.training, STUDY.test_rows)
        return train_in_worker(request, *study, threads=1, checkpoints=str(tmp_path))

    return trained


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_part_that_has_ended_is_not_trained_again_after_a_kill(kept, tmp_path, monkeypatch):
    request = replace(REQUEST, phase="confirm", number=1, seeds=(1, 2, 3))
    parts = [request.part((1, 2)), request.part((3,))]
    whole = kept(request)
    assert files(tmp_path) == []
    first = kept(parts[0])
    assert files(tmp_path) == ["confirm-1-1/outcome-0-2.npz"]
    again = kept(replace(parts[0], strength=0.25))  # the number was another λ's
    assert again.strength == 0.25
    first = kept(parts[0])
    with monkeypatch.context() as patched:
        patched.setattr("tuner.models.training.loop.train", None)
        told = kept(parts[0])
    for name in ("seeds", "predictions", "test_predictions", "curves", "weights", "together"):
        np.testing.assert_equal(getattr(told, name), getattr(first, name), err_msg=name)
    both = together([told, kept(parts[1])])
    for side in "ab":
        np.testing.assert_array_equal(both.predictions[side], whole.predictions[side])
    kept(replace(request, number=11).part((1,)))
    forget_parts(request, str(tmp_path))
    assert files(tmp_path) == ["confirm-11-1/outcome-0-1.npz"]


def test_a_part_that_fails_leaves_nothing_and_others_what_they_have(kept, tmp_path, monkeypatch):
    request = replace(REQUEST, seeds=(1, 2, 3))
    kept(request.part((1,)))

    def fails(*_, checkpoint, **__):
        checkpoint.save(2, {})
        raise FloatingPointError

    monkeypatch.setattr("tuner.models.training.loop.train", fails)
    with pytest.raises(FloatingPointError):
        kept(request.part((3,)))
    assert files(tmp_path) == ["search-0-1/outcome-0-1.npz"]


def test_requests_are_divided_by_their_folds_and_by_how_they_are_trained():
    def of(config, replicates):
        return 2 if config.hidden > 100 else replicates

    request = replace(REQUEST, seeds=(1, 2, 3, 4, 5))
    job = TrainOnRows(rows=(), config=TRAINING, train=train, part_size=of)
    assert [part.seeds for part in job.parts(request)] == [(1, 2), (3, 4), (5,)]
    assert {part.part_of for part in job.parts(request)} == {request.seeds}
    assert job.parts(replace(request, settings=(("hidden", 64),)))[0].seeds == request.seeds
    of_seed = {seed: seed % 2 for seed in request.seeds}
    nothing = np.zeros(0, np.int64)
    folds = ValidationFolds(count=2, numbers=nothing, validated=nothing, of_seed=of_seed)
    job = replace(job, validation_folds=folds)
    assert [part.seeds for part in job.parts(request)] == [(2, 4), (1, 3), (5,)]
    whole = TrainOnRows(rows=(), config=TRAINING, train=train)
    assert list(whole.parts(request)) == [request]
