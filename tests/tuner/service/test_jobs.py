"""Studies as jobs on a Ray cluster, which the service reaches over HTTP alone."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.in_process import answer_in_process
from tests.support.servers import ask_ray, free_port, ray_head
from tests.tuner.service.conftest import QUICK, serving
from tuner.client import Client
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def test_a_study_runs_as_a_job_and_can_be_stopped(tmp_path, data, monkeypatch):
    home, path, port = tmp_path / "home", data(), free_port()
    shared = {"TUNER_HOME": str(home)}
    dashboard = ("--include-dashboard=true", "--dashboard-port", str(port))
    dashboard += ("--resources", '{"driver": 3}')
    monkeypatch.setenv("TUNER_HOME", str(home))  # of the cluster's machines, too
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    with ray_head(tmp_path, 2, *dashboard) as ray:
        jobs = ray | shared | {"RAY_ADDRESS": f"http://127.0.0.1:{port}"}
        jobs |= {"TUNER_DRIVER_RESOURCE": "driver"}
        with (
            serving(home, **jobs) as (_, url),
            Client(url, (home / "api-key").read_text().strip()) as client,
        ):
            study = client.submit(path, **QUICK)
            result = client.result(study["id"], wait=True)
            told = client.submit(path, **QUICK | {"epochs": 3000, "patience": 3000, "seed": 1})
            for event in client.watch(told["id"]):
                if event.kind == "progress":
                    break
            assert "1.0/3.0 driver" in ask_ray(port, tmp_path, "cluster_status?format=1")
            client.cancel(told["id"])
            assert list(client.watch(told["id"]))[-1].content["status"] == "cancelled"
            listed = json.loads(ask_ray(port, tmp_path, "jobs/"))
    spec = spec_from_options(QUICK)
    expected = answer_in_process(spec, read_dataset(spec, str(path)))
    assert (result.joint, result.curve) == (expected.joint, expected.curve)
    assert {job["metadata"]["study"] for job in listed} == {study["study"], told["study"]}
    assert "postgres" not in json.dumps(listed)
    with Database(Settings(home=home).store_url) as database:
        assert StudyStore(database).get(study["study"]).attempts == 1
