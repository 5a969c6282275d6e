"""Stores and services behind a real PgBouncer that pools transactions."""

import threading

import numpy as np
import pytest

from tests.conftest import sqlalchemy_url
from tests.support.in_process import answer_in_process
from tests.support.pooler import pgbouncer
from tests.support.servers import until
from tests.tuner.service.conftest import QUICK, arrays, has_failed, serving
from tuner.client import Client
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]
_CLIENTS, _TIMES = 8, 40


@pytest.fixture
def url(postgres_server, postgres_url):
    """The empty database behind a pooler with three connections to it."""
    assert postgres_url == sqlalchemy_url(postgres_server, "postgres")
    with pgbouncer(postgres_server, size=3) as url:
        yield url


def test_clients_that_take_turns_on_few_connections_find_what_they_wrote(url):
    """Tables are built by all at once, and each keeps its lease meanwhile."""
    faults, found, together = [], {}, threading.Barrier(_CLIENTS)

    def work(client):
        together.wait()
        with Database(url, patience=5, keeps_connections=client % 2 == 0) as database:
            store = StudyStore(database)
            for number in range(_TIMES):
                study = f"{client}-{number}"
                with Lease(database, study):
                    store.open(study, name=study, fingerprint="f" * 64, spec={"client": client})
                    store.set_status(study, "failed", f"of {client}")
                row = store.get(study)
                found[study] = (row.name, row.spec, row.status, row.error)

    def watched(client):
        try:
            work(client)
        except Exception as fault:  # noqa: BLE001  # told below
            faults.append(fault)

    threads = [threading.Thread(target=watched, args=(client,)) for client in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert found == {
        f"{client}-{number}": (f"{client}-{number}", {"client": client}, "failed", f"of {client}")
        for client in range(_CLIENTS)
        for number in range(_TIMES)
    }


def test_two_services_and_their_drivers_answer_studies_of_two_users(url, tmp_path):
    with Database(url) as database:
        keys = [create_key(database, user) for user in ("ada", "grace")]
    environment = {"TUNER_DATABASE_URL": url, "TUNER_SECRET_KEY": "k" * 32}
    homes, kept = [tmp_path / name for name in ("one", "two")], str(tmp_path / "uploads")
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for number, path in enumerate(paths):
        np.savez(path, **arrays(number))
    with (
        serving(homes[0], TUNER_UPLOADS=kept, **environment) as (_, one),
        serving(homes[1], TUNER_UPLOADS=kept, **environment) as (_, two),
        Client(one, keys[0]) as ada,
        Client(two, keys[1]) as grace,
    ):
        studies = [
            client.submit(path, **QUICK) for client, path in zip((ada, grace), paths, strict=True)
        ]
        results = []
        for client, study in zip((ada, grace), studies, strict=True):
            until(
                lambda client=client, study=study: client.status(study["id"])["status"] == "done",
                600.0,
                fails_if=has_failed(client, study),
            )
            results.append(client.result(study["id"]))
    for result, path in zip(results, paths, strict=True):
        spec = spec_from_options(QUICK)
        expected = answer_in_process(spec, read_dataset(spec, str(path)))
        assert (result.joint, result.curve) == (expected.joint, expected.curve)
    for home in homes:
        log = (home / "service.log").read_text()
        assert "the database tells nothing, and is asked instead" in log
        assert "prepared statement" not in log
