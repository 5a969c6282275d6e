"""Which study is next, and that each is claimed once."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.statements import statements
from tests.tuner.storage.requests.test_submissions import checked
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.leases import Lease
from tuner.storage.requests import queue as module
from tuner.storage.requests.queue import StudyQueue
from tuner.storage.requests.submissions import Submissions


@pytest.fixture
def queue(database):
    return StudyQueue(database)


@pytest.fixture
def submit(database):
    """Submits studies of a user; returns the user and the submissions' ids by study."""
    submissions = Submissions(database, max_queued=100)

    def submit(name, *studies):
        user = caller_of(database, create_key(database, name)).user
        return user, {s: submissions.submit(checked(user, s)).id for s in studies}

    submit.submissions = submissions
    return submit


def claims(queue, max_running=100):
    studies = []
    while study := queue.claim(1, max_running=max_running):
        studies += study
    return studies


def test_an_empty_queue_has_nothing(queue):
    assert queue.claim(1, max_running=1) == []


def test_users_take_turns_and_those_who_came_first_go_first(queue, submit):
    submit("ada", "a1", "a2", "a3")
    submit("grace", "g1", "g2")
    assert claims(queue) == ["a1", "g1", "a2", "g2", "a3"]


def test_nobody_has_more_than_is_allowed(queue, submit):
    submit("ada", "a1", "a2", "a3")
    submit("grace", "g1")
    assert claims(queue, max_running=1) == ["a1", "g1"]
    assert claims(queue, max_running=2) == ["a2"]


def one_by_one(users, running, max_running):
    """In which order studies start if each time whoever has the fewest running is next.

    Args:
        users: Who submitted each study, in the order of submission.
        running: How many of each user's run.
        max_running: Of one user.
    """
    waiting, running, started = dict(enumerate(users)), Counter(running), []
    while next_ones := [(running[u], n) for n, u in waiting.items() if running[u] < max_running]:
        started.append(min(next_ones)[1])
        running[waiting.pop(started[-1])] += 1
    return started


@pytest.mark.parametrize("seed", range(5))
def test_several_are_claimed_at_once_as_one_after_the_other(queue, submit, database, seed):
    rng = random.Random(seed)
    users = [rng.choice(("ada", "alan", "grace")) for _ in range(12)]
    keys = {u: caller_of(database, create_key(database, u)).user for u in set(users)}
    for number, user in enumerate(users):
        submit.submissions.submit(checked(keys[user], f"s{number}"))
    begun = rng.sample(range(12), 3)
    with ExitStack() as stack:
        for number in begun:
            stack.enter_context(Lease(database, f"s{number}"))
        left = [n for n in range(12) if n not in begun]
        order = one_by_one([users[n] for n in left], Counter(users[n] for n in begun), 3)
        expected = [f"s{left[n]}" for n in order]
        first = queue.claim(4, max_running=3)
        assert first + queue.claim(12, max_running=3) == expected
        assert len(first) == min(4, len(expected))


def test_a_study_of_two_users_is_claimed_once_in_the_turn_of_who_waits_less(queue, submit):
    submit("ada", "a1", "a2", "both")
    submit("grace", "both", "g1")
    assert queue.claim(9, max_running=2) == ["a1", "both", "a2", "g1"]


def test_many_claim_each_study_once(queue, submit):
    studies = [f"s{n}" for n in range(20)]
    submit("ada", *studies)
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(lambda _: claims(queue), range(4)))
    assert Counter(sum(rounds, claims(queue))) == dict.fromkeys(studies, 1)


def test_a_study_is_claimed_again_once_it_is_released(queue, submit, store):
    submit("ada", "s1")
    for attempt in (1, 2):
        assert queue.claim(1, max_running=1) == ["s1"]
        assert queue.claim(1, max_running=1) == []
        assert store.get("s1").attempts == attempt
        queue.release("s1")


def test_an_attempt_that_was_none_does_not_count(queue, submit, store):
    submit("ada", "s1")
    for _ in range(9):
        assert queue.claim(1, max_running=1) == ["s1"]
        queue.release("s1", was_started=False)
    assert store.get("s1").attempts == 0


def test_a_study_is_given_up_after_five_starts_in_vain(queue, submit, store):
    submit("ada", "s1")
    for _ in range(5):
        assert queue.claim(1, max_running=1) == ["s1"]
        queue.release("s1")
    assert queue.claim(1, max_running=1) == []
    assert (store.get("s1").status, store.get("s1").attempts) == ("failed", 5)
    assert "its driver died 5 times" in store.get("s1").error


def test_what_is_kept_is_not_claimed_by_others(queue, submit, monkeypatch):
    submit("ada", "s1", "s2")
    monkeypatch.setattr(module, "_STARTING", 0.0)
    assert queue.claim(1, max_running=9) == ["s1"]
    queue.keep(["s1"])
    assert queue.claim(1, max_running=9) == ["s2"]


def test_what_somebody_works_on_is_held_and_not_claimed(queue, submit, database):
    submit("ada", "s1", "s2")
    with Lease(database, "s1"):
        assert queue.held(["s1", "s2"]) == {"s1"}
        assert queue.claim(1, max_running=9) == ["s2"]
        assert queue.claim(1, max_running=9) == []
    assert queue.held(["s1", "s2"]) == set()
    assert queue.claim(1, max_running=9) == ["s1"]


def test_what_was_cancelled_ends_unless_somebody_works_on_it(queue, submit, store, database):
    user, ids = submit("ada", "s1", "s2")
    store.set_status("s2", "running")
    for study in ids.values():
        submit.submissions.cancel(user, study)
    with Lease(database, "s2"):
        assert queue.end_unwanted() == []
        assert store.get("s1").status == "cancelled"
        assert store.get("s2").status == "running"
    queue.end_unwanted()
    assert store.get("s2").status == "cancelled"
    assert queue.claim(1, max_running=9) == []


def test_what_nobody_has_submitted_any_more_is_deleted_once_it_ended(queue, submit, store):
    user, ids = submit("ada", "s1")
    store.open("own", name="n", fingerprint="e" * 64, spec={})  # of the command, not the service
    store.set_status("own", "done")
    store.set_status("s1", "running")
    submit.submissions.delete(user, ids["s1"])
    store.update("s1", status="done")
    assert queue.end_unwanted() == ["f" * 64]
    assert store.get("s1") is None
    assert store.get("own") is not None


@pytest.mark.parametrize("count", [2, 40])
def test_how_many_studies_there_are_costs_no_statement_more(queue, submit, database, count):
    studies = [f"s{n}" for n in range(count)]
    submit("ada", *studies)
    with ExitStack() as stack:
        for study in studies[: count // 2]:
            stack.enter_context(Lease(database, study))
        with statements(database) as told:
            assert queue.held(studies) == set(studies[: count // 2])
            assert queue.waiting_for_others(studies) == set()
            assert queue.end_unwanted() == []
            assert queue.claim(1, max_running=count) == [studies[count // 2]]
    assert len(told) <= 11
