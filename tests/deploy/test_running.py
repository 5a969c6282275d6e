"""The deployment of `deploy/kubernetes/base` at work: two users, an upgrade, and restarts."""

import time
from contextlib import ExitStack

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from tests.support.deployment import Deployment
from tests.support.in_process import answer_in_process
from tests.tuner.service.conftest import QUICK, arrays
from tuner.client import Client
from tuner.storage import schema
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]
BEFORE = "0010"  # the schema of the version before
LONGER = QUICK | {"trials": 24, "batch": 4, "epochs": 300, "patience": 300}
_SOON = 600.0  # seconds in which a trial ends, on a busy machine


def downgrade(url):
    """Bring the tables to the version before, with what is in them."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config()
        folder = schema.__file__.replace("schema.py", "migrations")
        config.set_main_option("script_location", folder)
        config.attributes["connection"] = connection
        command.downgrade(config, BEFORE)
    found = version(engine)
    engine.dispose()
    assert found == BEFORE


def version(engine):
    with engine.connect() as connection:
        query = text(f"SELECT version_num FROM {schema.VERSION_TABLE}")
        return connection.execute(query).scalar_one()


class Going:
    """Studies that have to go on."""

    def __init__(self, database, studies):
        self._store, self._studies = StudyStore(database), studies

    def trials(self):
        return sum(self._store.trained(study) for study in self._studies)

    def statuses(self):
        rows = [self._store.get(study) for study in self._studies]
        ended = [row.error for row in rows if row.status in ("failed", "cancelled")]
        assert not ended, ended
        return {row.status for row in rows}

    def goes_on(self):
        """Wait for another finished trial."""
        before, deadline = self.trials(), time.monotonic() + _SOON
        while self.trials() == before:
            assert self.statuses() != {"done"}, "too short for what shall happen"
            assert time.monotonic() < deadline, "nothing goes on"
            time.sleep(0.5)


def test_it_goes_through_an_upgrade_and_restarts_with_the_answers_of_undisturbed_studies(tmp_path):
    paths = [tmp_path / f"{name}.npz" for name in ("first", "second")]
    for number, path in enumerate(paths):
        np.savez(path, **arrays(number))
    with ExitStack() as stack:
        deployment = Deployment(tmp_path, stack)
        with Database(deployment.database_url) as database:
            keys = [create_key(database, user) for user in ("ada", "grace")]
        deployment.start_services(TUNER_SLOTS="0")  # it drains: what is submitted waits
        with Client(deployment.urls[0], keys[0]) as ada:
            first = ada.submit(paths[0], **LONGER)
        deployment.stop_services()
        downgrade(deployment.database_url)
        deployment.start_services()
        database = stack.enter_context(Database(deployment.database_url))
        assert version(database.engine) == schema.VERSION
        with Client(deployment.urls[1], keys[1]) as grace:
            second = grace.submit(paths[1], **LONGER)
        going = Going(database, [first["study"], second["study"]])
        assert len(deployment.pieces) == 8
        for piece in deployment.pieces:
            going.goes_on()
            deployment.restart(piece)
        going.goes_on()
        while going.statuses() != {"done"}:
            time.sleep(1)
        results = []
        for key, study, url in zip(keys, (first, second), deployment.urls, strict=True):
            with Client(url, key) as client:
                assert [each["id"] for each in client.list()] == [study["id"]]
                results.append(client.result(study["id"]))
        names = {f"{name}-{side}-encoder" for name in ("first", "second") for side in "ab"}
        assert deployment.registered() == names
        kept = deployment.stored()
    for place in ("uploads/", "checkpoints/", "mlflow/"):
        assert any(key.startswith(place) for key in kept), place
    for result, path in zip(results, paths, strict=True):
        spec = spec_from_options(LONGER)
        expected = answer_in_process(spec, read_dataset(spec, str(path)))
        assert not result.failures
        assert (result.joint, result.curve) == (expected.joint, expected.curve)
