"""Services on free ports, each with a home of its own."""

import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
import uvicorn

from tests.support.rules import starts
from tests.support.servers import answers, free_port, until
from tuner.client import Client
from tuner.errors import ServiceError
from tuner.service.app import create_app
from tuner.settings import Settings
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore

QUICK = {"trials": 4, "replicates": 2, "confirm_replicates": 2, "epochs": 3, "hidden": 8}


def arrays(seed=0, rows=150):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = rng.normal(size=(rows, 4)) + y[:, None]
    b = rng.normal(size=(rows, 3)) + y[:, None]
    return {"a": a.astype(np.float32), "b": b.astype(np.float32), "y": y}


@pytest.fixture
def data(tmp_path):
    """Writes a small data set."""

    def write(name="small.npz", seed=0, **changes):
        path = tmp_path / name
        np.savez(path, **(arrays(seed) | changes))
        return path

    return write


class Service:
    """The API alone, on a thread: nothing runs what is submitted.

    Attributes:
        url: Where it is.
        settings: Its settings.
        database: Its database.
        app_database: The same one, over its own connections.
        listener: What hears of changes in it, on PostgreSQL.
        store: The studies in it.
    """

    def __init__(self, settings):
        starts("a service")
        self.settings, self.database = settings, Database(settings.store_url)
        self.store = StudyStore(self.database)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        app = create_app(settings, run_studies=False)
        self.app_database = app.state.parts.database
        self.listener = app.state.parts.listener
        config = uvicorn.Config(app, port=port, log_config=None, lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(
            lambda: self._server.started,
            60.0,
            fails_if=lambda: not self._thread.is_alive() and "the thread of the service ended",
        )

    def stop(self):
        self._server.should_exit = True
        self._thread.join()
        self.database.close()

    def key(self, user="ada", scopes=("read", "write")):
        return create_key(self.database, user, scopes)

    def client(self, user="ada", **options):
        return Client(self.url, self.key(user), **options)

    def http(self, user="ada", scopes=("read", "write")):
        headers = {"Authorization": f"Bearer {self.key(user, scopes)}"}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=60)


@pytest.fixture
def service(tmp_path):
    service = Service(Settings(home=tmp_path / "home", max_upload=2**20, max_queued=5))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory):
    """One service for tests that each have users and questions of their own."""
    service = Service(Settings(home=tmp_path_factory.mktemp("home"), max_upload=2**20))
    yield service
    service.stop()


@contextmanager
def serving(home, port=None, **environment):
    """`tuner serve` as a process."""
    starts("a service")
    port = port or free_port()
    settings = Settings(home=home)
    log = (settings.folder / "service.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "serve", "--port", str(port)],
        env=os.environ | {"TUNER_HOME": str(home)} | environment,
        stdout=log,
        stderr=log,
    )
    with closing(log):
        try:
            answers(process, f"http://127.0.0.1:{port}/health/ready", Path(log.name))
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def has_failed(client, study):
    """For `until`: says why a study has failed."""

    def reason():
        now = client.status(study["id"])
        return now["status"] == "failed" and f"the study failed: {now['error']}"

    return reason


def client_of(home, url):
    return Client(url, (home / "api-key").read_text().strip())


def refused(call, status):
    with pytest.raises(ServiceError) as caught:
        call()
    assert caught.value.status == status, caught.value
    return str(caught.value)


def uploads(service):
    return sorted(path.name for path in service.settings.uploads.iterdir())
