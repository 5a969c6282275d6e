"""Seeds that workers share, killed in the middle: the answer is that of one process, untouched."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.support.in_process import answer_in_process
from tests.support.servers import ended, until
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = [pytest.mark.integration, pytest.mark.soak]
OPTIONS = {
    "trials": 3,
    "replicates": 2,
    "confirm_replicates": 2,
    "epochs": 16,
    "patience": 16,
    "hidden": 32,
    "batch_size": 64,
}
# Of an answer, what depends on the run, and what a driver adds to it.
_OF_THE_RUN = ("cost", "mlflow", "environments", "model", "curve_model", "prior")


@pytest.fixture
def sequences(tmp_path):
    """Sides whose mean over time tells the class; a transformer trains for some seconds."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    sides = {
        side: (y[:, None, None] + 2 * rng.standard_normal((500, 16, 6))).astype(np.float32)
        for side in "ab"
    }
    np.savez(tmp_path / "sequences.npz", y=y, **sides)
    return tmp_path / "sequences.npz"


def told(result):
    if isinstance(result, dict):
        return {name: told(value) for name, value in result.items() if name not in _OF_THE_RUN}
    return [told(value) for value in result] if isinstance(result, list) else result


@pytest.mark.timeout(600)
def test_a_driver_is_killed_while_workers_share_the_seeds_of_a_trial(sequences, new_home):
    home = new_home(sequences.parent / "home")
    words = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "tuner", "run", str(sequences), *words, "--workers=2"]
    how = {
        "cwd": home,
        "env": os.environ | {"TUNER_HOME": str(home)},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }

    def kept():
        return {str(path) for path in home.rglob("checkpoints/*/*/outcome-*.npz")}

    driver = subprocess.Popen([*command, "--json"], start_new_session=True, **how)
    try:
        until(kept, 240.0, fails_if=ended(driver))
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
    assert kept()
    done = subprocess.run([*command, "--json"], timeout=400, check=False, **how)
    assert done.returncode == 0, done.stderr.decode()
    assert kept() == set()
    spec = spec_from_options(OPTIONS)
    expected = answer_in_process(spec, read_dataset(spec, str(sequences)))
    assert told(json.loads(done.stdout)) == told(expected.model_dump(mode="json"))
