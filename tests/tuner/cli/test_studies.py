"""Studies of this machine are listed, read, reported and compared without a service."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from tuner.cli.main import app
from tuner.data.dataset import Split
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.requests.submissions import CheckedSubmission, Submissions
from tuner.study.spec import StudySpec


@pytest.fixture
def tuner(tmp_path, monkeypatch):
    """Runs a command on a home of its own."""
    for name in ("TUNER_URL", "TUNER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))

    def run(*words, code=0):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture
def store(tmp_path, classification):
    """A store with a study that has its answer, and one that failed."""
    (tmp_path / "home").mkdir()
    store = classification.store(f"sqlite:///{tmp_path / 'home' / 'studies.db'}")
    study = classification.study
    result = classification.result.model_dump(mode="json")
    store.update(study.id, status="done", result=result)
    spec = StudySpec(trials=9, name="other").model_dump(mode="json")
    store.open("0123456789abcdef", name="other", fingerprint="f" * 64, spec=spec)
    store.update("0123456789abcdef", status="failed", error="planted")
    yield store
    store.database.close()


def test_where_nothing_was_run_nothing_is_listed_nor_made(tuner, tmp_path):
    assert "There are none: tuner run DATA" in tuner("list").stderr
    assert "there is none" in tuner("result", "x", code=2).stderr
    assert not (tmp_path / "home").exists()


def test_studies_are_listed(tuner, store, classification):
    latest, first = tuner("list").stdout.splitlines()
    assert latest == "0123456789abcdef  failed     other  0 trials  planted"
    assert first.startswith(f"{classification.study.id}  done       small-classification  7 trials")
    assert "λ* = 0, undecided" in first
    (line,) = tuner("list", "--status", "done", "--json").stdout.splitlines()
    assert json.loads(line)["verdict"] == "undecided"
    assert tuner("list", "--name", "nothing").stdout == ""


def test_an_answer_is_printed(tuner, store, classification):
    study, result = classification.study.id, classification.result
    assert json.loads(tuner("result", study, "--json").stdout) == result.model_dump(mode="json")
    lines = tuner("result", study, "--csv").stdout.splitlines()
    assert lines[0] == "lambda,target,mean,sem,replicates"
    assert len(lines) == 1 + 3 * len(result.curve)
    assert (
        "has no answer: it is failed: planted" in tuner("result", "0123456789abcdef", code=2).stderr
    )


def test_what_there_is_is_said_where_an_id_is_unknown(tuner, store, classification):
    for command in ("result", "report"):
        told = " ".join(tuner(command, "nothing", code=2).stderr.split())
        assert f"there are 0123456789abcdef (other), {classification.study.id}" in told
        assert "TUNER_URL" in told


def test_the_id_of_a_submission_will_do(tuner, store, classification):
    user = caller_of(store.database, create_key(store.database, "ada")).user
    wish = CheckedSubmission(
        user=user,
        study=classification.study.id,
        name="hers",
        fingerprint="f" * 64,
        spec={},
        source="/x",
        options={},
        request="r",
        idempotency_key=None,
    )
    submissions = Submissions(store.database, max_queued=9)
    mine = submissions.submit(wish)
    assert submissions.get(user, mine.id) == submissions.get(user, mine.study)
    told = tuner("result", mine.id, "--json").stdout
    assert json.loads(told)["study"] == classification.study.id
    later = submissions.submit(wish)
    assert submissions.get(user, mine.study).id == later.id
    other = caller_of(store.database, create_key(store.database, "grace")).user
    assert submissions.get(other, mine.study) is None
    submissions.share(user, mine.id, "grace")
    assert submissions.get(other, mine.study).id == mine.id


def test_studies_are_compared(tuner, store, classification):
    study = classification.study.id
    told = json.loads(tuner("compare", study, "0123456789abcdef", "--json").stdout)["studies"]
    assert [each["status"] for each in told] == ["done", "failed"]
    assert [each["options"]["trials"] for each in told] == [5, 9]
    assert [each["options"]["hidden"] for each in told] == [8, 128]
    assert "patience" not in told[0]["options"]
    assert told[0]["gain_interval"] == [-0.02, 0.022]
    table = tuner("compare", study, "0123456789abcdef").stdout
    assert re.search(r"trials ≠\s+│ 5\s+│ 9", table)
    assert "patience" not in table
    assert "name two studies" in tuner("compare", study, code=2).stderr


@pytest.mark.slow
def test_a_report_is_found_or_made_again(tuner, store, classification, tmp_path):
    study, dataset = classification.study, classification.study.dataset
    assert "does not know where its data are" in tuner("report", study.id, code=2).stderr
    place = tmp_path / "small-classification.npz"
    labels = np.array(dataset.classes)[dataset.y]
    np.savez(place, a=dataset.a.values, b=dataset.b.values, y=labels)
    assert not np.any(dataset.y < 0)
    assert len(dataset.indices(Split.TEST))
    store.update(study.id, options={"data": str(place)})
    page = tuner("report", study.id).stdout.strip()
    assert page == str(tmp_path / "home" / "reports" / study.id / "report.html")
    place.unlink()
    copy = tmp_path / "copy.html"
    assert tuner("report", study.id, "--out", str(copy)).stdout.strip() == str(copy)
    assert "small-classification" in copy.read_text()


def test_the_version_is_printed(tuner):
    assert re.fullmatch(r"tuner \d+\.\d+\.\d+\S*\n", tuner("--version").stdout)
