"""`tuner tune` as its users call it: training code without torch, whose curve is known."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import tuner.scripts
from tests.support.scripted import answer
from tuner.execution.workers.scripts import training_folder
from tuner.scripts.reported import Reported
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.trial import FinishedTrial, TrialRequest
from tuner.tracking.content.scripts import ScriptContent

pytestmark = pytest.mark.integration
OPTIONS = ("--trials", "4", "--batch", "2", "--seed", "5")
SPEC = ScriptSpec(trials=4, batch=2, seed=5)
CODE = """
import os, sys, time
import numpy as np

strength, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
time.sleep(0.1)

def correct(stream):
    rng = np.random.default_rng([seed, stream])
    level = 0.6 + 0.2 * np.exp(-((strength - 0.5) ** 2)) + 0.005 * rng.standard_normal()
    return (rng.random(700) < level).astype(np.float64)

scores = {"acc": correct(0)}
if os.environ["TUNER_CONFIRMING"] == "1":
    scores["acc_test"] = correct(1)
    os.mkdir(os.path.join(out, "saved"))
    with open(os.path.join(out, "saved", "weights.txt"), "w") as file:
        file.write(f"{strength} {seed}")
np.savez(os.path.join(out, "scores.npz"), **scores)
print("strength", strength)
"""


def report(request):
    """What the code reports."""
    scores = {"acc": _correct(request, 0)}
    tested = {"acc": _correct(request, 1)} if request.phase == "confirm" else None
    return Reported(scores=scores, test_scores=tested)


def _correct(request, stream):
    rng = np.random.default_rng([*request.seeds, stream])
    level = 0.6 + 0.2 * np.exp(-((request.strength - 0.5) ** 2)) + 0.005 * rng.standard_normal()
    return (rng.random(700) < level).astype(np.float64)


def tune(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "tuner", "tune", *OPTIONS, *words, "--", *code(home)]


def code(home: Path) -> list[str]:
    return [sys.executable, str(home / "known.py"), "{strength}", "{seed}", "{out}"]


def surroundings(home: Path) -> dict:
    return {
        "env": os.environ | {"TUNER_HOME": str(home), "COLUMNS": "120"},
        "cwd": home,
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def trainings_in(home: Path) -> set[tuple]:
    with sqlite3.connect(f"file:{home / 'studies.db'}?mode=ro", uri=True) as database:
        rows = "select id, phase, number, finished from tuner_trials where reason is null"
        return set(database.execute(rows))


@pytest.fixture(scope="module")
def home(new_home, tmp_path_factory) -> Path:
    home = new_home(tmp_path_factory.mktemp("tuned"))
    (home / "known.py").write_text(CODE)
    return home


@pytest.fixture(scope="module")
def killed(home) -> set[tuple]:
    """Trainings that were finished when a driver of one worker was killed.

    An earlier one had left a failure, for want of something that is there now.
    """
    study = ScriptStudy.of(SPEC, Script.of_command(code(home), home))
    request = TrialRequest(phase="search", number=0, strength=0.0, seeds=SPEC.seeds("search")[:1])
    with Database(f"sqlite:///{home / 'studies.db'}") as database:
        store = StudyStore(database)
        spec = ScriptContent(study).spec
        store.open(study.id, name=study.name, fingerprint=study.script.digest, spec=spec)
        store.record(study.id, FinishedTrial(request=request, outcome=None, reason="no data"))
    words = tune(home, "--workers", "1", "--json")
    process = subprocess.Popen(words, start_new_session=True, **surroundings(home))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(trainings_in(home)) < 5:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert out == ""
    return trainings_in(home)


@pytest.fixture(scope="module")
def tuned(home, killed) -> dict:
    done = subprocess.run(tune(home, "--workers", "2", "--json"), **surroundings(home), timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.system
def test_a_study_that_is_killed_goes_on_and_has_the_answer_of_one_that_is_not(home, killed, tuned):
    assert len(killed) >= 5
    assert killed <= trainings_in(home)  # none is trained again
    expected, finished = answer(SPEC, report)
    told = json.loads(expected.model_dump_json())
    for part in ("targets", "curve", "curve_model", "headline", "failures"):
        assert tuned[part] == told[part]
    assert len(trainings_in(home)) == len(finished) == tuned["cost"]["trainings"]


@pytest.mark.system
def test_it_is_listed_shown_reported_and_tracked(home, tuned):
    def said(*words):
        done = subprocess.run([sys.executable, "-m", "tuner", *words], **surroundings(home))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(*words):
        done = subprocess.run([sys.executable, "-m", "tuner", *words], **surroundings(home))
        assert done.returncode == 2
        return " ".join(done.stderr.split())

    study = tuned["study"]
    assert tuned["headline"] in said("result", study)
    assert json.loads(said("list", "--json"))["verdict"] == tuned["targets"]["acc"]["verdict"]
    page = Path(said("report", study).strip()).read_text()
    assert tuned["headline"] in page
    assert page.count("data:image/svg+xml") == 2
    assert said("result", study, "--csv").splitlines()[1].startswith("0.0,acc,")
    with sqlite3.connect(home / "mlflow.db") as database:
        runs = database.execute("select status, count(*) from runs group by 1").fetchall()
        metrics = dict(
            database.execute("select key, value from latest_metrics where key like 'answer%'")
        )
    assert dict(runs)["FINISHED"] == 1 + tuned["cost"]["trainings"]
    assert metrics["answer/gain"] == tuned["targets"]["acc"]["test"]["gain"]
    with sqlite3.connect(home / "mlflow.db") as database:
        source = database.execute(
            "select storage_location from model_versions where name = ? and version = ?",
            (tuned["model"]["name"], tuned["model"]["version"]),
        ).fetchone()[0]
    registered = Path(urlsplit(source).path) / "weights.txt"
    assert registered.read_bytes() == (Path(tuned["saved"]) / "weights.txt").read_bytes()
    logs = list((home / "trainings" / study).rglob("log.txt"))
    assert len(logs) == tuned["cost"]["trainings"]
    assert "has 3 confirming seeds already" in refused("extend", study, "--seeds", "3")
    assert "is of training code" in refused("publish", study)
    again = subprocess.run(tune(home, "--json"), **surroundings(home))
    assert "answered before" in again.stderr
    assert json.loads(again.stdout) == tuned
    bill = said(*tune(home, "--cost-per-hour", "3600")[3:])
    assert f"cost     {tuned['cost']['training_seconds']:.2f}, at 3600 an hour" in bill


@pytest.mark.system
def test_a_search_ends_with_its_time_and_says_so(home):
    words = tune(home, "--trials", "7", "--time-budget", "1s", "--json")
    done = subprocess.run(words, **surroundings(home), timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    tried = len(told["curve"])
    assert tried < 7
    assert any(f"{tried} of 7 λs were tried: the time budget" in w for w in told["warnings"])
    assert told["study"] != ScriptStudy.of(SPEC, Script.of_command(code(home), home)).id
    assert told["targets"]["acc"]["test"]["gain"] is not None


@pytest.mark.system
def test_seeds_are_added_to_it(home, tuned):
    words = [sys.executable, "-m", "tuner", "extend", tuned["study"], "--seeds", "4", "--json"]
    before = trainings_in(home)
    done = subprocess.run(words, **surroundings(home), timeout=200)
    assert done.returncode == 0, done.stderr
    expected, _ = answer(SPEC.extended(4), report)
    assert json.loads(done.stdout)["targets"] == json.loads(expected.model_dump_json())["targets"]
    copied = tuned["cost"]["trainings"]
    assert len(trainings_in(home)) == len(before) + copied + 2  # and one at each λ


def test_the_function_of_the_page_is_tuned_as_it_stands(tmp_path):
    page = Path(tuner.scripts.__file__).with_name("README.md").read_text()
    (tmp_path / "my_train.py").write_text(page.split("```python\n")[1].split("```")[0])
    script = Script.of_function("my_train:train", tmp_path)

    def trained(request):
        return run_training(
            script,
            strength=request.strength,
            seed=request.seeds[0],
            confirming=request.phase == "confirm",
            folder=training_folder(tmp_path, request),
        )

    result, finished = answer(ScriptSpec(trials=3, confirm_replicates=2), trained)
    assert len(finished) == 3 * 2 + 2 * 2
    assert result.main == "acc"
    assert result.answer.rows == 500
