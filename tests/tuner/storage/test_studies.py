from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from tests.support import worlds
from tests.support.simulated import simulate
from tuner.errors import SpecError
from tuner.storage.database import Database
from tuner.storage.studies import Counts, StudyStore
from tuner.study.spec import StudySpec, WarmStart
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

QUESTION = Study.of(StudySpec(), worlds.null(0, rows=200))


def trial(number=0, phase="search", reason=None) -> FinishedTrial:
    request = TrialRequest(phase=phase, number=number, strength=0.25, seeds=(7, 2**31 + 5))
    if reason:
        return FinishedTrial(request=request, outcome=None, reason=reason)
    train = simulate(lambda _: 0.7)
    outcome = train(request, QUESTION.data, QUESTION.training, QUESTION.test_rows)
    return FinishedTrial(request=request, outcome=outcome)


@pytest.fixture
def store(store) -> StudyStore:
    """One with a study in it."""
    store.open("s1", name="n", fingerprint="f" * 64, spec={"seed": 0})
    return store


def test_trials_are_there_for_the_next_process_in_the_order_of_their_numbers(store):
    for finished in (trial(2), trial(0, phase="confirm"), trial(1, reason="NaN"), trial(0)):
        store.record("s1", finished)
    with Database(store.database.url) as another:
        again = StudyStore(another).trials("s1")
    assert [(t.request.phase, t.request.number) for t in again] == [
        ("search", 0),
        ("search", 1),
        ("search", 2),
        ("confirm", 0),
    ]
    assert again[1].reason == "NaN"
    assert again[1].outcome is None
    assert again[0].request == trial(0).request


def test_a_trial_is_recorded_once(store):
    store.record("s1", trial(0))
    store.record("s1", trial(0, reason="told twice"))
    assert [t.reason for t in store.trials("s1")] == [None]


def test_trials_that_failed_for_a_reason_are_forgotten(store):
    reasons = (None, "NoMemoryError: of 2 GiB", "TrainingDivergedError: NoMemoryError", "100% full")
    for number, reason in enumerate(reasons):
        store.record("s1", trial(number, reason=reason))
    store.open("s2", name="n", fingerprint="f" * 64, spec={"seed": 1})
    store.record("s2", trial(0, reason="NoMemoryError"))
    store.forget_failed("s1", ("NoMemoryError", "%"))
    assert [t.request.number for t in store.trials("s1")] == [0, 2, 3]
    assert len(store.trials("s2")) == 1


def test_a_longer_study_begins_with_what_a_shorter_one_has_trained(store):
    for finished in (trial(0), trial(1, reason="NaN"), trial(0, phase="confirm")):
        store.record("s1", finished, wall_seconds=7.0)
    store.update("s1", search_closed=True)
    question = {"name": "n", "fingerprint": "f" * 64, "spec": {"seed": 0}}
    row = store.open("s2", **question, shorter=["none", "s1"])
    ours, theirs = store.trials("s2"), store.trials("s1")
    assert [t.request for t in ours] == [t.request for t in theirs]
    assert [t.reason for t in ours] == [t.reason for t in theirs]
    np.testing.assert_equal(ours[0].outcome.predictions, theirs[0].outcome.predictions)
    assert (row.wall_seconds, row.search_closed) == (7.0, True)
    assert len(store.untracked("s2")) == 3
    assert len(store.untracked("s1")) == 3


def test_a_longer_study_that_has_trials_keeps_to_its_own(store):
    question = {"name": "n", "fingerprint": "f" * 64, "spec": {"seed": 0}}
    store.open("s2", **question, shorter=["s1"])
    store.record("s2", trial(3))
    store.record("s1", trial(0))
    store.open("s2", **question, shorter=["s1"])
    assert [t.request.number for t in store.trials("s2")] == [3]


def test_a_trial_of_no_study_is_refused(store):
    with pytest.raises(IntegrityError):
        store.record("nobody", trial(0))


def test_opening_a_known_study_keeps_what_is_written(store):
    store.update("s1", wall_seconds=3.5, status="running")
    row = store.open("s1", name="n", fingerprint="f" * 64, spec={"seed": 0})
    assert (row.wall_seconds, row.status) == (3.5, "running")


def test_a_trial_brings_the_time_that_its_study_has_taken(store):
    store.record("s1", trial(0), wall_seconds=7.5)
    store.record("s1", trial(1))
    store.record("s1", trial(1))
    study = store.get("s1")
    assert study.wall_seconds == 7.5
    assert study.training_seconds == trial(0).outcome.seconds + trial(1).outcome.seconds > 0


def test_an_unknown_study_cannot_be_updated(store):
    with pytest.raises(KeyError, match="no study s2"):
        store.update("s2", status="done")


def test_untracked_trials_come_in_the_order_in_which_they_finished(store):
    assert not store.has_untracked("s1")
    for finished in (trial(2), trial(0, phase="confirm"), trial(1, reason="NaN")):
        store.record("s1", finished)
    waiting = store.untracked("s1")
    assert [each.trial.request for each in waiting] == [
        trial(2).request,
        trial(0, phase="confirm").request,
        trial(1).request,
    ]
    assert [each.trial.request for each in store.untracked("s1", 1)] == [trial(2).request]
    assert store.last_finished("s1") == waiting[-1].finished
    assert waiting[0].finished.utcoffset() == timedelta(0)
    store.mark_tracked("s1", trial(2).request, "run-1")
    assert len(store.untracked("s1")) == 2
    for each in store.untracked("s1"):
        store.mark_tracked("s1", each.trial.request, "run-2")
    assert not store.has_untracked("s1")
    assert store.untracked("s1") == []


def test_a_new_run_of_a_study_begins_without_its_trials(store):
    store.open("s2", name="n", fingerprint="f" * 64, spec={})
    for study in ("s1", "s2"):
        store.track(study, "run-0")
        store.record(study, trial(0))
        store.mark_tracked(study, trial(0).request, "run-1")
    store.track("s1", "run-2")
    assert store.get("s1").run_id == "run-2"
    assert store.has_untracked("s1")
    assert (store.get("s2").run_id, store.has_untracked("s2")) == ("run-0", False)


def test_a_study_without_trials_has_no_last_one(store):
    assert store.last_finished("s1") is None


def test_counts_are_those_of_all_studies_together(store):
    store.open("s2", name="n", fingerprint="f" * 64, spec={})
    store.update("s2", status="failed", wall_seconds=2.0)
    store.record("s1", trial(0), wall_seconds=1.5)
    store.record("s1", trial(1, reason="NaN"))
    store.record("s2", trial(0, reason="NaN"))
    counts = store.counts()
    assert counts.studies == {"queued": 1, "failed": 1}
    assert (counts.trained, counts.failed) == (1, 2)
    assert counts.wall_seconds == 3.5
    assert counts.training_seconds == trial(0).outcome.seconds


def test_an_empty_store_counts_nothing(database):
    counts = StudyStore(database).counts()
    assert counts == Counts(studies={}, trained=0, failed=0, wall_seconds=0.0, training_seconds=0.0)


def test_a_data_set_is_used_while_a_study_is_about_it(store):
    assert store.uses("f" * 64)
    assert not store.uses("e" * 64)


def test_a_search_begins_with_an_answer_about_the_same_data_alone(store):
    earlier = WarmStart(study="s1", interval=(0.1, 0.5))
    store.check_warm_start(earlier, "f" * 64)
    store.check_warm_start(None, "e" * 64)
    store.check_warm_start(earlier.model_copy(update={"study": "of elsewhere"}), "e" * 64)
    with pytest.raises(SpecError, match=r"^warm_start s1: that was a study of other data \(.*\); "):
        store.check_warm_start(earlier, "e" * 64)


def test_the_sketch_of_a_studys_rows_is_kept_once_beside_its_options(store):
    question = {"name": "n", "fingerprint": "f" * 64, "spec": {}}
    assert store.get("s1").sketch is None
    store.open("s1", **question, data="/data.npz", sketch={"a": (1, 2), "b": ()})
    store.open("s1", **question, sketch={"a": (3,), "b": ()})
    row = store.get("s1")
    assert row.sketch == {"a": [1, 2], "b": []}
    assert row.run_options == {"data": "/data.npz"}


def test_a_finished_trial_has_an_outcome_or_a_reason():
    with pytest.raises(ValueError, match="never both or neither"):
        FinishedTrial(request=trial().request, outcome=None)
