"""Real servers that tests talk to."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.rules import starts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(holds, seconds=300.0, *, fails_if=lambda: None):
    """Wait until something holds, and return what it is.

    Args:
        holds: Tells it; true in the end.
        seconds: How long it may take.
        fails_if: Says why it never will hold, as that a process has ended; waiting ends then.
    """
    deadline = time.monotonic() + seconds
    while True:
        reason = fails_if()
        if value := holds():
            return value
        if reason:
            pytest.fail(f"waited in vain: {reason}")
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(0.05)


def ended(process, log=None):
    """For `until`: says whether a process has ended, and the end of its log."""

    def reason():
        if process.poll() is None:
            return None
        said = log.read_text(errors="replace")[-2000:] if log else ""
        return f"process {process.pid} ended with code {process.returncode}. {said}"

    return reason


@contextmanager
def mlflow_ui(home, port=None, **environment):
    """`tuner ui`: MLflow's server on the embedded stores of a home; yields process and address.

    What it prints is in `ui.log` there.
    """
    starts("MLflow's server")
    port = port or free_port()
    home.mkdir(exist_ok=True)
    with (home / "ui.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tuner", "ui", "--port", str(port)],
            env=os.environ | {"TUNER_HOME": str(home)} | environment,
            stdout=log,
            stderr=log,
        )
    try:
        answers(server, f"http://127.0.0.1:{port}/health", home / "ui.log")
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def answers(server, url, log=None):
    """Wait until a server answers; an error if it ended, with the end of its log."""

    def answer():
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    until(answer, 120.0, fails_if=ended(server, log))


@contextmanager
def ray_head(folder, cpus, *options):
    """A Ray cluster of one node that wants a token; yields what has to be in the environment."""
    starts("Ray")
    token = folder / "ray-token"
    token.write_text("a" * 64)
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    port = free_port()
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
    command += ["--port", str(port), "--num-cpus", str(cpus), "--temp-dir", f"/tmp/ray-{port}"]
    log_file = folder / "ray.log"
    with log_file.open("wb") as log:
        head = subprocess.Popen(
            [*command, "--disable-usage-stats", *(options or ["--include-dashboard=false"])],
            env=os.environ | access,
            stdout=log,
            stderr=log,
        )
    try:
        until(
            lambda: "Ray runtime started" in log_file.read_text(),
            120.0,
            fails_if=ended(head, log_file),
        )
        yield access | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        head.terminate()
        head.wait()
        shutil.rmtree(f"/tmp/ray-{port}", ignore_errors=True)


def ask_ray(port, folder, path):
    """What the dashboard of a head answers that was started with a token in a folder."""
    token = (folder / "ray-token").read_text()
    url = f"http://127.0.0.1:{port}/api/{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()
