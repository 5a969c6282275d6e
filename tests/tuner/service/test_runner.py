"""Which study is started when, and that each is started once."""

import threading
from pathlib import Path

import pytest

from tests.tuner.storage.requests.test_submissions import checked
from tests.tuner.storage.test_studies import trial
from tuner.service.runner import Runner
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.leases import Lease
from tuner.storage.requests.submissions import Submissions
from tuner.storage.weights import WeightStore


class Driver:
    """Stands in for a process."""

    def __init__(self):
        self.code = None

    def poll(self):
        return self.code

    def terminate(self):
        self.code = -15


@pytest.fixture
def started():
    return {}


@pytest.fixture
def runner(store, tmp_path, started, monkeypatch):
    """Makes runners whose drivers do nothing; `started` has the drivers by study, in order."""

    def make(**settings):
        runner = Runner(store.database, Settings(home=tmp_path / "home", **settings))

        def launch(study):
            assert study not in started or started[study].code is not None
            started[study] = Driver()
            return started[study]

        monkeypatch.setattr(runner, "_launch", launch)
        return runner

    return make


def submit(store, **studies):
    submissions = Submissions(store.database, max_queued=100)
    users = {n: caller_of(store.database, create_key(store.database, n)).user for n in studies}
    made = {}
    for name, wanted in studies.items():
        for study in wanted:
            made[study] = submissions.submit(checked(users[name], study))
    return submissions, users, made


def test_a_service_without_slots_drains(store, runner, started):
    submit(store, ada=["a1", "a2"])
    runner(slots=1).tick()
    assert list(started) == ["a1"]
    runner(slots=0).tick()
    assert list(started) == ["a1"]
    assert started["a1"].code is None  # what runs goes on
    assert store.get("a2").status == "queued"


def test_users_take_turns(store, runner, started):
    submit(store, ada=["a1", "a2", "a3", "a4"], grace=["g1"], alan=["x1"])
    work = runner(slots=10, max_running=2)
    work.tick()
    assert list(started) == ["a1", "g1", "x1", "a2"]  # then ada has as many as one may have
    started["a1"].code = 0
    store.update("a1", status="done", result={})
    work.tick()
    assert list(started)[4:] == ["a3"]


def test_many_runners_start_each_study_once(store, runner, started):
    submit(store, ada=[f"s{n}" for n in range(30)])
    runners = [runner(slots=8, max_running=100) for _ in range(4)]
    threads = [threading.Thread(target=work.tick) for work in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for work in runners:
        work.tick()
    assert len(started) == 30
    assert {store.get(study).attempts for study in started} == {1}


def test_a_study_whose_driver_died_is_started_again_but_not_for_ever(store, runner, started):
    submit(store, ada=["s1"])
    work = runner()
    for _ in range(5):
        work.tick()
        started["s1"].code = -9
    work.tick()
    work.tick()
    row = store.get("s1")
    assert (row.status, row.attempts) == ("failed", 5)
    assert row.error == "its driver died 5 times; the log of the service says why"


def test_a_cluster_that_is_away_costs_a_study_nothing(store, runner, started, monkeypatch):
    submit(store, ada=["s1"])
    work = runner()
    launch = work._launch

    def away(study):
        raise ConnectionError("planted")

    monkeypatch.setattr(work, "_launch", away)
    for _ in range(9):
        with pytest.raises(ConnectionError):
            work.tick()
    assert store.get("s1").attempts == 0
    monkeypatch.setattr(work, "_launch", launch)
    work.tick()
    assert list(started) == ["s1"]


def test_a_driver_that_takes_long_to_begin_is_waited_for(store, runner, started, monkeypatch):
    submit(store, ada=["s1"])
    work, other = runner(), runner()
    monkeypatch.setattr("tuner.storage.requests.queue._STARTING", 0.0)
    work.tick()
    assert list(started) == ["s1"]
    work.tick()
    other.tick()  # would start it again
    assert store.get("s1").attempts == 1


def test_a_study_that_somebody_works_on_is_left_alone(store, runner, started):
    submit(store, ada=["s1"])
    store.set_status("s1", "running")
    work = runner()
    with Lease(store.database, "s1"):
        work.tick()
        assert not started
    work.tick()
    assert list(started) == ["s1"]


def test_what_is_cancelled_before_it_runs_never_does(store, runner, started):
    submissions, users, made = submit(store, ada=["s1", "s2"])
    submissions.cancel(users["ada"], made["s1"].id)
    runner(slots=5, max_running=5).tick()
    assert list(started) == ["s2"]
    assert store.get("s1").status == "cancelled"


@pytest.mark.parametrize("ended", ["cancelled", "done", "failed"])
def test_what_was_deleted_while_it_ran_is_gone_once_it_stopped(store, runner, started, ended):
    submissions, users, made = submit(store, ada=["s1"])
    work = runner()
    data = work._settings.uploads / f"{'f' * 64}.npz"
    data.touch()
    work.tick()
    store.set_status("s1", "running")
    weights = WeightStore(store.database, work._settings.weights)
    store.record("s1", weights.keep("s1", trial(0, phase="confirm")))
    (file,) = Path(work._settings.weights).iterdir()
    submissions.delete(users["ada"], made["s1"].id)
    work.tick()
    assert data.exists()
    assert file.exists()
    store.update("s1", status=ended)
    started["s1"].code = 0
    work.tick()
    assert store.get("s1") is None
    assert not data.exists()
    assert not file.exists()


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_driver_that_fell_silent_is_given_up_though_it_is_said_to_run(
    store, runner, started, monkeypatch, has_begun
):
    submit(store, ada=["s1"])
    now = [1000.0]
    monkeypatch.setattr("tuner.service.runner.time.monotonic", lambda: now[0])
    work = runner()
    work.tick()
    silent = started["s1"]
    if has_begun:
        with Lease(store.database, "s1"):
            work.tick()
        now[0] += 1000.0  # as when the database was away
        work.tick()
        with Lease(store.database, "s1"):
            work.tick()
    now[0] += 1000.0
    work.tick()
    now[0] += 14.0 if has_begun else 1500.0  # it may be about to end; or reads large data still
    work.tick()
    assert silent.code is None
    now[0] += 2.0 if has_begun else 1200.0
    work.tick()
    assert silent.code == -15
    assert started["s1"] is not silent


def test_who_waits_for_room_holds_no_slot_and_no_turn_of_its_user(store, runner, started):
    submit(store, ada=["big1", "big2", "small1"], grace=["g1"])
    work = runner(slots=1, max_running=1)
    work.tick()
    assert list(started) == ["big1"]
    with Lease(store.database, "big1"):
        store.set_status("big1", "queued", "waits for 4 GPUs; the cluster has 1")
        work.tick()
        assert list(started) == ["big1", "big2"]
        store.set_status("big2", "queued", "waits for 4 GPUs; the cluster has 1")
        work.tick()  # two drivers are as many as one slot bears: the first gives way
        assert started["big1"].code == -15
    work.tick()
    assert list(started) == ["big1", "big2", "small1"]
    assert store.get("big1").attempts == 0
    assert store.get("big1").status == "queued"


def test_who_was_put_off_is_tried_again_later_and_never_fails(store, runner, started, monkeypatch):
    submit(store, ada=["s1"])
    work = runner()
    monkeypatch.setattr("tuner.storage.requests.queue._PUT_OFF", 0.0)
    for _ in range(9):
        work.tick()
        store.set_status("s1", "queued", "Ray did not start in time")
        started["s1"].code = 0
        work.tick()
    row = store.get("s1")
    assert (row.status, row.error) == ("queued", "Ray did not start in time")
    assert row.attempts <= 1
    monkeypatch.setattr("tuner.storage.requests.queue._PUT_OFF", 100.0)
    started["s1"].code = 0
    work.tick()
    drivers = len(started), started["s1"]
    work.tick()
    assert (len(started), started["s1"]) == drivers
