from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.conftest import stop_postgres
from tests.support import worlds
from tests.support.simulated import simulate
from tuner.storage.studies import StudyStore
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest, pack, unpack

QUESTION = Study.of(StudySpec(), worlds.null(0, rows=200))


def trial(number=0, phase="search", reason=None) -> FinishedTrial:
    request = TrialRequest(phase=phase, number=number, strength=0.25, seeds=(7, 2**31 + 5))
    if reason:
        return FinishedTrial(request=request, outcome=None, reason=reason)
    train = simulate(lambda _: 0.7)
    outcome = train(request, QUESTION.data, QUESTION.training, QUESTION.test_rows)
    return FinishedTrial(request=request, outcome=outcome)


@pytest.fixture
def store(database_url) -> StudyStore:
    store = StudyStore(database_url)
    store.open("s1", name="n", fingerprint="f" * 64, spec={"seed": 0})
    yield store
    store.close()


@pytest.mark.parametrize("phase", ["search", "confirm"])
def test_an_outcome_comes_back_as_it_went(phase):
    before = trial(phase=phase).outcome
    after = unpack(pack(before))
    assert (after.strength, after.steps, after.seconds) == (
        before.strength,
        before.steps,
        before.seconds,
    )
    np.testing.assert_array_equal(after.seeds, before.seeds)
    for field in ("predictions", "best_epoch", "curves"):
        for name, values in getattr(before, field).items():
            assert getattr(after, field)[name].dtype == values.dtype
            np.testing.assert_array_equal(getattr(after, field)[name], values)
    assert (after.test_predictions is None) == (phase == "search")
    assert (after.weights is None) == (phase == "search")
    if phase == "confirm":
        np.testing.assert_array_equal(
            after.weights["b"]["head.weight"], before.weights["b"]["head.weight"]
        )


def test_trials_are_there_for_the_next_process_in_the_order_of_their_numbers(store):
    for finished in (trial(2), trial(0, phase="confirm"), trial(1, reason="NaN"), trial(0)):
        store.record("s1", finished)
    with closing(StudyStore(store.url)) as another:
        again = another.trials("s1")
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


def test_forgetting_a_study_takes_its_trials_along(store):
    store.record("s1", trial(0))
    store.forget("s1")
    assert store.get("s1") is None
    assert store.trials("s1") == []


def test_sqlite_writes_are_durable(tmp_path):
    store = StudyStore(f"sqlite:///{tmp_path}/studies.db")
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


@pytest.mark.integration
def test_a_database_that_goes_away_for_a_while_costs_no_trial(postgres_server, postgres_url):
    with (
        closing(StudyStore(postgres_url)) as store,
        closing(StudyStore(postgres_url, patience=0.0)) as hasty,
    ):
        store.open("s1", name="n", fingerprint="f" * 64, spec={"seed": 0})
        stop_postgres(postgres_server)
        with pytest.raises(OperationalError, match="connection"):
            hasty.trials("s1")
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(store.record, "s1", trial(0))
            with pytest.raises(TimeoutError):
                told.result(timeout=2)
            postgres_server.ensure_postgres_running()
            told.result(timeout=60)
        assert len(store.trials("s1")) == 1


def test_a_finished_trial_has_an_outcome_or_a_reason():
    with pytest.raises(ValueError, match="never both or neither"):
        FinishedTrial(request=trial().request, outcome=None)
