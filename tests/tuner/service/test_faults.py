"""Whatever is killed, a submitted study ends with the answer of an undisturbed one."""

import signal
import time
from contextlib import closing

import psutil
import pytest

from tests.servers import free_port
from tests.tuner.service.conftest import QUICK, serving
from tuner.client import Client
from tuner.settings import Settings
from tuner.store import StudyStore

pytestmark = pytest.mark.integration
LONGER = QUICK | {"trials": 8, "epochs": 40, "patience": 40, "workers": 1}


def drivers(study):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][-2:] == [DRIVER, study]
    ]


DRIVER = "tuner.service.driver"


def until(true, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def client_of(home, url):
    return Client(url, (home / "api-key").read_text().strip())


def test_the_api_and_a_driver_may_be_killed(tmp_path, data):
    home, port, path = tmp_path / "home", free_port(), data()
    with serving(home, port) as (process, url), client_of(home, url) as client:
        study = client.submit(path, **LONGER)
        until(lambda: client.status(study["id"])["trials"] >= 1)
        (driver,) = drivers(study["study"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert driver.is_running()  # it needs no API
    with closing(StudyStore(Settings(home=home).store_url)) as store:
        before = len(store.trials(study["study"]))
        until(lambda: len(store.trials(study["study"])) > before)
        driver.send_signal(signal.SIGKILL)
        driver.wait(10)
        kept = {t.request.number for t in store.trials(study["study"])}
        with serving(home, port) as (_, url), client_of(home, url) as client:
            disturbed = client.result(study["id"], wait=True)
            again = client.submit(path, **LONGER)
            assert again["answered_from_store"]
        assert kept
    other = tmp_path / "other"
    with serving(other) as (_, url), client_of(other, url) as client:
        undisturbed = client.result(client.submit(path, **LONGER)["id"], wait=True)
    for result in (disturbed, undisturbed):
        assert result.status == "done"
    assert disturbed.joint == undisturbed.joint
    assert disturbed.curve == undisturbed.curve


def test_a_cancelled_study_stops_within_seconds_and_keeps_its_trials(tmp_path, data):
    home = tmp_path / "home"
    with serving(home) as (_, url), client_of(home, url) as client:
        study = client.submit(data(), **LONGER | {"epochs": 2000, "patience": 2000, "trials": 30})
        until(lambda: client.status(study["id"])["trials"] >= 1)
        client.cancel(study["id"])
        started = time.monotonic()
        until(lambda: not drivers(study["study"]), seconds=30)
        assert time.monotonic() - started < 15
        after = client.status(study["id"])
        assert (after["status"], after["trials"] >= 1) == ("cancelled", True)
