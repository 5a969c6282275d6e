"""Whatever of a study of training code is killed, and when: the answer is the undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import psutil
import pytest

from tests.support.scripted import answer
from tests.support.servers import ended, free_port, until
from tests.support.soak import soaked
from tests.tuner.drivers.test_tuning import CODE, SPEC, code, report, trainings_in, tune
from tests.tuner.service.conftest import client_of, serving
from tests.tuner.service.test_faults import drivers
from tests.tuner.test_agent import OF_ITS_OWN
from tuner.scripts.script import Script

pytestmark = pytest.mark.integration
# Each training says who trained it, once it has reported.
LEDGER = """
with open("ledger.txt", "a") as file:
    told = (os.environ.get("WORKER", ""), os.environ["TUNER_CONFIRMING"], strength, seed)
    file.write(" ".join(map(str, told)) + "\\n")
"""
COUNTS = [
    pytest.param(5, marks=pytest.mark.system),
    pytest.param(soaked(20), marks=pytest.mark.soak),
]


@pytest.fixture
def home(new_home, tmp_path):
    home = new_home(tmp_path / "home")
    (home / "known.py").write_text(CODE.replace("sleep(0.1)", "sleep(0.5)") + LEDGER)
    (home / "ledger.txt").touch()
    return home


def processes_of(home, part):
    """Processes of a home's trainings: their supervisors, or what these started."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if str(home) in environment.get("TUNER_OUT", "") and any(part in word for word in command):
            found.append(process)
    return found


def kill(process):
    with suppress(psutil.NoSuchProcess):
        process.kill()


def ended_well(home):
    """What supervisors wrote down of trainings that had reported, by folder."""
    marks = (home / "trainings").rglob("ended.txt")
    return {str(mark): mark.read_text() for mark in marks}


def check(told, home, kept, lost_at_most):
    """The answer is that of no kill, and of what had ended nothing was trained again."""
    expected, finished = answer(SPEC, report)
    told = {name: value for name, value in told.items() if name not in OF_ITS_OWN}
    assert told == json.loads(expected.model_dump_json(exclude=OF_ITS_OWN))
    assert kept.items() <= ended_well(home).items()
    ledger = (home / "ledger.txt").read_text().splitlines()
    trained = [line.split()[1:] for line in ledger]
    assert len({tuple(line) for line in trained}) == len(finished)
    assert len(trained) - len(finished) <= lost_at_most  # killed between its report and its end
    return ledger


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("count", COUNTS)
def test_driver_and_trainings_are_killed(home, count):
    chance, kept, stored = random.Random(count), {}, set()
    parts = ["driver", "supervisor", "known.py"] * count
    words = {
        "env": os.environ | {"TUNER_HOME": str(home)},
        "cwd": home,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    driver = None
    try:
        for part in parts[:count]:
            if driver is None or driver.poll() is not None:
                driver = subprocess.Popen(
                    tune(home, "--workers", "2", "--json"), start_new_session=True, **words
                )
            until(
                lambda part=part: processes_of(home, "known.py" if part == "driver" else part),
                120.0,
                fails_if=ended(driver),
            )
            time.sleep(chance.uniform(0, 0.6))
            kept |= ended_well(home)
            if part == "driver":
                os.killpg(driver.pid, signal.SIGKILL)
                driver.communicate()
                assert stored <= (stored := trainings_in(home))
                continue
            for process in processes_of(home, part)[:1]:
                kill(process)
        if driver.poll() is None:
            out, err = driver.communicate(timeout=300)
        if driver.returncode:
            done = subprocess.run(tune(home, "--workers", "2", "--json"), timeout=300, **words)
            out, err = done.stdout, done.stderr
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    assert out, err
    assert stored <= trainings_in(home)
    check(json.loads(out), home, kept, lost_at_most=count)


class World:
    """A service, and two agents of names that stay; each is there again after a kill."""

    def __init__(self, home, stack):
        self.home, self._stack, self.port = home, stack, free_port()
        self.service = stack.enter_context(ExitStack())
        self.agents = {}
        self.start_service()

    def start_service(self):
        self.process, self.url = self.service.enter_context(serving(self.home, self.port))

    def start_agent(self, name, study):
        key = (self.home / "api-key").read_text().strip()
        told = {"TUNER_HOME": str(self.home), "TUNER_API_KEY": key, "WORKER": name}
        words = ["agent", self.url, study, "--name", name, "--", *code(self.home)]
        log = self._stack.enter_context((self.home / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tuner", *words],
            env=os.environ | told,
            cwd=self.home,
            stdout=log,
            stderr=log,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.agents[name] = process

    def kill(self, part, name, study):
        if part == "service":
            self.process.kill()
            self.process.wait()
            self.service.close()
            self.start_service()
        elif part == "driver":
            for driver in drivers(self.home):
                kill(driver)
        elif part == "agent":
            self.agents[name].kill()
            self.agents[name].wait()
            self.start_agent(name, study)
        else:
            for process in processes_of(self.home, part)[:1]:
                kill(process)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("count", COUNTS)
def test_agents_trainings_and_the_service_are_killed(home, count):
    """No two agents train the same λ and seed, and none twice that had ended."""
    chance, kept = random.Random(count), {}
    parts = ["agent", "service", "known.py", "supervisor", "driver"] * count
    with ExitStack() as stack:
        stack.callback(lambda: [kill(driver) for driver in drivers(home)])
        world = World(home, stack)
        client = stack.enter_context(client_of(home, world.url))
        digest = Script.of_command(code(home), home).digest
        options = SPEC.model_dump(mode="json", exclude_unset=True)
        study = client.submit_elsewhere("known.py", digest, **options)["id"]
        for name in ("one", "two"):
            world.start_agent(name, study)
        for part in parts[:count]:
            until(
                lambda: processes_of(home, "known.py") or client.status(study)["status"] == "done",
                120.0,
            )
            time.sleep(chance.uniform(0, 0.6))
            kept |= ended_well(home)
            world.kill(part, chance.choice(list(world.agents)), study)
        result = client.result(study, wait=True)
        told = json.loads(result.model_dump_json())
        for name, agent in world.agents.items():
            assert agent.wait(60) == 0, (home / f"{name}.log").read_text()
    ledger = check(told, home, kept, lost_at_most=count)
    assert len({line.split(" ", 1)[0] for line in ledger}) == 2
    assert len(set(ledger)) == len({line.split(" ", 1)[1] for line in ledger})
