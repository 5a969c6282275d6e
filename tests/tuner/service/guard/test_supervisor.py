"""Whatever a task of the service raises, it is told, and tried again."""

import asyncio
import threading

import httpx2
import pytest

from tests.support.servers import until
from tests.tuner.service.conftest import Service
from tuner.service.guard import supervisor as module
from tuner.service.guard.supervisor import Supervisor
from tuner.settings import Settings


@pytest.mark.parametrize("fault", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_a_task_outlives_whatever_it_raises(fault, caplog):
    rounds = []

    def work():
        rounds.append(1)
        if len(rounds) < 4:
            raise fault("planted")

    async def scene():
        supervisor, seen = Supervisor(), {}
        async with supervisor.keeps("work", work, 0.001):
            while len(rounds) < 6:
                seen |= supervisor.troubles
                await asyncio.sleep(0.001)
            assert supervisor.troubles == {}
            assert supervisor.tasks == {"work": True}
        return seen

    seen = asyncio.run(scene())
    assert f"({fault.__name__}); it is tried again" in seen["work"]
    assert "planted" not in seen["work"]
    assert "the task work failed" in caplog.text


def test_a_task_that_does_not_come_back_is_told(monkeypatch):
    monkeypatch.setattr(module, "_HANGS", 0.05)
    release = threading.Event()

    async def scene():
        supervisor = Supervisor()
        async with supervisor.keeps("work", release.wait, 0.001):
            await asyncio.sleep(0.2)
            troubles = supervisor.troubles
            release.set()
        return troubles

    assert "has not come back" in asyncio.run(scene())["work"]


@pytest.mark.integration
def test_a_service_shows_what_its_tasks_do(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("a secret")

    monkeypatch.setattr("tuner.service.app.send_due", broken)
    monkeypatch.setattr("tuner.service.app._WEBHOOKS", 0.05)
    service = Service(Settings(home=tmp_path / "home"))
    try:

        def ready():
            return httpx2.get(f"{service.url}/health/ready").json()

        until(lambda: ready()["status"] == "degraded", 20.0)
        assert "failed" in ready()["tasks"]["webhooks"]
        assert "a secret" not in str(ready())
        told = httpx2.get(f"{service.url}/metrics").text
        assert 'tuner_task_up{task="webhooks"} 0.0' in told
        assert 'tuner_task_failures_total{task="webhooks"}' in told
    finally:
        service.stop()
