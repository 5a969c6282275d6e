"""Where rows lie, and where their batches go; `meta` stands in for a GPU."""

import numpy as np
import pytest
import torch

from tuner.data.memory.spool import Spool
from tuner.models.compute import device as devices
from tuner.models.compute.device import place_of_rows
from tuner.models.rows import Rows
from tuner.models.training import tensors
from tuner.models.training.tensors import RowTensors

CPU, META = torch.device("cpu"), torch.device("meta")


def rows(mapped: bool) -> Rows:
    def array(*shape):
        spool = Spool()
        spool.append(np.arange(np.prod(shape), dtype=np.float32))
        return spool.array(np.float32, shape)

    with pytest.MonkeyPatch.context() as patch:
        if mapped:
            patch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", 8)
        a, b = array(50, 3), array(50, 4, 2)
    real = np.arange(4) < np.arange(1, 51)[:, None]
    known = np.arange(50) % 3 > 0
    return Rows(a=a, b=b, target=np.arange(50), is_labelled=known, b_real=real)


def test_rows_that_do_not_fit_on_a_gpu_stay_in_memory(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    for part, most in ((4000, 500), (600, 300)):  # of the card that is this process's
        monkeypatch.setattr(
            devices, "memory_size", lambda device, part=part: part if device == gpu else None
        )
        assert place_of_rows(gpu, most) == gpu
        assert place_of_rows(gpu, most + 1) == CPU
    assert place_of_rows(CPU, 2**50) == CPU


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(("place", "device"), [(CPU, CPU), (CPU, META), (META, META)])
def test_batches_go_to_the_device_wherever_rows_lie(monkeypatch, mapped, place, device):
    monkeypatch.setattr(tensors, "place_of_rows", lambda *_: place)
    given = rows(mapped)
    held = RowTensors.of(given, device)
    assert held.place == place
    index = torch.tensor([7, 0, 49, 7], device=place)
    held.will_take(index)
    batches = [held.take(index, 2), *held.parts(20, 3)]
    assert [batch.a.shape for batch in batches] == [(2, 2, 3), (3, 20, 3), (3, 20, 3), (3, 10, 3)]
    for batch in batches:
        assert {each.device for each in (batch.a, batch.b, batch.y, batch.b_real)} == {device}
    if device == CPU:
        np.testing.assert_array_equal(batches[0].b.flatten(0, 1), given.b[[7, 0, 49, 7]])
        np.testing.assert_array_equal(batches[2].b_real[1], given.b_real[20:40])
        np.testing.assert_array_equal(batches[3].labelled[2], given.is_labelled[40:])


def test_on_a_cpu_rows_are_not_copied():
    given = rows(mapped=False)
    held = RowTensors.of(given, CPU)
    assert np.shares_memory(held.a.numpy(), given.a)
    assert not np.shares_memory(held.take(torch.arange(50), 1).a.numpy(), given.a)
