from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tuner.errors import ConflictError, TooManyError
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.submissions import CheckedSubmission, Submissions


@pytest.fixture
def submissions(database):
    return Submissions(database, max_queued=20)


@pytest.fixture
def users(database):
    return [caller_of(database, create_key(database, name)).user for name in ("ada", "grace")]


def checked(user, study="s1", *, key=None, request="r1", webhook=None):
    return CheckedSubmission(
        user=user,
        study=study,
        name=f"name of {study}",
        fingerprint="f" * 64,
        spec={"seed": 0},
        source="/data.npz",
        options={"workers": 2},
        request=request,
        idempotency_key=key,
        webhook=webhook,
    )


def test_a_new_question_is_queued(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    assert (mine.status, mine.answered, mine.trials, mine.result) == ("queued", False, 0, None)
    assert submissions.get(users[0], mine.id) == mine
    row = store.get("s1")
    assert (row.source, row.options) == ("/data.npz", {"workers": 2})


def test_the_same_request_is_written_down_once(submissions, users):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(submissions.submit, [checked(users[0], key="k")] * 8))
    assert len({each.id for each in made}) == 1
    other = submissions.submit(checked(users[1], key="k"))  # another user's key
    assert other.id != made[0].id
    with pytest.raises(ConflictError):
        submissions.submit(checked(users[0], "s2", key="k", request="r2"))


def test_a_question_that_was_answered_is_answered_at_once(submissions, store, users):
    submissions.submit(checked(users[0]))
    store.update("s1", status="done", result={"joint": {}})
    again = submissions.submit(checked(users[1]))
    assert (again.status, again.answered, again.result) == ("done", True, {"joint": {}})


def test_what_a_waiting_study_was_asked_stays_as_it_is(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    again = replace(checked(users[1]), source="/other.npz", options={"workers": 64})
    theirs = submissions.submit(again)
    row = store.get("s1")
    assert (row.source, row.options) == ("/data.npz", {"workers": 2})
    assert submissions.get(users[0], mine.id).options == {"workers": 2}
    assert submissions.get(users[1], theirs.id).options == {"workers": 64}


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_question_without_an_answer_is_asked_again(submissions, store, users, status):
    submissions.submit(checked(users[0]))
    store.update("s1", status=status, error="planted", attempts=9)
    again = submissions.submit(checked(users[0]))
    assert (again.status, again.error, again.answered) == ("queued", None, False)
    assert store.get("s1").attempts == 0


def test_nobody_sees_anothers(submissions, users):
    mine = submissions.submit(checked(users[0]))
    assert submissions.get(users[1], mine.id) is None
    assert submissions.cancel(users[1], mine.id) is None
    assert not submissions.delete(users[1], mine.id)
    assert submissions.page(users[1], before=None, limit=9, status=None, name=None) == []
    assert submissions.get(users[0], mine.id).status == "queued"


def test_a_shared_study_is_seen_and_not_changed(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    assert not submissions.share(users[0], mine.id, "nobody")
    for _ in range(2):
        assert submissions.share(users[0], mine.id, "grace")
    assert submissions.shared_with(mine.id) == ["grace"]
    assert submissions.get(users[1], mine.id) == mine
    assert mine.owner == "ada"
    assert submissions.page(users[1], before=None, limit=9, status=None, name=None) == [mine]
    submissions.cancel(users[1], mine.id)
    assert not submissions.delete(users[1], mine.id)
    submissions.unshare(users[1], mine.id, "grace")  # it is not hers to change
    assert submissions.get(users[1], mine.id).status == "queued"
    submissions.unshare(users[0], mine.id, "grace")
    assert submissions.get(users[1], mine.id) is None


def test_only_ones_own_can_be_shared(submissions, users):
    mine = submissions.submit(checked(users[0]))
    submissions.share(users[1], mine.id, "grace")
    submissions.share(users[0], mine.id, "ada")  # oneself: nothing to do
    assert submissions.shared_with(mine.id) == []
    submissions.share(users[0], mine.id, "grace")
    assert submissions.delete(users[0], mine.id)  # and with it the share
    assert submissions.get(users[1], mine.id) is None


def test_pages_are_complete_and_filtered(submissions, store, users):
    made = [submissions.submit(checked(users[0], f"s{n}")) for n in range(7)]
    submissions.submit(checked(users[1], "other"))
    store.update("s3", status="done", result={})
    submissions.cancel(users[0], made[5].id)

    def pages(**filters):
        asked_for = {"status": None, "name": None} | filters
        found, before = [], None
        while page := submissions.page(users[0], before=before, limit=3, **asked_for):
            found += page
            before = page[-1].number
        return [each.study for each in found]

    assert pages() == [f"s{n}" for n in reversed(range(7))]
    assert pages(status="done") == ["s3"]
    assert pages(status="cancelled") == ["s5"]
    assert pages(status="queued") == ["s6", "s4", "s2", "s1", "s0"]
    assert pages(name="of s2") == ["s2"]
    assert pages(name="%") == []


def test_a_study_ends_when_nobody_wants_it(submissions, store, users):
    mine, theirs = (submissions.submit(checked(user)) for user in users)
    assert submissions.cancel(users[0], mine.id).status == "cancelled"
    assert not store.get("s1").cancel_requested
    assert submissions.get(users[1], theirs.id).status == "queued"
    submissions.cancel(users[1], theirs.id)
    assert store.get("s1").cancel_requested


def test_an_answer_cannot_be_cancelled(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    store.update("s1", status="done", result={"joint": {}})
    assert submissions.cancel(users[0], mine.id).status == "done"


def test_deleting_keeps_what_others_asked_for(submissions, store, users):
    mine, theirs = (submissions.submit(checked(user)) for user in users)
    store.tell("s1", "progress", {})
    assert submissions.delete(users[0], mine.id)
    assert submissions.get(users[0], mine.id) is None
    assert submissions.get(users[1], theirs.id).status == "queued"
    assert submissions.delete(users[1], theirs.id)
    assert store.get("s1") is None
    assert submissions.events("s1", after=0) == []


def test_a_running_study_is_stopped_before_it_is_deleted(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    store.set_status("s1", "running")
    assert submissions.delete(users[0], mine.id)
    assert store.get("s1").cancel_requested


def test_unfinished_submissions_are_bounded(store, users):
    few = Submissions(store.database, max_queued=2)
    for n in range(2):
        few.submit(checked(users[0], f"s{n}"))
    with pytest.raises(TooManyError):
        few.submit(checked(users[0], "s2"))
    few.submit(checked(users[1], "s2"))
    store.update("s0", status="done", result={})
    few.submit(checked(users[0], "s3"))


def test_events_follow_each_other(submissions, store, users):
    submissions.submit(checked(users[0]))
    store.set_status("s1", "running")
    store.tell("s1", "progress", {"done": 1})
    store.set_status("s1", "failed", "planted")
    events = submissions.events("s1", after=0)
    assert [(e.kind, e.content) for e in events] == [
        ("status", {"status": "running", "error": None}),
        ("progress", {"done": 1}),
        ("status", {"status": "failed", "error": "planted"}),
    ]
    later = submissions.events("s1", after=events[0].id)
    assert [e.id for e in later] == [e.id for e in events[1:]]
