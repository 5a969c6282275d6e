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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def mlflow_ui(home, port=None, **environment):
    """`tuner ui`: MLflow's server on the embedded stores of a home; yields process and address.

    What it prints is in `ui.log` there.
    """
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
        answers(server, f"http://127.0.0.1:{port}/health")
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def answers(server, url, seconds=120.0):
    """Wait until a server answers; an error if it ended, or takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            assert server.poll() is None, f"the server at {url} ended"
            assert time.monotonic() < deadline, f"the server at {url} does not answer"
        time.sleep(0.1)


@contextmanager
def ray_head(folder, cpus, *options):
    """A Ray cluster of one node that wants a token; yields what has to be in the environment."""
    token = folder / "ray-token"
    token.write_text("a" * 64)
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    port = free_port()
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
    command += ["--port", str(port), "--num-cpus", str(cpus), "--temp-dir", f"/tmp/ray-{port}"]
    with (folder / "ray.log").open("wb") as log:
        head = subprocess.Popen(
            [*command, "--disable-usage-stats", *(options or ["--include-dashboard=false"])],
            env=os.environ | access,
            stdout=log,
            stderr=log,
        )
    try:
        while b"Ray runtime started" not in (folder / "ray.log").read_bytes():
            assert head.poll() is None, (folder / "ray.log").read_text()
            time.sleep(0.1)
        yield access | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        head.terminate()
        head.wait()
        shutil.rmtree(f"/tmp/ray-{port}", ignore_errors=True)
