"""The command as its users call it."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tuner.data import read
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow
from tuner.storage.weights import WeightStore
from tuner.study.spec import spec_from_options

pytestmark = pytest.mark.integration
SMALL = ["--trials", "8", "--replicates", "3", "--confirm-replicates", "3"]
SMALL += ["--epochs", "6", "--batch-size", "64", "--workers", "2"]


def tuner(home: Path, *words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*words), **surroundings(home), timeout=300, **options)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tuner", *words]


def surroundings(home: Path) -> dict:
    return {
        "env": os.environ | {"TUNER_HOME": str(home), "COLUMNS": "120"},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("data") / "small.npz", worlds.null(3))


@pytest.fixture(scope="module")
def quiet_home(new_home, tmp_path_factory) -> Path:
    return new_home(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def undisturbed(quiet_home, data) -> dict:
    return answer_of(tuner(quiet_home, "run", str(data), *SMALL, "--json"))


@pytest.fixture
def small_labels(tmp_path) -> str:
    rng = np.random.default_rng(0)
    path = tmp_path / "labels.npz"
    a, b = rng.normal(size=(2, 60, 3))
    np.savez(path, a=a, b=b, y=np.resize([-1, 0, 1], 60))
    return str(path)


def save(path: Path, dataset) -> Path:
    labels = np.array(dataset.classes)[dataset.y]
    np.savez(path, a=dataset.a.values, b=dataset.b.values, y=labels)
    return path


def answer_of(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for volatile in ("cost", "mlflow"):
        del result[volatile]
    for modality in result["modalities"].values():
        del modality["model"]
    return result


def test_a_study_of_other_data_that_says_nothing_is_no_warm_start(tmp_path, data, classification):
    """Its answer has no curve: refused before a training, and no study of it is left behind."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    earlier = classification.study
    store = classification.store(url)
    store.update(earlier.id, status="done", result=classification.result.model_dump(mode="json"))
    done = tuner(tmp_path, "run", str(data), *SMALL, "--warm-start", earlier.id)
    assert done.returncode == 2
    words = f"--warm-start {earlier.id}: that was a study of other data ({earlier.name}), and "
    assert words in " ".join(done.stderr.split())
    assert store.counts().studies == {"done": 1}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["validate", "--help"]])
def test_help_teaches(tmp_path, words):
    done = tuner(tmp_path, *words)
    assert done.returncode == 0
    assert "DATA" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Missing argument 'DATA'"),
        (["run", "mfeat", "--sampler", "magic"], "--sampler magic"),
        (["run", "mfeat", "--trials", "2"], "--trials 2"),
        (["run", "mfeat", "--max-lambda", "-1"], "--max-lambda -1"),
        (["run", "mfeat", "--time-budget", "soon"], "90s, 10m or 1h30m"),
        (["run", "mfeat", "--metric", "r2"], "metric r2 is for regression"),
        (["run", "nowhere.npz"], "nowhere.npz"),
        (["validate", "nowhere.npz"], "nowhere.npz"),
        (["validate", "mfeat", "--a", "fuo"], "fou"),
    ],
)
def test_bad_usage_exits_2_says_what_and_leaves_nothing_behind(tmp_path, words, said):
    home = tmp_path / "home"
    done = tuner(home, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not home.exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda home: home.write_text("x"), "File exists (HOME)"),
        (lambda home: (home.mkdir(), (home / "studies.db").write_text("no database " * 99)),
         "a database in HOME cannot be used: file is not a database"),
        (lambda home: (home.mkdir(), (home / "studies.db").mkdir()),
         "a database in HOME cannot be used: unable to open database file"),
    ],
    ids=["a file", "another file", "a folder"],
)  # fmt: skip
def test_a_home_that_is_none_is_told_in_a_sentence(tmp_path, spoil, said):
    home = tmp_path / "home"
    spoil(home)
    done = tuner(home, "key", "list")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"Error: {said.replace('HOME', str(home))}. What is finished is safe" in done.stderr


def test_a_database_of_another_kind_is_told_without_its_password(tmp_path):
    settings = surroundings(tmp_path)
    settings["env"] |= {"TUNER_DATABASE_URL": "postgres://me:secret@db.example.org/studies"}
    done = subprocess.run(command("list"), **settings, timeout=60)
    assert done.returncode == 1
    assert "Error: a database cannot be used: a URL is wanted as postgresql+psycopg:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_folder_that_is_gone_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    words = f"cd gone; rmdir ../gone; {shlex.join(command('list'))}"
    done = subprocess.run(words, shell=True, cwd=tmp_path, **surroundings(tmp_path), timeout=60)
    assert done.returncode == 2
    assert done.stderr == "Error: the folder that you are in is gone: go to another (cd).\n"


def test_a_terminal_without_greek_letters_is_no_reason_to_stop(tmp_path):
    settings = surroundings(tmp_path)
    settings["env"] |= {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command("--help"), **settings | {"encoding": "latin-1"}, timeout=60)
    assert done.returncode == 0
    assert "alignment strength ? that a paired data set" in done.stdout


def test_profile_tells_the_shares_and_what_to_expect(tmp_path):
    done = tuner(tmp_path, "profile", "mfeat", "--json")
    assert done.returncode == 0, done.stderr
    information = json.loads(done.stdout)
    assert information["unit"] == "bits"
    assert information["reliable"] is True
    assert information["R"]["low"] > information["U_b"]["high"] > information["U_a"]["high"]
    words = tuner(tmp_path, "profile", "mfeat").stdout
    assert "R, shared by A and B" in words
    assert "alignment is expected to help" in " ".join(words.split())
    refused = tuner(tmp_path, "profile", str(tmp_path / "absent.npz"))
    assert refused.returncode == 2
    assert "absent.npz" in refused.stderr


def test_synthesize_writes_a_valid_data_set_and_never_over_another(tmp_path):
    path = tmp_path / "world.npz"
    words = ("synthesize", str(path), "--redundant", "6", "--rows", "500", "--labelled", "60")
    done = tuner(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "500 pairs" in done.stdout
    shown = " ".join(tuner(tmp_path, "validate", str(path)).stdout.split())
    assert "valid, 500 pairs" in shown
    assert "290 rows without a label" in shown
    written = path.read_bytes()
    refused = tuner(tmp_path, *words).stderr
    assert "is there already" in " ".join(refused.replace("│", " ").split())
    odd = tuner(tmp_path, *words, "--redundant", "3", "--force")
    assert odd.returncode == 2
    assert "even number" in " ".join(odd.stderr.replace("│", " ").split())
    assert path.read_bytes() == written
    assert tuner(tmp_path, *words, "--force", "--seed", "1").returncode == 0
    assert path.read_bytes() != written
    done = tuner(tmp_path, *words, "--force", "--shared-nuisances", "0", "--discrete")
    assert done.returncode == 0, done.stderr
    with np.load(path) as archive:
        assert archive["a"].shape == archive["b"].shape == (500, 6 + 4)


def test_validate_says_what_a_valid_data_set_holds(tmp_path):
    done = tuner(tmp_path, "validate", "mfeat")
    assert done.returncode == 0
    assert "2,000 pairs" in done.stdout
    assert "10 classes" in done.stdout


def test_validate_with_other_marks_of_a_missing_label(tmp_path, small_labels):
    def shown(*words):
        told = tuner(tmp_path, "validate", small_labels, *words)
        return " ".join(told.stdout.split()), told.stderr

    assert (
        "3 classes: -1 (20 rows, 33%), 0 (20 rows, 33%), 1 (20 rows, 33%)"
        in shown("--missing", "none")[0]
    )
    out, err = shown("--missing", "1", "--missing", "5")
    assert "2 classes: -1 (20 rows, 50%), 0 (20 rows, 50%)" in out
    assert "holds no '5'" in err
    out, err = shown("--missing", "-1")
    assert "2 classes: 0 (20 rows, 50%), 1 (20 rows, 50%)" in out
    assert "--missing -1" in err  # the commands that come next


def test_the_same_command_again_answers_from_the_store(data, undisturbed, quiet_home):
    assert undisturbed["status"] == "done"
    assert len(undisturbed["curve"]) == 8
    assert undisturbed["curve"][0]["lambda"] == 0
    started = time.monotonic()
    again = tuner(quiet_home, "run", str(data), *SMALL, "--json")
    models = [m["model"] for m in json.loads(again.stdout)["modalities"].values()]
    assert {model["alias"] for model in models} == {"champion"}
    assert answer_of(again) == undisturbed
    assert "answered before" in again.stderr
    shown = tuner(quiet_home, "run", str(data), *SMALL)
    assert undisturbed["joint"]["verdict"] in shown.stdout
    assert "report.html" in shown.stdout
    assert time.monotonic() - started < 120


@pytest.mark.parametrize(
    ("told", "to_all"),  # Ctrl-C goes to all of them
    [
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.system),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.soak),
    ],
)
def test_a_study_stopped_again_and_again_ends_with_the_same_answer(
    new_home, tmp_path, data, undisturbed, quiet_home, told, to_all
):
    """Told to end while it trains, and killed once all is trained but not answered.

    Ray takes SIGTERM for a crash of its own, unless it is told not to.
    """
    home, whole, stopped = new_home(tmp_path), len(trials_in(quiet_home)), set()
    stops = (
        (told, os.killpg if to_all else os.kill, 4, "2"),
        (signal.SIGKILL, os.killpg, whole, "1"),
    )
    for kind, kill, count, workers in stops:
        process = subprocess.Popen(
            command("run", str(data), *SMALL, "--json", "--workers", workers),
            start_new_session=True,
            **surroundings(home),
        )
        finished = wait_for_trials(home, count)
        kill(process.pid, kind)
        out, err = process.communicate(timeout=60)
        assert out == ""
        if kind == told:
            assert process.returncode == 130
            assert err.strip().splitlines()[-1].startswith("Interrupted. The same command goes on")
            assert "SIGTERM" not in err
            assert "Traceback" not in err
        assert stopped <= finished  # none was trained again: rows are never rewritten
        stopped = finished
    assert answer_of(tuner(home, "run", str(data), *SMALL, "--json")) == undisturbed
    assert trials_in(home) == stopped
    with sqlite3.connect(home / "studies.db") as database:
        (copied,) = database.execute("select count(*) from trials").fetchone()
    assert copied == len([phase for _, phase, _, _ in stopped if phase == "search"])


@pytest.mark.soak
def test_one_worker_that_is_killed_gives_the_answer_of_two(new_home, tmp_path, data, undisturbed):
    home = new_home(tmp_path)
    words = command("run", str(data), *SMALL, "--json", "--workers", "1")
    process = subprocess.Popen(words, **surroundings(home))
    wait_for_trials(home, 2)
    os.kill(worker_of(home), signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    done = subprocess.CompletedProcess([], process.returncode, out, err)
    assert answer_of(done) == undisturbed


@pytest.mark.system
def test_seeds_added_with_a_kill_in_between_are_as_if_they_had_been_asked_for_at_first(
    tmp_path, data, undisturbed, quiet_home
):
    home, study = tmp_path / "home", undisturbed["study"]
    shutil.copytree(quiet_home, home)
    before = len(trials_in(home))
    words = ("extend", study, "--seeds", "5", "--json")
    process = subprocess.Popen(command(*words), start_new_session=True, **surroundings(home))
    finished = wait_for_trials(home, 2 * before + 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    longer = answer_of(tuner(home, *words, cwd="/"))
    assert finished <= trials_in(home)
    assert longer["extends"] == study
    assert longer["curve"] == undisturbed["curve"]
    options = {"trials": 8, "replicates": 3, "confirm_replicates": 3, "looks": (5,)}
    spec = spec_from_options(options | {"epochs": 6, "batch_size": 64})
    at_once = json.loads(answer_in_process(spec, read(data)).model_dump_json())
    for part in ("curve", "joint", "headline", "warnings", "information"):
        assert longer[part] == at_once[part]


@pytest.mark.system
def test_with_validation_folds_a_kill_and_more_workers_and_seeds_change_nothing(
    new_home, tmp_path, data
):
    home = new_home(tmp_path)
    words = ("run", str(data), *SMALL, "--validation-folds", "3", "--json")
    process = subprocess.Popen(
        command(*words, "--workers", "1"), start_new_session=True, **surroundings(home)
    )
    finished = wait_for_trials(home, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    told = answer_of(tuner(home, *words))
    assert finished <= trials_in(home)
    longer = answer_of(tuner(home, "extend", told["study"], "--seeds", "5", "--json", cwd="/"))
    options = {"trials": 8, "replicates": 3, "confirm_replicates": 3, "validation_folds": 3}
    options |= {"epochs": 6, "batch_size": 64}
    for answered, more in ((told, {}), (longer, {"looks": (5,)})):
        spec = spec_from_options(options | more)
        here = json.loads(answer_in_process(spec, read(data)).model_dump_json())
        for part in ("curve", "joint", "headline", "warnings", "information"):
            assert answered[part] == here[part]


def test_seeds_are_added_only_where_that_may_help(undisturbed, quiet_home):
    def refused(*words):
        done = tuner(quiet_home, "extend", *words)
        assert (done.returncode, done.stdout) == (2, "")
        return " ".join(done.stderr.split())

    study = undisturbed["study"]
    assert f"study nothing: there is no such study in the store ({quiet_home})" in refused(
        "nothing"
    )
    assert "--seeds 3: it has 3 confirming seeds already" in refused(study, "--seeds", "3")
    moved = refused(study, "--seeds", "5", "--data", "mfeat")
    assert f"study {study}: the data in mfeat are no longer what it was about" in moved


def test_a_plan_trains_what_the_study_would_and_that_goes_on_from_it(
    new_home, tmp_path, data, undisturbed, quiet_home
):
    home = new_home(tmp_path)
    told = json.loads(tuner(home, "plan", str(data), *SMALL, "--json").stdout)
    assert told["study"] == undisturbed["study"]
    assert (told["trained"], told["trainings"], told["seeds"]) == (9, 30, 3)
    assert told["targets"]["joint"]["detectable"] > 0
    again = tuner(home, "plan", str(data), *SMALL)
    assert "The study takes 30 trainings" in again.stdout
    assert f"tuner run {data} --replicates 3" in " ".join(again.stderr.split())
    if not torch.cuda.is_available():
        refused = tuner(home, "plan", str(data), *SMALL, "--gpus", "1")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--gpus 1: torch " in " ".join(refused.stderr.split())
        assert "leave --gpus out" in " ".join(refused.stderr.split())
    with open_store(home) as ours, open_store(quiet_home) as theirs:
        study = undisturbed["study"]
        planned = {t.request: t.outcome for t in ours.trials(study)}
        trained = {t.request: t.outcome for t in theirs.trials(study)}
    assert len(planned) == 3
    for request, outcome in planned.items():
        np.testing.assert_equal(outcome.predictions, trained[request].predictions)


@contextmanager
def open_store(home: Path):
    with Database(Settings(home=home).store_url) as database:
        yield StudyStore(database)


WIDE = """
from torch import nn

class Wide(nn.Sequential):
    def __init__(self, shape, embedding):
        wide = nn.Linear(*shape, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU()
        super().__init__(*wide, nn.Linear(1000, embedding))
"""


@pytest.fixture(scope="module")
def extreme_home(new_home, tmp_path_factory) -> Path:
    return new_home(tmp_path_factory.mktemp("extreme"))


@pytest.fixture(scope="module")
def extreme(extreme_home, data) -> dict:
    """The answer to a study of a large encoder, whose largest λs diverge."""
    (extreme_home / "wide.py").write_text(WIDE)
    # λ above float32's range turns the loss into infinity; the warp keeps some λs small.
    words = ["--trials", "8", "--max-lambda", "1e39", "--sampler", "grid", "--replicates", "2"]
    words += ["--confirm-replicates", "2", "--epochs", "2", "--encoder-a", "wide:Wide"]
    words += ["--workers", "1", "--json"]
    done = tuner(extreme_home, "run", str(data), *words, cwd=extreme_home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.system
def test_a_lambda_that_diverges_fails_with_its_reason_and_the_study_goes_on(extreme, extreme_home):
    result = extreme
    assert result["status"] == "done"
    failed = [f for f in result["failures"] if f["lambda"] == 1e39]
    assert "became" in failed[0]["reason"]
    assert "λ = 1e+39" in failed[0]["reason"]
    with sqlite3.connect(extreme_home / "studies.db") as database:
        states = database.execute("select state, count(*) from trials group by 1").fetchall()
    assert dict(states)["FAIL"] >= 1
    assert dict(states)["COMPLETE"] >= 3


def trials_in(home: Path) -> set[tuple]:
    path = home / "studies.db"
    if not path.exists():
        return set()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        try:
            rows = database.execute("select id, phase, number, finished from tuner_trials")
            return set(rows.fetchall())
        except sqlite3.OperationalError:  # the table is not there yet
            return set()


def wait_for_trials(home: Path, count: int) -> set[tuple]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        finished = trials_in(home)
        if len(finished) >= count:
            return finished
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} trials finished in two minutes")


def worker_of(home: Path) -> int:
    """Find a process of this study's Ray that trains, as its title says at times."""
    mark, deadline = f"TUNER_HOME={home}".encode(), time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                title = (process / "cmdline").read_bytes()
                trains = b"TrialWorker" in title or b"ResourceTrainable" in title
                if trains and mark in (process / "environ").read_bytes():
                    return int(process.name)
            except OSError:
                continue
    raise AssertionError("no worker is running")


@pytest.mark.system
def test_weights_of_a_large_encoder_are_not_in_the_database_and_go_with_the_study(
    tmp_path, extreme, extreme_home
):
    home = shutil.copytree(extreme_home, tmp_path / "home")
    result = extreme
    assert result["modalities"]["a"]["model"]["version"] == "1"
    files = list((home / "weights").iterdir())
    large = [file for file in files if file.stat().st_size > 4_000_000]  # a million parameters
    assert large
    assert sum(path.stat().st_size for path in home.glob("studies.db*")) < 500_000
    settings = Settings(home=home)
    with Database(settings.store_url) as database:
        trials = StudyStore(database).trials(result["study"])
        kept = [trial.weights for trial in trials if trial.weights is not None]
        assert kept
        named = {digest for weights in kept for digest in weights.digests.values()}
        assert {file.name for file in files} == named
        with database.session() as session:
            session.delete(session.get(StudyRow, result["study"]))
        WeightStore(database, settings.weights).sweep()
    assert list((home / "weights").iterdir()) == []
