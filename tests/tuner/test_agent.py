"""`tuner agent`: a study whose trainings run wherever somebody asks for them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, chdir

import pytest
from typer.testing import CliRunner

from tests.support.scripted import answer
from tests.support.servers import ended, until
from tests.tuner.drivers.test_tuning import CODE, OPTIONS, SPEC, code, report
from tests.tuner.service.conftest import Service
from tuner.agent import Agent
from tuner.cli.main import app
from tuner.errors import SpecError, StudyFailedError
from tuner.scripts.script import Script
from tuner.service.processes.driver import run
from tuner.settings import Settings

pytestmark = pytest.mark.integration
OF_ITS_OWN = {"cost", "mlflow", "unpublished", "study", "script", "name", "saved", "model"}


@pytest.fixture(scope="module")
def service(new_home, tmp_path_factory):
    home = new_home(tmp_path_factory.mktemp("service"))
    slow = CODE.replace("time.sleep(0.1)", "time.sleep(float(os.environ.get('SLOW', '0')))")
    (home / "known.py").write_text(slow)
    service = Service(Settings(home=home))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def ada(service):
    with service.client("ada") as client:
        yield client


@pytest.fixture(scope="module")
def submitted(service):
    """A study as the command submits it, with a driver on a thread."""
    home = service.settings.home
    words = ["tune", *OPTIONS, "--submit-to", service.url, "--", *code(home)]
    with chdir(home):
        done = CliRunner().invoke(app, words, env={"TUNER_API_KEY": service.key("ada")})
    assert done.exit_code == 0, done.output
    return done.stdout.split()[0]


def driven(service, study):
    driver = threading.Thread(target=run, args=(study, service.settings), daemon=True)
    driver.start()
    return driver


def agent_of(service, client, study, **options):
    home = service.settings.home
    script = Script.of_command(code(home), home)
    folder = home / "trainings"
    return Agent(client=client, study=study, script=script, folder=folder, **options)


def agent_process(service, study, log):
    """An agent whose training does not end."""
    home = service.settings.home
    environment = {"TUNER_HOME": str(home), "TUNER_API_KEY": service.key("ada"), "SLOW": "600"}
    words = [sys.executable, "-m", "tuner", "agent", service.url, study, "--", *code(home)]
    with log.open("wb") as file:
        return subprocess.Popen(words, env=os.environ | environment, stderr=file, cwd=home)


@pytest.mark.system
def test_agents_come_and_go_and_the_answer_is_that_of_trainings_here(service, ada, submitted):
    study = ada.status(submitted)["study"]
    driver = driven(service, study)
    logs = [service.settings.home / name for name in ("killed.log", "interrupted.log")]
    with ExitStack() as stack:
        killed, interrupted = (agent_process(service, submitted, log) for log in logs)
        for process, log in zip((killed, interrupted), logs, strict=True):
            stack.callback(process.wait)
            stack.callback(process.kill)
            until(lambda log=log: b"begins" in log.read_bytes(), 60.0, fails_if=ended(process, log))
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.wait(30) == 130
    trained = []
    agent = agent_of(service, ada, submitted, on_training=lambda a, w: trained.append((a, w)))
    with service.database.session() as session:
        held = session.connection().exec_driver_sql("SELECT expires FROM tuner_handouts").scalars()
        assert sum(expires > time.time() for expires in held) == 1  # that of the killed one
        session.connection().exec_driver_sql("UPDATE tuner_handouts SET expires = 0")  # it is over
    agent.work()
    driver.join()
    done = [(a["strength"], a["seed"]) for a, words in trained if words == "done"]
    expected, finished = answer(SPEC, report)
    assert len(set(done)) == len(done) == len(finished)
    result = ada.result(submitted)
    # A path that an agent tells is of its machine: the service puts nothing of its own in MLflow.
    assert result.saved is not None
    assert result.model is None
    told = json.loads(result.model_dump_json(exclude=OF_ITS_OWN))
    assert told == json.loads(expected.model_dump_json(exclude=OF_ITS_OWN))


def test_an_agent_of_other_code_or_of_a_study_that_is_over_says_so(service, ada):
    other = ada.submit_elsewhere("train.py", "0" * 64, trials=4)["id"]
    with pytest.raises(SpecError, match="other code"):
        agent_of(service, ada, other).work()
    ours = ada.submit_elsewhere("train.py", "v1", trials=4)["id"]
    ada.cancel(ours)
    with pytest.raises(StudyFailedError, match="was cancelled"):
        agent_of(service, ada, ours).work()
