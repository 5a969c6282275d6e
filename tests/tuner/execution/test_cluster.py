"""A Ray cluster that ends in the background, while the rest of a study goes on."""

import gc
import os
import signal
import subprocess
import sys

import pytest

from tests.support.rules import starts
from tuner.execution import cluster

# What Tune leaves is seldom collected just when Ray shuts down; this has it so every time.
COLLECTING = """
import gc
from pathlib import Path
import psutil
import ray
from ray._private.worker import global_worker
from tuner.execution.cluster import ray_cluster

class Kept:
    pass

def helpers():
    every = (process.cmdline() for process in psutil.Process().children(recursive=True))
    theirs = ("/dashboard.py", "monitor.py")
    return [Path(word).name for words in every for word in words if word.endswith(theirs)]

with ray_cluster(None, 1) as cluster:
    cluster.wait_until_ready()
    print("beside it:", *helpers())  # not its dashboard.py, monitor.py, log_monitor.py
    kept = [Kept() for _ in range(20)]
    for one in kept:
        one.itself, one.reference = one, ray.put(1)
    gc.collect()
    gc.freeze()
    del kept, one
    cluster.end()
    while global_worker.connected:
        pass
    gc.unfreeze()
    while hasattr(global_worker, "core_worker"):
        if gc.isenabled():
            gc.collect()
assert gc.isenabled()
print("went on")
"""


@pytest.mark.integration
def test_nothing_runs_beside_it_and_garbage_that_holds_its_references_does_not_end_the_process():
    starts("Ray")
    ran = subprocess.run(
        [sys.executable, "-c", COLLECTING], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stdout == "beside it:\nwent on\n", ran.stderr[-2000:]


@pytest.mark.usefixtures("unheard_interrupt")
def test_another_interrupt_while_it_ends_does_not_keep_it_from_ending(monkeypatch):
    """As of a service and of a driver that hear at once that a study is cancelled."""
    ended = []
    monkeypatch.setattr(cluster, "_start", lambda *_: None)
    monkeypatch.setattr(cluster, "_end", lambda: (gc.enable(), ended.append(True)))
    monkeypatch.setattr(gc, "collect", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt), cluster.ray_cluster(None, 1):
        raise KeyboardInterrupt
    assert ended
