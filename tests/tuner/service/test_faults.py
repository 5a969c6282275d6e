"""Whatever is killed, a submitted study ends with the answer of an undisturbed one."""

import json
import random
import signal
import threading
import time
from contextlib import ExitStack

import httpx2
import psutil
import pytest

from tests.conftest import postgres, sqlalchemy_url, start_postgres, stop_postgres
from tests.support.in_process import answer_in_process
from tests.support.servers import ended, free_port, mlflow_ui, until
from tests.support.soak import soaked
from tests.tuner.service.conftest import QUICK, client_of, has_failed, serving
from tuner.client import Client
from tuner.storage.accounts import create_key
from tuner.storage.database import Database
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = pytest.mark.integration
LONGER = QUICK | {"trials": 8, "epochs": 40, "patience": 40}
FAULTS = ("service", "driver", "worker", "postgres", "mlflow")
DRIVER = "tuner.service.processes.driver"


def drivers(home, study=None):
    """Processes that a service of that home started, for one study or any."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if DRIVER in command and environment.get("TUNER_HOME") == str(home):
            found += [process] if study in (None, command[-1]) else []
    return found


def workers(driver):
    try:
        family = driver.children(recursive=True)
        return [process for process in family if "TrialWorker" in " ".join(process.cmdline())]
    except psutil.NoSuchProcess:
        return []


class World:
    """A service, its PostgreSQL and its MLflow, each of which can be made to fail."""

    def __init__(self, folder, stack):
        self._folder, self._ports = folder, {"service": free_port(), "mlflow": free_port()}
        self._postgres = stack.enter_context(postgres())
        self.database = stack.enter_context(Database(sqlalchemy_url(self._postgres)))
        self.home = folder / "service"
        stack.callback(lambda: [driver.kill() for driver in drivers(self.home)])
        self._running = {name: stack.enter_context(ExitStack()) for name in self._ports}
        self._processes = {}
        self.url = f"http://127.0.0.1:{self._ports['service']}"
        for name in ("mlflow", "service"):
            self._start(name)

    def fail(self, kind, driver, pause):
        """Make one part fail for some seconds; a driver, or its worker, is not brought back."""
        if kind == "driver":
            driver.kill()
        elif kind == "worker":
            until(lambda: workers(driver) or not driver.is_running(), fails_if=self.ended)
            for worker in workers(driver)[:1]:
                worker.kill()
        elif kind == "postgres":
            stop_postgres(self._postgres)
            time.sleep(pause)
            start_postgres(self._postgres)
        else:
            parts = self._processes[kind].children(recursive=True) if kind == "mlflow" else []
            for process in (self._processes[kind], *parts):
                process.send_signal(signal.SIGKILL)
            self._processes[kind].wait()
            assert kind != "service" or driver.is_running()  # it needs no API
            self._running[kind].close()
            time.sleep(pause)
            self._start(kind)

    def ended(self):
        """For `until`: says which server has ended."""
        gone = [name for name, process in self._processes.items() if not process.is_running()]
        return gone and f"{' and '.join(gone)} ended"

    def _start(self, name):
        port, home = self._ports[name], self._folder / name
        if name == "mlflow":
            server = mlflow_ui(home, port)
        else:
            environment = {
                "TUNER_DATABASE_URL": sqlalchemy_url(self._postgres),
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self._ports['mlflow']}",
            }
            server = serving(home, port, **environment)
        process, _ = self._running[name].enter_context(server)
        self._processes[name] = psutil.Process(process.pid)


@pytest.mark.parametrize(
    ("count", "apart"),  # faults, and seconds between them at most
    [
        pytest.param(3, 4, marks=pytest.mark.system),
        *(pytest.param(n, 12, marks=pytest.mark.soak) for n in (len(FAULTS), soaked(20))),
    ],
)
@pytest.mark.timeout(3000)
def test_every_study_ends_with_the_answer_of_an_undisturbed_one(
    new_home, tmp_path, data, count, apart
):
    path, chance = data(), random.Random(count)
    faults = [FAULTS[n % len(FAULTS)] for n in range(count)]
    chance.shuffle(faults)
    studies = []
    with ExitStack() as stack:
        new_home(tmp_path / "mlflow")
        world = World(tmp_path, stack)
        client = stack.enter_context(Client(world.url, create_key(world.database, "ada")))

        def some_driver():
            ended = ("done", "failed", "cancelled")
            if not studies or client.status(studies[-1]["id"])["status"] in ended:
                studies.append(client.submit(path, **LONGER, seed=len(studies), workers=1))
            return drivers(world.home, studies[-1]["study"])

        for kind in faults:
            driver = None
            while driver is None or not driver.is_running():
                (driver,) = until(some_driver, fails_if=world.ended)
                time.sleep(chance.uniform(0, apart))
            world.fail(kind, driver, chance.uniform(1, apart / 2))
        results = [client.result(study["id"], wait=True) for study in studies]
        again = client.submit(path, **LONGER, seed=0, workers=1)
        assert again["answered_from_store"]
    for seed, result in enumerate(results):
        spec = spec_from_options(LONGER | {"seed": seed})
        undisturbed = answer_in_process(spec, read_dataset(spec, str(path)))
        assert not result.failures
        assert result.joint == undisturbed.joint
        assert result.curve == undisturbed.curve
        assert result.modalities.a.model is not None


@pytest.mark.system
def test_a_cancelled_study_stops_within_seconds_and_keeps_its_trials(new_home, tmp_path, data):
    home = new_home(tmp_path / "home")
    with serving(home) as (_, url), client_of(home, url) as client:
        study = client.submit(
            data(), **LONGER | {"epochs": 2000, "patience": 2000, "trials": 30}, workers=1
        )
        until(lambda: client.status(study["id"])["trials"] >= 1, fails_if=has_failed(client, study))
        client.cancel(study["id"])
        until(lambda: not drivers(home, study["study"]), seconds=15)  # all of it takes minutes
        after = client.status(study["id"])
        assert (after["status"], after["trials"] >= 1) == ("cancelled", True)


@pytest.mark.soak
def test_a_service_told_to_stop_ends_what_it_was_asked_and_leaves_studies_alone(tmp_path, data):
    home, port = tmp_path / "home", free_port()
    path = data()
    with serving(home, port) as (process, url), client_of(home, url) as client:
        study = client.submit(path, **LONGER, seed=3, workers=1)
        (driver,) = until(lambda: drivers(home, study["study"]), fails_if=ended(process))
        until(lambda: client.status(study["id"])["trials"] >= 1, fails_if=has_failed(client, study))
        answers, heard = [], []

        def slowly():
            content = path.read_bytes()
            part = "--x\r\nContent-Disposition: form-data; name="
            spec = f'{part}"spec"\r\n\r\n{json.dumps(QUICK)}\r\n'
            yield f'{spec}{part}"file"; filename="slow.npz"\r\n\r\n'.encode() + content[:1000]
            process.terminate()
            time.sleep(3)
            yield content[1000:] + b"\r\n--x--\r\n"

        def upload():
            key = {"Authorization": f"Bearer {(home / 'api-key').read_text().strip()}"}
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            target = f"{url}/api/v1/studies"
            answers.append(httpx2.post(target, content=slowly(), headers=key | kind, timeout=60))

        def follow():
            heard.extend(client.watch(study["id"]))

        threads = [threading.Thread(target=each) for each in (follow, upload)]
        for thread in threads:
            thread.start()
        assert process.wait(30) == 0
        threads[1].join()
        assert answers[0].status_code == 201, answers[0].text
        assert driver.is_running()
        driver.terminate()  # as a machine that is drained does
        driver.wait(30)
        with serving(home, port):
            result = client.result(study["id"], wait=True)
            threads[0].join()  # what was followed goes on with the new one
            client.cancel(answers[0].json()["id"])
    assert [event.kind for event in heard].count("end") == 1
    numbers = [event.number for event in heard if event.kind != "end"]
    assert numbers == sorted(set(numbers))
    spec = spec_from_options(LONGER | {"seed": 3})
    assert result.joint == answer_in_process(spec, read_dataset(spec, str(path))).joint
