"""A message is due once its study ended, and one service has it at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tuner.storage.requests.test_submissions import checked
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.requests import outbox as module
from tuner.storage.requests.outbox import Message, Outbox
from tuner.storage.requests.submissions import Submissions

URL = "https://hooks.example/x"


@pytest.fixture
def outbox(database):
    return Outbox(database)


@pytest.fixture
def user(database):
    return caller_of(database, create_key(database, "ada")).user


@pytest.fixture
def submissions(database):
    return Submissions(database, max_queued=9)


def test_a_message_is_due_once_its_study_ended(outbox, submissions, store, user):
    mine = submissions.submit(checked(user, webhook=URL))
    submissions.submit(checked(user, "s2"))  # nobody is to be told
    store.set_status("s2", "failed")
    assert outbox.claim() is None
    store.set_status("s1", "failed")
    assert outbox.claim() == Message(submission=mine.id, user=user, url=URL, attempts=0)


def test_a_message_is_due_once_its_submission_is_cancelled(outbox, submissions, user):
    mine = submissions.submit(checked(user, webhook=URL))
    submissions.cancel(user, mine.id)
    assert outbox.claim().submission == mine.id


def test_one_of_many_has_it(outbox, submissions, store, user):
    submissions.submit(checked(user, webhook=URL))
    store.set_status("s1", "done")
    with ThreadPoolExecutor(4) as pool:
        messages = list(pool.map(lambda _: outbox.claim(), range(8)))
    assert sum(message is not None for message in messages) == 1


def test_a_message_of_a_service_that_died_is_due_again(
    outbox, submissions, store, user, monkeypatch
):
    submissions.submit(checked(user, webhook=URL))
    store.set_status("s1", "done")
    monkeypatch.setattr(module, "_SENDING", -1.0)
    assert outbox.claim() == outbox.claim() is not None


def test_a_message_is_due_again_when_it_was_planned_and_not_before(
    outbox, submissions, store, user
):
    submissions.submit(checked(user, webhook=URL))
    store.set_status("s1", "done")
    message = outbox.claim()
    outbox.plan(message, -1.0)
    again = outbox.claim()
    assert (again.submission, again.attempts) == (message.submission, 1)
    outbox.plan(again, 3600.0)
    assert outbox.claim() is None


def test_a_message_that_arrived_is_sent_no_more(outbox, submissions, store, user, monkeypatch):
    submissions.submit(checked(user, webhook=URL))
    store.set_status("s1", "done")
    monkeypatch.setattr(module, "_SENDING", -1.0)
    outbox.plan(outbox.claim(), None)
    assert outbox.claim() is None
