"""The process that runs one submitted study."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from tuner.data.errors import DataError
from tuner.service.processes.driver import _steps, run
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.spec import StudySpec

pytestmark = pytest.mark.integration


def test_a_study_of_a_newer_service_waits_for_a_newer_driver(tmp_path):
    spec = StudySpec().model_dump(mode="json")
    spec["later"] = 1
    spec["training"]["much_later"] = 2
    command = [sys.executable, "-P", "-m", "tuner.service.processes.driver", "s1"]
    with Database(Settings(home=tmp_path).store_url) as database:
        store = StudyStore(database)
        store.open("s1", name="n", fingerprint="f" * 64, spec=spec)
        store.update("s1", source="/data.npz")
        told = subprocess.run(
            command, env=os.environ | {"TUNER_HOME": str(tmp_path)}, capture_output=True, text=True
        )
        row = store.get("s1")
    assert told.returncode == 0, told.stderr
    assert row.status == "queued"
    assert row.error.startswith("waits for a newer version of tuner where studies run")
    assert "later" in row.error
    assert "training.much_later" in row.error


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("http://127.0.0.1:9/data.npz", "queued", r"waits: http://127\.0\.0\.1:9/data\.npz: "),
        ("/nowhere/data.npz", "failed", "does not exist"),
    ],
)
def test_a_study_waits_for_a_store_that_is_away_and_fails_without_its_data(
    tmp_path, source, status, words
):
    """It is not the study's fault that its data cannot be had at the moment."""
    settings = Settings(home=tmp_path, allowed_sources="http://127.0.0.1:9/")
    with Database(settings.store_url) as database:
        store = StudyStore(database)
        spec = StudySpec().model_dump(mode="json")
        store.open("s1", name="n", fingerprint="f" * 64, spec=spec)
        store.update("s1", source=source)
        with nullcontext() if status == "queued" else pytest.raises(DataError):
            run("s1", settings)
        row = store.get("s1")
    assert row.status == status
    assert re.search(words, row.error), row.error


def test_steps_before_the_first_training_are_told_the_moving_ones_now_and_then(monkeypatch):
    told, now = [], [0.0]
    store = SimpleNamespace(tell=lambda *what: told.append(what))
    monkeypatch.setattr("tuner.service.processes.driver.time.monotonic", lambda: now[0])
    on_step = _steps(store, "s1", "running")
    for row in range(10):  # a second each
        on_step(f"reading it: row {row} of 10")
        now[0] += 1.0
    on_step("starting Ray")
    on_step("starting workers")
    words = [content["step"] for _, _, content in told]
    rows = [f"reading it: row {row} of 10" for row in (0, 3, 6, 9)]
    assert words == [*rows, "starting Ray", "starting workers"]
    assert {(study, kind, content["status"]) for study, kind, content in told} == {
        ("s1", "status", "running")
    }
