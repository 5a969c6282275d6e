import numpy as np
import pytest

from tuner.scripts.script import Script
from tuner.scripts.training import run_training

pytestmark = pytest.mark.integration

TRAIN = """
import numpy as np

def train(trial):
    rng = np.random.default_rng(trial.seed)
    trial.report(acc=rng.random(20) < trial.strength)
    if trial.confirming:
        trial.report_test(acc=rng.random(30) < trial.strength)
"""


def test_a_function_trains_in_a_process_of_its_own(tmp_path):
    (tmp_path / "my_train.py").write_text(TRAIN)
    script = Script.of_function("my_train:train", tmp_path)
    reported = run_training(script, strength=0.5, seed=3, confirming=True, folder=tmp_path / "0")
    rng = np.random.default_rng(3)
    assert np.array_equal(reported.scores["acc"], rng.random(20) < 0.5)
    assert reported.test_scores is not None
    assert np.array_equal(reported.test_scores["acc"], rng.random(30) < 0.5)
