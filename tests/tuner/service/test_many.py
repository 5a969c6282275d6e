"""Many studies of many users at once, on two services that share a database and a Ray cluster."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import func, select

from tests.support.in_process import answer_in_process
from tests.support.servers import ray_head
from tests.support.soak import soaked
from tests.tuner.service.conftest import QUICK, serving
from tuner.client import Client
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.storage.tables import EventRow
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = pytest.mark.integration
USERS = ("ada", "alan", "edsger", "grace", "kurt")


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, soaked(50)])
@pytest.mark.timeout(3000)
def test_each_study_runs_once_and_is_its_users_alone(tmp_path, data, postgres_url, count):
    path = data()
    with ExitStack() as stack:
        database = stack.enter_context(Database(postgres_url))
        ray = stack.enter_context(ray_head(tmp_path, cpus=4))
        environment = ray | {"TUNER_DATABASE_URL": postgres_url, "TUNER_SLOTS": "1"}
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
        tracking |= {"TUNER_ARTIFACTS": (tmp_path / "artifacts").as_uri()}
        urls = [
            stack.enter_context(serving(tmp_path / name, **environment, **tracking))[1]
            for name in ("one", "two")
        ]
        clients = {
            (user, url): stack.enter_context(Client(url, create_key(database, user)))
            for user in USERS
            for url in urls
        }

        def submit(seed):
            client = clients[USERS[seed % 5], urls[seed % 2]]
            return client.submit(path, **QUICK, seed=seed, workers=1)

        with ThreadPoolExecutor(10) as pool:
            made = list(pool.map(submit, range(count)))
        assert len({study["study"] for study in made}) == count
        waiting = set(range(count))
        while waiting:
            time.sleep(1)
            for seed in list(waiting):
                now = clients[USERS[seed % 5], urls[0]].status(made[seed]["id"])
                assert now["status"] in ("queued", "running", "done"), now["error"]
                waiting -= {seed} if now["status"] == "done" else set()
        for number, user in enumerate(USERS):
            own = {study["id"] for study in made[number::5]}
            for url in urls:
                assert {study["id"] for study in clients[user, url].list()} == own
        starts = (
            select(EventRow.study_id, func.count())
            .where(EventRow.kind == "status", EventRow.content["status"].as_string() == "running")
            .where(EventRow.content["step"].as_string().is_(None))  # what is done meanwhile is none
            .group_by(EventRow.study_id)
        )
        with database.session() as session:
            assert dict(session.execute(starts).all()) == {study["study"]: 1 for study in made}
        assert {StudyStore(database).get(study["study"]).attempts for study in made} == {1}
        results = [clients[USERS[s % 5], urls[1]].result(made[s]["id"]) for s in range(count)]
    for seed in range(0, count, 4):
        spec = spec_from_options(QUICK | {"seed": seed})
        expected = answer_in_process(spec, read_dataset(spec, str(path)))
        assert (results[seed].joint, results[seed].curve) == (expected.joint, expected.curve)


@pytest.mark.soak
def test_a_study_that_waits_for_gpus_says_so_and_lets_others_run(tmp_path, data):
    with (
        ray_head(tmp_path, 2) as ray,
        serving(tmp_path / "home", **ray, TUNER_SLOTS="1") as (_, url),
        Client(url, (tmp_path / "home" / "api-key").read_text().strip()) as client,
    ):
        big = client.submit(data(), **QUICK, gpus=4)["id"]
        started = time.monotonic()
        while client.status(big)["error"] is None:
            time.sleep(0.5)
        assert time.monotonic() - started < 60
        now = client.status(big)
        assert (now["status"], now["error"]) == ("queued", "waits for 4 GPUs; the cluster has 0")
        small = client.submit(data(), **QUICK, workers=1)
        assert client.result(small["id"], wait=True).status == "done"
        assert client.status(big)["status"] == "queued"
        client.cancel(big)
