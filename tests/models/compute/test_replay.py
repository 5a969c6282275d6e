"""Steps that are replayed: the same training, or none of them is. Recorders are stand-ins."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.encoders.test_pair import OWN, with_kind
from tests.models.encoders.test_pair import world as world_of
from tests.models.training.test_loop import CONFIG, world
from tuner.models.compute import replay
from tuner.models.compute.replay import CudaRecorder, Replay, recorder
from tuner.models.encoders.kinds import KINDS
from tuner.models.errors import DeviceError
from tuner.models.rows import TrainingData
from tuner.models.training import loop, objective
from tuner.models.training.loop import _StackTraining, train

CPU, META = torch.device("cpu"), torch.device("meta")
CAPTURE = "CUDA error: operation not permitted when stream is capturing\nmore"


class Recorded:
    """Takes the step that it was given, where a graph would: into the same memory each time."""

    share = 0.0

    def __init__(self, device=CPU):
        self.warmed = self.replayed = 0

    def warm(self, step):
        self.warmed += 1
        measured = step()
        self.measured = torch.zeros_like(measured)
        return measured, self.share

    def record(self, step):
        self.step = step
        return self.measured

    def replay(self):
        self.replayed += 1
        self.measured.copy_(self.step())


class Unable(Recorded):
    """Cannot record, and notices in the middle of a step."""

    def record(self, step):
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(objective.Objective, "_task_loss", self.refuse)
            return step()

    def refuse(self, *_: object) -> Tensor:
        raise torch.AcceleratorError(CAPTURE)


class UnableLate(Recorded):
    """Leaves gradients behind."""

    def record(self, step):
        def refuse(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(objective.torch, "stack", refuse)  # after the gradients
            return step()


class Wrong(Recorded):
    """Measures something else."""

    def replay(self):
        super().replay()
        self.measured += 0.5


class Still(Recorded):
    """Changes nothing."""

    def replay(self):
        self.replayed += 1


class Failing(Recorded):
    """Fails once the step is taken."""

    def replay(self):
        super().replay()
        raise RuntimeError("no such graph")


class Large(Recorded):
    share = 0.2


@pytest.fixture
def recorders(monkeypatch):
    """Has trainings on a CPU record their steps by some kind of recorder; returns those made."""

    def use(kind):
        made = []

        def of(device):
            made.append(kind(device))
            return made[-1]

        monkeypatch.setattr(loop, "recorder", of)
        return made

    return use


def reasons(monkeypatch):
    """What trainings say of why they replay no step."""
    told = []
    theirs = loop.described

    def described(device, precision, nondeterministic, not_replayed):
        told.extend(not_replayed)
        return theirs(device, precision, nondeterministic, not_replayed)

    monkeypatch.setattr(loop, "described", described)
    return told


def trained(config=CONFIG, **options):
    data = world()
    return train(data, config, strength=0.7, seeds=(4, 5, 6), test=data.validation, **options)


def assert_same_bits(one, other):
    assert one.steps == other.steps
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(curve, other.curves[name])
    for name, weights in one.weights.items():
        for tensor, values in weights.items():
            np.testing.assert_array_equal(values, other.weights[name][tensor])


@pytest.mark.parametrize("patience", [2, 99])
def test_replayed_steps_train_the_same(recorders, monkeypatch, patience):
    config = CONFIG.model_copy(update={"epochs": 12, "patience": patience})
    expected = trained(config)
    made, told = recorders(Recorded), reasons(monkeypatch)
    assert_same_bits(trained(config), expected)
    assert told == []
    ended = np.isfinite(expected.curves["train_loss_a"]).sum(1)
    used = [each for each in made if each.replayed > 1]
    assert len(used) >= len(set(ended)) - (patience == 2)  # anew for each size of the stack
    assert all(each.warmed == 3 for each in used)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Unable, "AcceleratorError: CUDA error: operation not permitted when stream is capturing"),
        (UnableLate, "OutOfMemoryError: CUDA out of memory"),
        (Wrong, "a step that is replayed does something else"),
        (Still, "a step that is replayed does something else"),
        (Failing, "RuntimeError: no such graph"),
        (Large, "a step takes 20% of the memory"),
    ],
)
def test_what_cannot_be_replayed_is_trained_as_it_is(recorders, monkeypatch, kind, reason):
    config = CONFIG.model_copy(update={"epochs": 4})
    expected = trained(config)
    made, told = recorders(kind), reasons(monkeypatch)
    assert_same_bits(trained(config), expected)
    assert set(told) == {reason}
    assert all(each.replayed <= 1 for each in made)


def test_a_gpu_that_is_lost_meanwhile_is_told_as_lost(recorders):
    class Lost(Recorded):
        def record(self, step):
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    recorders(Lost)
    with pytest.raises(DeviceError, match="the GPU was lost"):
        trained()


def test_a_step_that_changes_what_nobody_knows_of_is_not_replayed():
    """As what counts in Python, which a graph does not see: its tensor stays what it was."""
    told, value = [], torch.zeros(1)
    hidden = {"count": 0}

    def step(rows):
        hidden["count"] += 1
        value.add_(hidden["count"])
        return value.clone()

    class Frozen(Recorded):
        def replay(self):
            value.add_(1)
            self.measured.copy_(value)

    replayed = Replay(step, lambda: [value], Frozen(), told.append)
    rows = torch.zeros(1)
    taken = [float(replayed(rows)) for _ in range(6)]
    assert taken == [1, 3, 6, 10, 15, 21]
    assert told == ["a step that is replayed does something else"]


def test_a_tensor_that_a_step_replaces_is_not_replayed():
    told, held = [], {"value": torch.zeros(1)}

    def step(rows):
        held["value"] = held["value"] + 1
        return held["value"].clone()

    replayed = Replay(step, lambda: [held["value"]], Recorded(), told.append)
    assert [float(replayed(torch.zeros(1))) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert told == ["a step that is replayed does something else"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rows": 4}, "memory is short"),
        ({"kind": f"{OWN}:Pooling"}, "what an encoder of one's own does may change"),
    ],
)
def test_steps_that_may_differ_are_never_recorded(recorders, options, reason):
    made = recorders(Recorded)
    kind = options.pop("kind", "mlp")
    data = TrainingData.of(world_of(kind))
    training = _StackTraining(data, with_kind(kind, encoder_b="mlp"), 0.5, (1, 2), CPU, **options)
    assert training._why_anew() == reason
    assert made == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_each_encoder_looks_at_no_value(monkeypatch, kind):
    """On `meta` there is none to look at; a graph could not have waited for it."""
    monkeypatch.setattr(objective, "mixed_precision", lambda *_: nullcontext())
    data = TrainingData.of(world_of(kind))
    config = with_kind(kind, encoder_b="mlp")
    training = _StackTraining(data, config, 1.0, (1, 2), META)
    training._pair.train()
    rows = torch.zeros(2, 16, dtype=torch.int64, device=META)
    assert training._step(rows).shape == (3, 2)
    training._same = torch.zeros(data.train.count, dtype=torch.int64, device=META)
    assert training._step(rows).shape == (3, 2)


def test_a_cpu_records_nothing():
    assert recorder(CPU) is None


def test_a_graph_is_warmed_recorded_and_launched_on_one_stream(monkeypatch):
    """By a stand-in of torch.cuda, which notes what it is asked for."""
    asked = []

    class Stream:
        def __init__(self, device=None):
            self.waits = []

        def wait_stream(self, other):
            asked.append("wait")

    class Noted:
        def __init__(self, *words):
            self.words = words

        def __enter__(self):
            asked.append(self.words[0])

        def __exit__(self, *_):
            asked.append(f"end of {self.words[0]}")

    class Graph:
        def replay(self):
            asked.append("replay")

    held = iter([100, 100])
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "Stream", Stream)
    monkeypatch.setattr(cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(cuda, "current_stream", lambda _: Stream())
    monkeypatch.setattr(cuda, "stream", lambda stream: Noted("stream", stream))
    monkeypatch.setattr(cuda, "graph", lambda graph, stream: Noted("graph", graph, stream))
    monkeypatch.setattr(cuda, "memory_allocated", lambda _: next(held))
    monkeypatch.setattr(cuda, "reset_peak_memory_stats", lambda _: asked.append("reset"))
    monkeypatch.setattr(cuda, "max_memory_allocated", lambda _: 350)
    monkeypatch.setattr(replay, "memory_size", lambda _: 1000)
    one = CudaRecorder(torch.device("cuda"))
    measured, share = one.warm(lambda: asked.append("step") or torch.ones(2))
    assert (measured.tolist(), share) == ([1.0, 1.0], 0.25)
    assert asked == ["reset", "wait", "stream", "step", "end of stream", "wait"]
    asked.clear()
    one.record(lambda: asked.append("step") or torch.ones(2))
    one.replay()
    assert asked == ["stream", "graph", "step", "end of graph", "end of stream", "replay"]
