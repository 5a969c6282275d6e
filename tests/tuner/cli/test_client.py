"""The commands of those who use a service, against a real one."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.tuner.service.conftest import Service, arrays
from tuner.cli.main import app
from tuner.settings import Settings

pytestmark = pytest.mark.integration
QUICK = ["--trials", "4", "--hidden", "8", "--nuisance-parameters", "hidden"]


@pytest.fixture
def service(tmp_path):
    service = Service(Settings(home=tmp_path / "home"))
    yield service
    service.stop()


@pytest.fixture
def tuner(service, tmp_path, monkeypatch):
    """Runs a command as a user of the service."""
    monkeypatch.setenv("TUNER_URL", service.url)
    monkeypatch.setenv("TUNER_API_KEY", service.key())
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "nobody"))
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, **arrays())
    return str(path)


def test_submit_takes_the_flags_of_run_and_options_by_name(tuner, data):
    words = [*QUICK, "--workers", "2", "--time-budget", "10m", "-o", "step_budget=500"]
    done = tuner("submit", data, *words, "-o", "hidden=16", "--json")
    assert done.exit_code == 0, done.output
    study = json.loads(done.stdout)
    assert (study["spec"]["trials"], study["spec"]["training"]["hidden"]) == (4, 16)
    assert study["spec"]["nuisance_parameters"] == ["hidden"]
    assert study["options"] == {"workers": 2, "time_budget": 600, "step_budget": 500}


def test_a_study_by_flags_is_that_by_options(tuner, data):
    flags = json.loads(tuner("submit", data, "--trials", "5", "--gpus", "0", "--json").stdout)
    options = json.loads(tuner("submit", data, "-o", "trials=5", "--json").stdout)
    assert flags["study"] == options["study"]


def test_each_command_prints_what_scripts_read_and_says_what_is_next(tuner, data):
    assert "tuner submit" in tuner("list").stderr
    submitted = tuner("submit", data, *QUICK)
    study = submitted.stdout.strip()
    assert f"tuner watch {study}" in submitted.stderr
    assert f"tuner result {study}" in submitted.stderr
    assert study in tuner("list").stdout
    assert "queued" in tuner("status", study).stdout
    edited = tuner("edit", study, "--name", "mine", "--tag", "a", "--tag", "b", "--archive")
    assert "mine" in edited.stdout
    assert study not in tuner("list").stdout
    tuner("edit", study, "--unarchive")
    assert "say what to change" in tuner("edit", study).stderr
    made = tuner("link", study, "--days", "2")
    assert "/#/shared/tl_" in made.stdout
    identifier = made.stderr.split()[-1]
    assert tuner("link", study, "--list").stdout.startswith(identifier)
    assert tuner("link", study, "--revoke", identifier).exit_code == 0
    assert tuner("link", study, "--list").stdout == ""
    other = tuner("submit", data, *QUICK, "--seed", "4").stdout.strip()
    assert re.search(r"seed ≠ +│ 0 +│ 4", tuner("compare", study, other).stdout)
    cancelled = tuner("cancel", study)
    assert cancelled.stdout.startswith(study)
    assert "goes on" in cancelled.stderr
    deleted = tuner("delete", study)
    assert (deleted.stdout, deleted.stderr) == ("", f"Deleted {study}.\n")


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["submit", "mfeat", "--trials", "2"], 2, "--trials 2: Input should be"),
        (["submit", "mfeat", "-o", "trials=2"], 2, "trials: Input should be"),
        (["submit", "mfeat", "-o", "trials"], 2, "write NAME=VALUE"),
        (["submit", "absent.npz"], 2, "there is no file absent.npz"),
        (["status", "0123456789abcdef"], 2, "you have no study"),
    ],
)
def test_what_is_refused_exits_with_2_and_says_why(tuner, words, code, reason):
    done = tuner(*words)
    assert done.exit_code == code
    assert reason in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


def test_without_a_key_it_says_how_to_get_one(tuner, monkeypatch):
    monkeypatch.delenv("TUNER_API_KEY")
    done = tuner("list")
    assert done.exit_code == 2
    assert "tuner key create" in done.stderr


def test_an_unknown_key_exits_with_1(tuner, monkeypatch):
    monkeypatch.setenv("TUNER_API_KEY", "tk_unknown")
    assert tuner("list").exit_code == 1


def test_a_broken_environment_is_told_by_its_variable(tuner, monkeypatch):
    monkeypatch.setenv("TUNER_MAX_DATA", "much")
    done = tuner("validate", "mfeat")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: TUNER_MAX_DATA: Input should be a valid integer")
