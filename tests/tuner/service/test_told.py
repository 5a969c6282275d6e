"""On PostgreSQL a service is told what happens, and asks little; where it is not told, it asks."""

import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.servers import until
from tests.support.statements import statements
from tests.tuner.service.conftest import Service
from tests.tuner.service.test_runner import Driver, submit
from tests.tuner.storage.requests.test_listener import end_listeners
from tuner.service.runner import Runner
from tuner.settings import Settings
from tuner.storage.accounts import keys, revoke_key
from tuner.storage.database import Database
from tuner.storage.requests.listener import Listener
from tuner.storage.studies import StudyStore

pytestmark = pytest.mark.integration
SOON = 10.0  # seconds, on a busy machine
STREAMS = 10


@pytest.fixture
def service(tmp_path, postgres_url):
    service = Service(Settings(home=tmp_path / "home", database_url=postgres_url))
    yield service
    service.stop()


@pytest.fixture
def deaf(monkeypatch):
    """Has nobody listen, as behind a pooler of transactions."""

    @contextmanager
    def nobody_listens():
        with monkeypatch.context() as patch:
            patch.setattr(Listener, "is_listening", property(lambda _: False))
            patch.setattr(Listener, "_told", lambda *_: None)
            yield

    return nobody_listens


def statements_a_second(database, seconds):
    with statements(database) as told:
        time.sleep(seconds)
    return len(told) / seconds


def delay(service, lines, study, number):
    """Seconds until a stream tells an event."""
    started = time.monotonic()
    service.store.tell(study, "progress", {"said": f"number {number}."})
    assert any(f"number {number}." in line for line in lines)
    return time.monotonic() - started


def test_who_follows_hears_sooner_and_asks_less(service, deaf):
    with service.client() as client, service.http() as http, ExitStack() as stack:
        study = client.submit("mfeat")
        streams = [
            stack.enter_context(http.stream("GET", f"/studies/{study['id']}/events"))
            for _ in range(STREAMS)
        ]
        lines = [stream.iter_lines() for stream in streams]
        until(lambda: service.listener.is_listening, SOON)
        time.sleep(1)  # they have begun
        found = {}
        for how, hearing in (("told", ExitStack()), ("asking", deaf())):
            with hearing:
                delays = []
                for number in range(5):
                    time.sleep(0.3)
                    delays.append(delay(service, lines[0], study["study"], f"{how}-{number}"))
                time.sleep(0.5)
                rate = statements_a_second(service.app_database, 3.2)
                found[how] = sorted(delays)[2], rate
    (told, asked_less), (asking, asked) = found["told"], found["asking"]
    print(f"an event arrives after {told:.3f} s, was {asking:.3f}")
    print(f"{STREAMS} streams ask {asked_less:.1f} statements a second, was {asked:.1f}")
    assert told < asking
    assert asked_less < asked / 2


def test_who_is_told_of_nothing_else_is_told_of_the_end_of_a_right(service):
    with service.client() as client, service.http() as http:
        study = client.submit("mfeat")
        with http.stream("GET", f"/studies/{study['id']}/events") as stream:
            until(lambda: service.listener.is_listening, SOON)
            time.sleep(0.5)
            started = time.monotonic()
            for key, _ in keys(service.database):
                revoke_key(service.database, key.id)
            list(stream.iter_lines())
        assert time.monotonic() - started < 2.5  # a look for the end of a right comes after 15 s


def test_events_that_nobody_told_of_arrive_all_the_same(service, monkeypatch):
    """Drivers of an older version write, and tell nobody."""
    with service.client() as client, service.http() as http:
        study = client.submit("mfeat")
        with http.stream("GET", f"/studies/{study['id']}/events") as stream:
            until(lambda: service.listener.is_listening, SOON)
            time.sleep(0.5)
            monkeypatch.setattr("tuner.storage.studies.hears_words", lambda _: False)
            assert (
                delay(service, stream.iter_lines(), study["study"], 1) < 12.0
            )  # and before a right is looked at


def test_a_lost_connection_costs_who_follows_nothing(service):
    with service.client() as client, service.http() as http:
        study = client.submit("mfeat")
        with http.stream("GET", f"/studies/{study['id']}/events") as stream:
            lines = stream.iter_lines()
            until(lambda: service.listener.is_listening, SOON)
            time.sleep(0.5)
            assert end_listeners(service.settings.store_url) == 1
            until(lambda: not service.listener.is_listening, SOON)
            assert delay(service, lines, study["study"], 1) < SOON / 4  # it is asked
            until(lambda: service.listener.is_listening, SOON)
            assert delay(service, lines, study["study"], 2) < SOON / 4


@contextmanager
def running(url, home, started):
    """A runner at work as in a service; yields its database, and what listens."""
    ended = threading.Event()
    with Database(url, keeps_connections=True) as database, Listener(database) as listener:
        runner = Runner(database, Settings(home=home, slots=2), listener)
        runner._launch = lambda study: started.setdefault(study, Driver())

        def work():
            while not ended.wait(0.1):
                runner.tick()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield database, listener
        finally:
            ended.set()
            thread.join()


def test_a_runner_asks_when_it_is_told_and_stops_what_is_cancelled(postgres_url, tmp_path, deaf):
    started = {}
    with Database(postgres_url) as beside:
        store = StudyStore(beside)
        with running(postgres_url, tmp_path, started) as (database, listener):
            until(lambda: listener.is_listening, SOON)
            submissions, users, made = submit(store, ada=["s1", "s2"])
            begun = time.monotonic()
            until(lambda: set(started) == {"s1", "s2"}, SOON)
            assert time.monotonic() - begun < 2.5  # it looks every five seconds by itself
            time.sleep(0.5)
            asked_less = statements_a_second(database, 3.0)
            with deaf():
                asked = statements_a_second(database, 1.0)
            begun = time.monotonic()
            submissions.cancel(users["ada"], made["s1"].id)
            until(lambda: started["s1"].code is not None, SOON)
            took = time.monotonic() - begun
    print(f"a runner asks {asked_less:.1f} statements a second, was {asked / 5:.1f} at two ticks")
    print(f"a driver is stopped {took:.2f} s after its study was cancelled")
    assert took < 2.5
    assert started["s2"].code is None
    assert asked_less < asked / 5 / 2
