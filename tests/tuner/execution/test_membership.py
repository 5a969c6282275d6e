"""A driver whose cluster takes it for gone ends, and its study goes on where it was."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.nodes import Node
from tests.support.programs import redis_server
from tests.support.rules import starts
from tests.support.servers import ended, free_port, until
from tests.support.simulated import simulate
from tuner.execution import membership
from tuner.execution.membership import Membership
from tuner.models.config import TrainingConfig
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.spec import StudySpec
from tuner.study.study import Study

SPEC = StudySpec(
    trials=8, batch=2, replicates=2, confirm_replicates=2, training=TrainingConfig(epochs=2)
)
TRAIN = simulate(lambda strength: 0.6 + strength / 20)
DATA = worlds.null(0, rows=200)
DRIVER = """
import faulthandler, sys, time
faulthandler.dump_traceback_later(270, exit=True)  # where it hangs
from tests.tuner.execution.test_membership import DATA, SPEC, TRAIN
from tuner.drivers.orchestrator import run_study
from tuner.errors import PutOffError
from tuner.settings import Settings
from tuner.study.study import Study

def train(*arguments):
    time.sleep(1)
    return TRAIN(*arguments)

try:
    run_study(Study.of(SPEC, DATA), Settings(), workers=1, train=train)
except PutOffError as error:
    sys.exit(f"put off: {error}")
"""
_PASSWORD = "p" * 32


def test_it_is_over_once_the_head_has_said_so_twice_in_a_row(monkeypatch):
    dead, alive = SimpleNamespace(is_dead=True), SimpleNamespace(is_dead=False)
    answers = [{1: dead}, {1: alive}, {1: dead}, OSError("away"), {}, {1: dead}, {1: dead}]

    class Head:
        def get_all_job_info(self, **_):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(membership, "_LOOK", 0.0)
    member = Membership()
    member._head, member._job = Head(), "01000000"
    member._work()
    assert member.is_over
    assert not answers


class Head:
    """The head of a cluster of one machine; Redis keeps what it knows."""

    def __init__(self, folder, stack):
        starts("Ray")
        token, port, keeper = folder / "ray-token", free_port(), free_port()
        token.write_text("a" * 64)
        self.access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        redis = [redis_server(), "--port", str(keeper), "--save", "", "--requirepass", _PASSWORD]
        server = subprocess.Popen(redis, stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        knowledge = {
            "RAY_REDIS_ADDRESS": f"127.0.0.1:{keeper}",
            "RAY_external_storage_namespace": "membership",
        }
        command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
        command += ["--port", port, "--num-cpus", 1, "--temp-dir", f"/tmp/ray-{port}"]
        command += ["--include-dashboard=false", "--disable-usage-stats"]
        command += ["--object-store-memory", 100 * 2**20, "--redis-password", _PASSWORD]
        self.node = Node(
            folder, "127.0.0.1", list(map(str, command)), None, self.access | knowledge
        )
        stack.callback(shutil.rmtree, f"/tmp/ray-{port}", ignore_errors=True)
        stack.callback(self.node.kill)
        until(lambda: "Ray runtime started" in self.node._log.read_text(), 120.0)
        self.access |= {"RAY_ADDRESS": f"127.0.0.1:{port}"}


@pytest.mark.integration
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_driver_that_a_head_no_longer_knows_ends_and_nothing_is_lost(tmp_path):
    with ExitStack() as stack:
        head = Head(tmp_path, stack)
        environment = os.environ | head.access | {"TUNER_HOME": str(tmp_path / "home")}
        log = stack.enter_context((tmp_path / "driver.log").open("wb"))

        def driver():
            command = [sys.executable, "-c", DRIVER]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

        database = stack.enter_context(Database(Settings(home=tmp_path / "home").store_url))
        store, study = StudyStore(database), Study.of(SPEC, DATA).id
        first = driver()
        reason = ended(first, tmp_path / "driver.log")
        until(lambda: store.trained(study) >= 3, fails_if=reason)
        head.node.kill()
        killed = time.monotonic()
        head.node.start()
        assert first.wait(180) == 1
        took = time.monotonic() - killed
        assert "put off: the Ray cluster takes" in (tmp_path / "driver.log").read_text()
        row, before = store.get(study), store.trials(study)
        assert row.status == "queued"
        assert "the study goes on when it is tried again" in row.error
        second = driver()
        assert second.wait(300) == 0, (tmp_path / "driver.log").read_text()[-5000:]
        after = {trial.request: trial.outcome.steps for trial in store.trials(study)}
        result = store.get(study).result
    print(f"it ended {took:.0f} s after its head was killed")
    assert took < 120
    assert {trial.request for trial in before} <= set(after)
    expected = answer_in_process(SPEC, DATA, TRAIN).model_dump(mode="json")
    assert [result[part] for part in ("joint", "curve")] == [
        expected[part] for part in ("joint", "curve")
    ]
