"""Training scripts of strangers: as they were, with the few lines that tune them, to a verdict."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.study.scripts.result import ScriptResult

pytestmark = pytest.mark.integration
HERE = Path(__file__).parent
DATA = str(Path(__file__).parents[4] / "data" / "examples" / "mfeat.npz")
OPTIONS = ("--trials", "3", "--replicates", "2", "--confirm-replicates", "2", "--workers", "2")
EXAMPLES = ("clip", "lightning_digits", "accelerated")


@pytest.fixture(scope="module")
def folder(new_home, tmp_path_factory):
    """A stranger's folder, which holds scripts alone."""
    folder = new_home(tmp_path_factory.mktemp("strangers"))
    for name in EXAMPLES:
        (folder / f"{name}_tuned.py").write_bytes((HERE / f"{name}_tuned.py").read_bytes())
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_script_is_tuned_by_six_changed_lines_at_most(name):
    before, after = ((HERE / f"{name}{end}.py").read_text() for end in ("", "_tuned"))
    told = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0))[2:]
    changed = [line for line in told if line[0] in "+-" and line[1:].strip()]
    assert 0 < len(changed) <= 6, changed


@pytest.mark.system
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_tuned_to_a_verdict(folder, name):
    code = [f"{name}_tuned.py", DATA, "--lam", "{strength}", "--seed", "{seed}"]
    words = ["-m", "tuner", "tune", *OPTIONS, "--json", "--", sys.executable, *code]
    environment = os.environ | {"TUNER_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = ScriptResult.model_validate_json(done.stdout)
    assert not told.failures
    assert told.cost.trainings == 3 * 2 + 2 * 2
    assert told.answer.verdict in ("align", "do not align", "undecided")
    assert told.answer.rows == 600
    assert told.curve[0].strength == 0
    assert 0.2 < told.curve[0].scores["acc"].mean < 1  # a tenth by chance


@pytest.mark.system
def test_processes_of_accelerate_report_as_one(folder):
    """Rows are dealt to two processes, and each comes back once, from one of them."""
    code = (f"{folder}/accelerated_tuned.py", DATA, "--lam", "{strength}", "--seed", "{seed}")
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2")
    script = Script.of_command((sys.executable, *launch, *code), folder)
    told = run_training(script, strength=0.5, seed=1, confirming=True, folder=folder / "two")
    assert len(told.scores["acc"]) == 300
    assert len(told.test_scores["acc"]) == 600
    assert np.mean(told.scores["acc"]) > 0.2
