"""MLflow is loaded without what it does not need for us."""

import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest
import requests

from tests.support.rules import starts
from tuner.tracking.connection import summary

LOADED = """
import sys
from tuner.tracking.connection import pytorch_flavour
flavour = pytorch_flavour()
print(flavour.__name__, *{"pytorch_lightning", "transformers", "torchmetrics"} & sys.modules.keys())
print("mlflow.pytorch._lightning_autolog" in sys.modules, flavour is pytorch_flavour())
"""


@pytest.mark.integration
def test_mlflow_loads_no_lightning_for_us_and_can_later():
    starts("MLflow")
    assert find_spec("pytorch_lightning") is not None
    command = [sys.executable, "-c", LOADED]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout.splitlines() == ["mlflow.pytorch", "False True"], ran.stderr[-2000:]


def test_a_server_that_is_away_is_told_by_why_it_does_not_answer():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(requests.ConnectionError) as away:
            requests.get(f"http://127.0.0.1:{taken.getsockname()[1]}/api", timeout=5)
    assert summary(away.value) == "no answer: [Errno 111] Connection refused"
    assert summary(ValueError("a\nb")) == "ValueError: a"
