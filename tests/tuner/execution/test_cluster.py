"""A Ray cluster that ends in the background, while the rest of a study goes on."""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.rules import starts
from tuner.errors import PutOffError, SpecError
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


@pytest.mark.integration
@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_a_cluster_that_is_gone_is_told_in_seconds(monkeypatch, prefix):
    """Ray would ask for minutes, and hear no interrupt meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"{prefix}127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(cluster, "_PAUSES", (0.1,))
        begin = time.monotonic()
        with (
            pytest.raises(PutOffError, match=r"does not answer; what is finished is safe.*without"),
            cluster.ray_cluster(address, 1) as gone,
        ):
            gone.wait_until_ready()
        assert time.monotonic() - begin < 20


@pytest.mark.integration
def test_an_address_that_is_none_is_named():
    with (
        pytest.raises(SpecError, match=r"'nonsense' .*: write RAY_ADDRESS as HOST:PORT, or leave"),
        cluster.ray_cluster("nonsense", 1) as nowhere,
    ):
        nowhere.wait_until_ready()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("short", None), ("absent/folder", "/tmp/ray"), ("long" * 20, "/tmp/ray"), (None, None)],
)
def test_ray_has_a_folder_where_sockets_fit(monkeypatch, name, expected):
    """Linux allows their paths 107 bytes: Ray's are TMPDIR and 68 more."""
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setattr(tempfile, "tempdir", None)  # what it found before is forgotten
        monkeypatch.delenv("TMPDIR", raising=False)
        if name is not None:
            if "absent" not in name:
                Path(base, name).mkdir()
            monkeypatch.setenv("TMPDIR", f"{base}/{name}")
        assert cluster._temporary_folder() == expected
        monkeypatch.setenv("RAY_TMPDIR", "/elsewhere")  # Ray's own word counts
        assert cluster._temporary_folder() is None


def test_what_keeps_ray_from_its_files_is_told_at_once(monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied", "/tmp/ray")

    monkeypatch.setattr(cluster, "_init", refused)
    words = "Ray cannot start: .*'/tmp/ray'.* folder for temporary files"
    with pytest.raises(PutOffError, match=words), cluster.ray_cluster(None, 1) as none:
        none.wait_until_ready()
