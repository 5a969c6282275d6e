"""Training scripts as people have them, before and after the few lines that have λ found for them.

`clip.py` stands for a script of one's own, `clip.diff` for what its owner changes in it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tuner.scripts.script import Script
from tuner.scripts.training import run_training

HERE = Path(__file__).parent
MOST_CHANGES = 6  # lines
LAUNCHED = {
    "clip": (sys.executable,),
    "lightning_module": (sys.executable,),
    "accelerate_loop": (sys.executable, "-m", "accelerate.commands.launch", "--cpu"),
}
DESIGN = ("--trials", "3", "--replicates", "2", "--confirm-replicates", "3", "--max-lambda", "2")


@pytest.fixture
def project(tmp_path, new_home):
    """A folder with the script that a test is about, away from this repository."""
    new_home(tmp_path / "home")
    shutil.copy(HERE / "digits.py", tmp_path)
    return tmp_path


def said(project: Path, *words: str) -> str:
    one = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    how = {"cwd": project, "env": os.environ | one, "timeout": 400}
    done = subprocess.run(words, capture_output=True, text=True, check=False, **how)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", LAUNCHED)
def test_few_lines_change(name):
    lines = (HERE / f"{name}.diff").read_text().splitlines()[2:]
    assert 0 < sum(line.startswith(("+", "-")) for line in lines) <= MOST_CHANGES


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [
        "clip",
        pytest.param("lightning_module", marks=pytest.mark.soak),
        pytest.param("accelerate_loop", marks=pytest.mark.soak),
    ],
)
def test_a_script_trains_as_before_and_is_told_its_strength(project, name):
    shutil.copy(HERE / f"{name}.py", project)
    alone = (*LAUNCHED[name], f"{name}.py", "--lam", "0.5", "--seed", "1")
    before = said(project, *alone)
    subprocess.run(["git", "apply", HERE / f"{name}.diff"], cwd=project, check=True)
    assert said(project, *alone) == before
    assert before.startswith("accuracy 0.")

    code = (*LAUNCHED[name], f"{name}.py", "--lam", "{strength}", "--seed", "{seed}")
    tuned = said(project, sys.executable, "-m", "tuner", "tune", "--json", *DESIGN, "--", *code)
    result = json.loads(tuned)
    told = result["targets"]["acc"]
    assert (told["verdict"], told["reason"]) == ("align", "gain confirmed")
    assert 0 < told["lambda"] <= 2
    assert told["test"]["gain"] > 0.03
    assert not result["failures"]


@pytest.mark.system
def test_two_processes_of_accelerate_report_as_one(project):
    """Rows are dealt to two processes, and come back in their order."""
    shutil.copy(HERE / "accelerate_loop.py", project)
    subprocess.run(["git", "apply", HERE / "accelerate_loop.diff"], cwd=project, check=True)
    launch = (*LAUNCHED["accelerate_loop"], "--num_processes", "2")
    code = (*launch, "accelerate_loop.py", "--lam", "{strength}", "--seed", "{seed}")
    script = Script.of_command(code, project)
    told = run_training(script, strength=0.5, seed=1, confirming=True, folder=project / "two")
    assert len(told.scores["acc"]) == 400
    assert len(told.test_scores["acc"]) == 600
    assert np.mean(told.scores["acc"]) > 0.5
