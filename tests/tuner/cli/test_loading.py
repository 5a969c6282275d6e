"""A command loads what takes seconds to load when it needs it, not before."""

import subprocess
import sys

import pytest

SLOW = ("torch", "ray", "mlflow", "optuna", "scipy", "sklearn", "sqlalchemy", "matplotlib")
SCRIPT = """
import sys
from typer.testing import CliRunner
from tuner.cli.main import app

code = CliRunner().invoke(app, sys.argv[2:]).exit_code if sys.argv[2:] else 0
print(code, *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--help"], 0),
        (["run", "--help"], 0),
        (["run"], 2),
        (["run", "mfeat", "--trials", "2"], 2),
        (["submit", "mfeat", "--sampler", "magic"], 2),
        (["validate", "mfeat"], 0),
    ],
)
def test_the_command_starts_fast(words, code):
    script = [sys.executable, "-c", SCRIPT, ",".join(SLOW), *words]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(code)]
