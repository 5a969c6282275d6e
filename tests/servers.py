"""Real servers that tests talk to."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def mlflow_ui(home, port=None, **environment):
    """`tuner ui`: MLflow's server on the embedded stores of a home; yields process and address."""
    port = port or free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tuner", "ui", "--port", str(port)],
        env=os.environ | {"TUNER_HOME": str(home)} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
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
