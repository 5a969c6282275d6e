"""The process that runs one submitted study."""

import os
import subprocess
import sys

import pytest

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
