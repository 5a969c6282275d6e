"""A study on several nodes ends with the answer of an undisturbed one, whatever happens to them."""

import os
import sys
import time
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.in_process import answer_in_process
from tests.support.nodes import ray_nodes
from tests.tuner.service.conftest import QUICK, client_of, serving
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

LONGER = QUICK | {"trials": 32, "batch": 5, "epochs": 1000, "patience": 1000}
_GIVEN_UP = 12.0  # seconds after which a node that does not answer is given up, and more
_SOON = 400.0  # seconds in which a node starts, or a trial ends, on a busy machine
_DRIVER = "processes.driver"
_TRAINS = "TrialWorker.train"  # how Ray calls a worker's process while it trains
_ROOM = 6 * 2**30  # bytes that nodes may use besides what the machine uses already


@contextmanager
def memory_runs_out(threshold):
    """Use so much memory that nodes have to end something."""
    memory = psutil.virtual_memory()
    held = np.ones(int(threshold * memory.total - memory.total + memory.available) + 2**29, np.int8)
    yield
    del held


def undisturbed(path):
    spec = spec_from_options(LONGER)
    return answer_in_process(spec, read_dataset(spec, path))


class Watched:
    """A study that has to go on: who waits for something fails at once if it does not.

    Args:
        client: Of the service.
        study: Its id.
        head: The node where its driver runs.
    """

    def __init__(self, client, study, head):
        self._client, self._study, self._head = client, study, head

    def trials(self):
        now = self._client.status(self._study)
        assert now["status"] in ("queued", "running"), now  # or too short for what shall happen
        return now["trials"]

    def until(self, true):
        """Wait until something is true while the study goes on, and return it."""
        deadline = time.monotonic() + _SOON
        while not (result := true()):
            self.trials()
            assert self._head.processes(_DRIVER), "its driver is gone"
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return result

    def trains_on(self, node):
        return self.until(lambda: node.processes(_TRAINS))

    def goes_on(self):
        before = self.trials()
        self.until(lambda: self.trials() > before)


def begun(client, study, nodes):
    """Wait for its driver."""
    deadline = time.monotonic() + _SOON
    while not nodes.head.processes(_DRIVER):
        assert time.monotonic() < deadline, client.status(study)
        time.sleep(0.2)
    return Watched(client, study, nodes.head)


def disturb(study, nodes):
    """Kill a node, cut the other off, and fill its memory, while the study goes on."""
    first, second = nodes.workers
    study.trains_on(first)
    study.trains_on(second)  # work spreads
    first.kill()
    study.goes_on()
    first.start()
    study.trains_on(first)
    (raylet,) = second.processes("raylet/raylet")
    with second.cut_off():
        time.sleep(_GIVEN_UP)
        study.goes_on()
    study.until(lambda: not raylet.is_running())  # it heard that it was given up
    study.trains_on(second)
    (victim,) = study.trains_on(first)
    with memory_runs_out(nodes.threshold):
        study.until(lambda: not victim.is_running())
    study.goes_on()


@pytest.mark.soak
@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_study_outlives_what_happens_to_nodes(tmp_path, data):
    home, path = tmp_path / "home", data()
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + _ROOM) / memory.total
    environment = {
        "TUNER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with (
        get_context("spawn").Pool(1) as beside,  # it is ended, not waited for, if this fails
        ray_nodes(tmp_path, 2, threshold, environment) as nodes,
    ):
        expecting = beside.apply_async(undisturbed, (str(path),))
        access = nodes.access | {"RAY_ADDRESS": nodes.jobs}
        with serving(home, **access) as (_, url), client_of(home, url) as client:
            study = client.submit(path, **LONGER)["id"]
            disturb(begun(client, study, nodes), nodes)
            raylets = [node.processes("raylet/raylet") for node in nodes.workers]
            nodes.head.kill()
            nodes.head.start()
            result = client.result(study, wait=True)
            if nodes.remembers:  # the others waited for it
                assert raylets == [node.processes("raylet/raylet") for node in nodes.workers]
        expected = expecting.get()
    assert not result.failures
    assert (result.joint, result.curve) == (expected.joint, expected.curve)
