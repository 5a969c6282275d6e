from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from tuner.errors import ConflictError, TooManyError
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.requests.listing import Filter, Order, Position
from tuner.storage.requests.submissions import CheckedSubmission, Submissions


@pytest.fixture
def submissions(database):
    return Submissions(database, max_queued=20)


@pytest.fixture
def users(database):
    return [caller_of(database, create_key(database, name)).user for name in ("ada", "grace")]


def checked(user, study="s1", *, key=None, request="r1", webhook=None, **notices):
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
        **notices,
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
    assert submissions.page(users[1], limit=9) == []
    assert submissions.get(users[0], mine.id).status == "queued"


def test_a_shared_study_is_seen_and_not_changed(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    assert not submissions.share(users[0], mine.id, "nobody")
    for _ in range(2):
        assert submissions.share(users[0], mine.id, "grace")
    assert submissions.shared_with(mine.id) == ["grace"]
    assert submissions.get(users[1], mine.id) == mine
    assert mine.owner == "ada"
    assert submissions.page(users[1], limit=9) == [mine]
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
        found, after = [], None
        while page := submissions.page(users[0], after=after, limit=3, only=Filter(**filters)):
            found += page
            after = Position(number=page[-1].number)
        return [each.study for each in found]

    assert pages() == [f"s{n}" for n in reversed(range(7))]
    assert pages(status=("done",)) == ["s3"]
    assert pages(status=("cancelled",)) == ["s5"]
    assert pages(status=("cancelled", "done")) == ["s5", "s3"]
    assert pages(status=("queued",)) == ["s6", "s4", "s2", "s1", "s0"]
    assert pages(name="of s2") == ["s2"]
    assert pages(name="%") == []


def test_filters_find_what_they_say(submissions, store, users):
    made = [submissions.submit(checked(users[0], f"s{n}")) for n in range(5)]
    for n, verdict in enumerate(("align", "no detectable effect", "undecided")):
        store.update(f"s{n}", status="done", result={"joint": {"verdict": verdict, "lambda": 0}})
    edit = partial(submissions.edit, users[0])
    edit(made[0].id, note="Ünlike the others", tags=["first try", "50%"])
    edit(made[1].id, tags=["first", 'quo"ted', "grün"])
    edit(made[4].id, archived=True)
    assert submissions.edit(users[1], made[3].id, name="stolen") is None

    def found(**filters):
        return {each.study for each in submissions.page(users[0], limit=9, only=Filter(**filters))}

    assert found() == {"s0", "s1", "s2", "s3"}
    assert found(archived=True) == {"s4"}
    assert found(verdict=("undecided",)) == {"s1", "s2"}
    assert found(verdict=("align", "do not align")) == {"s0"}
    assert found(tag="first") == {"s1"}
    assert found(tag="50%") == {"s0"}
    assert found(tag='quo"ted') == found(tag="grün") == {"s1"}
    assert found(tag="%") == set()
    assert found(fingerprint="fff") == {"s0", "s1", "s2", "s3"}
    assert found(fingerprint="f0") == set()
    assert found(text="OTHERS") == {"s0"}
    assert found(text="FIRST") == {"s0", "s1"}
    assert found(text="name of s3") == {"s3"}
    assert submissions.tags(users[0]) == ["50%", "first", "first try", "grün", 'quo"ted']
    assert submissions.tags(users[1]) == []


@pytest.mark.parametrize("by", ["created", "name", "ended", "lambda"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_are_right_in_every_order_while_others_come_in(
    submissions, store, users, by, descending
):
    strengths = [0.5, None, 0.5, 0.0, None, 2.0, 0.1, 0.5]
    names = ["b", "A", "a", "c", "B", "a", "C", "ä"]
    made = [submissions.submit(checked(users[0], f"s{n}")) for n in range(8)]
    for n in (5, 0, 7, 2, 3, 6):
        result = {"joint": {"lambda": strengths[n], "verdict": "align"}}
        store.update(f"s{n}", status="done", result=result)
    for each, name in zip(made, names, strict=True):
        submissions.edit(users[0], each.id, name=name)
    order = Order(by=by, descending=descending)
    values = {
        "created": lambda each: each.number,
        "name": lambda each: each.name.lower(),
        "ended": lambda each: each.ended,
        "lambda": lambda each: each.result and each.result["joint"]["lambda"],
    }
    value = values[by]
    pages, after = [], None
    while page := submissions.page(users[0], limit=3, order=order, after=after):
        pages += page
        at = None if by == "created" else value(page[-1])
        after = Position(number=page[-1].number, value=at)
        if len(pages) < 7:
            late = submissions.submit(checked(users[0], f"late{len(pages)}"))
            submissions.edit(users[0], late.id, name="zz" if descending else "!")
    seen = [each for each in pages if each.study.startswith("s")]
    assert sorted(each.study for each in seen) == [f"s{n}" for n in range(8)]
    if by == "name":  # letters with marks are sorted by the database's own rules
        seen = [each for each in seen if each.name.isascii()]
    keys = [(value(each), each.number) for each in seen if value(each) is not None]
    assert keys == sorted(keys, reverse=descending)
    assert [value(each) for each in seen[len(keys) :]] == [None] * (len(seen) - len(keys))


def test_it_is_known_when_a_study_began_and_ended(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    assert (mine.started, mine.ended) == (None, None)
    store.set_status("s1", "running")
    store.set_status("s1", "queued")
    store.set_status("s1", "running")
    begun = submissions.get(users[0], mine.id)
    assert mine.created <= begun.started
    assert begun.ended is None
    store.set_status("s1", "failed", "planted")
    ended = submissions.get(users[0], mine.id)
    assert begun.started == ended.started <= ended.ended
    store.set_status("s1", "queued")
    assert submissions.get(users[0], mine.id).ended is None


def test_the_last_that_happened_is_told_while_a_study_goes_on(submissions, store, users):
    mine = submissions.submit(checked(users[0]))
    assert mine.news is None
    store.set_status("s1", "running")
    assert submissions.get(users[0], mine.id).news.content["status"] == "running"
    store.tell("s1", "progress", {"done": 1})
    news = submissions.get(users[0], mine.id).news
    assert (news.kind, news.content) == ("progress", {"done": 1})
    store.set_status("s1", "done")
    assert submissions.get(users[0], mine.id).news is None


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
