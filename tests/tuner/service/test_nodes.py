"""A study on several nodes ends with the answer of an undisturbed one, whatever happens to them."""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.in_process import answer_in_process
from tests.support.nodes import ray_nodes
from tests.tuner.service.conftest import QUICK, client_of, serving, until
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

LONGER = QUICK | {"trials": 32, "batch": 5, "epochs": 2000, "patience": 2000}
_GIVEN_UP = 12.0  # seconds after which a node that does not answer is given up, and more
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


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_study_outlives_what_happens_to_nodes(tmp_path, data):
    home, path = tmp_path / "home", data()
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + _ROOM) / memory.total
    environment = {
        "TUNER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as beside,
        ray_nodes(tmp_path, 2, threshold, environment) as nodes,
    ):
        expecting = beside.submit(undisturbed, str(path))
        access = nodes.access | {"RAY_ADDRESS": nodes.jobs}
        with serving(home, **access) as (_, url), client_of(home, url) as client:
            study = client.submit(path, **LONGER)
            first, second = nodes.workers

            def trials():
                now = client.status(study["id"])
                assert now["status"] != "done"  # the study is too short for what shall happen to it
                return now["trials"]

            def training(node):
                return until(lambda: node.processes("TrialWorker"))

            def goes_on():
                before = trials()
                until(lambda: trials() > before)

            training(first)
            training(second)  # work spreads
            first.kill()
            goes_on()
            first.start()
            training(first)
            (raylet,) = second.processes("raylet/raylet")
            with second.cut_off():
                time.sleep(_GIVEN_UP)
                goes_on()
            until(lambda: not raylet.is_running())  # it heard that it was given up
            training(second)
            (victim,) = training(first)
            with memory_runs_out(threshold):
                until(lambda: not victim.is_running())
            goes_on()
            raylets = [node.processes("raylet/raylet") for node in nodes.workers]
            nodes.head.kill()
            nodes.head.start()
            result = client.result(study["id"], wait=True)
            if nodes.remembers:  # the others waited for it
                assert raylets == [node.processes("raylet/raylet") for node in nodes.workers]
        expected = expecting.result()
    assert not result.failures
    assert (result.joint, result.curve) == (expected.joint, expected.curve)
