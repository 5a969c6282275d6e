"""MLflow is loaded without what it does not need for us."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.support.rules import starts

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
