"""The copy of a search that Optuna's own tools open."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import optuna
import pytest

from tests.conftest import start_postgres, stop_postgres
from tuner.study.trial import FinishedTrial
from tuner.tracking.optuna_study import OptunaCopy


@contextmanager
def study_at(url, study):
    storage = optuna.storages.RDBStorage(url)
    yield optuna.load_study(study_name=f"{study.name}-{study.id}", storage=storage)
    storage.remove_session()
    storage.engine.dispose()


def test_every_search_trial_is_shown_once_with_its_strength(classification, database_url):
    study = classification.study
    for _ in range(2):
        with closing(OptunaCopy(study, database_url)) as mirror:
            mirror.sync(classification.finished)
            mirror.sync(classification.finished)
    searched = [t for t in classification.finished if t.request.phase == "search"]
    with study_at(database_url, study) as copy:
        trials, attributes = copy.trials, copy.user_attrs
    assert [t.params["lambda"] for t in trials] == [t.request.strength for t in searched]
    failed = next(trial for trial in trials if trial.params["lambda"] == 3.0)
    assert failed.state == optuna.trial.TrialState.FAIL
    assert "a loss became inf" in failed.user_attrs["reason"]
    scores = study.validation.scores(searched[1].outcome.predictions, "joint")
    assert trials[1].value == pytest.approx(scores.mean())
    assert attributes["fingerprint"] == study.dataset.fingerprint


def test_a_trial_that_the_machine_failed_is_shown_again_once_it_is_trained(
    classification, database_url
):
    study = classification.study
    trained = next(t for t in classification.finished if t.outcome is not None)
    reason = "NoMemoryError: memory ran out"
    failed = dataclasses.replace(trained, outcome=None, weights=None, reason=reason)
    for trial in (failed, trained, trained):
        with closing(OptunaCopy(study, database_url)) as mirror:
            mirror.sync([trial])
    with study_at(database_url, study) as copy:
        assert [trial.state.name for trial in copy.trials] == ["FAIL", "COMPLETE"]


def test_copying_takes_a_small_part_of_the_time(classification, database_url, monkeypatch):
    study, now = classification.study, [100.0]
    monkeypatch.setattr("tuner.tracking.optuna_study.time.monotonic", lambda: now[0])
    with closing(OptunaCopy(study, database_url)) as mirror:
        sync = mirror.sync
        mirror.follow(classification.finished)
        assert mirror._copied == 0  # the study is not open yet: that takes a second
        mirror.open()

        def slow(finished, until):
            sync(finished, until)
            now[0] += 2.0  # seconds

        monkeypatch.setattr(mirror, "sync", slow)
        copied = []
        for _ in range(4):
            mirror.follow(classification.finished)
            copied.append(mirror._copied)
            now[0] += 15.0
        # On a server all, then nothing for a minute; of a file one, then nothing for 19 times 2 s.
        finished = classification.finished
        assert copied == ([1, 1, 1, 2] if "sqlite" in database_url else [len(finished)] * 4)
        sync(finished)
    with study_at(database_url, study) as copy:
        assert len(copy.trials) == 5


@pytest.mark.integration
def test_a_server_is_told_of_many_trials_at_once(classification, postgres_url, monkeypatch):
    finished, now = classification.finished, [100.0]
    monkeypatch.setattr("tuner.tracking.optuna_study.time.monotonic", lambda: now[0])
    with closing(OptunaCopy(classification.study, postgres_url)) as mirror:
        mirror.open()
        for count in range(1, len(finished) + 1):
            mirror.follow(finished[:count])
            assert mirror._copied == 1
            now[0] += 59.0 / len(finished)
        now[0] += 2.0
        mirror.follow(finished)
        assert mirror._copied == len(finished)


@pytest.mark.slow
def test_many_may_be_the_first(classification, database_url):
    study = classification.study

    def copy(_):
        with closing(OptunaCopy(study, database_url)) as mirror:
            mirror._open()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(copy, range(6)))


def test_a_storage_that_is_away_at_first_is_told_later(classification, database_url, caplog):
    study = classification.study
    with closing(OptunaCopy(study, "postgresql+psycopg://127.0.0.1:9/away")) as mirror:
        mirror.sync(classification.finished)
        assert "Optuna's storage is away" in caplog.text
        mirror._url = database_url
        mirror.sync(classification.finished)
    with study_at(database_url, study) as copy:
        assert len(copy.trials) == 5


def test_a_partial_training_is_shown_as_pruned(classification, database_url):
    study, full = classification.study, classification.finished[1]
    request = dataclasses.replace(full.request, phase="rung", settings=(("epochs", 2),))
    rung = FinishedTrial(request=request, outcome=full.outcome)
    with closing(OptunaCopy(study, database_url)) as mirror:
        mirror.sync([rung, full])
    with study_at(database_url, study) as copy:
        (partial, complete), best = copy.trials, copy.best_trial
    assert partial.state == optuna.trial.TrialState.PRUNED
    assert partial.intermediate_values == {2: complete.value}
    assert best.number == complete.number


@pytest.mark.integration
def test_a_storage_that_is_away_costs_nothing(
    classification, postgres_server, postgres_url, caplog
):
    with closing(OptunaCopy(classification.study, postgres_url)) as mirror:
        stop_postgres(postgres_server)
        mirror.sync(classification.finished)
        assert "its copy will follow" in caplog.text
        start_postgres(postgres_server)
        mirror.sync(classification.finished)
    with study_at(postgres_url, classification.study) as copy:
        assert len(copy.trials) == 5


def test_what_violates_a_bound_is_infeasible(classification, tmp_path):
    bound = "a >= baseline - .01"
    study = dataclasses.replace(
        classification.study,
        spec=classification.study.spec.model_copy(update={"subject_to": (bound,)}),
    )
    # λ = 0 ends last, as with many workers: what bounds are relative to is waited for.
    finished = sorted(classification.finished, key=lambda t: -t.request.strength)
    url = f"sqlite:///{tmp_path}/optuna.db"
    with closing(OptunaCopy(study, url)) as mirror:
        mirror.sync(finished[:2])
        with study_at(url, study) as copy:
            assert copy.trials == []
        mirror.sync(finished)
    accuracies = {
        t.request.strength: study.validation.scores(t.outcome.predictions, "a").mean()
        for t in finished
        if t.request.phase == "search" and t.outcome is not None
    }
    with study_at(url, study) as copy:
        told = {t.params["lambda"]: t.constraints for t in copy.trials}
    assert told.pop(3.0) == {}  # it failed
    for strength, (violation,) in ((at, tuple(of.values())) for at, of in told.items()):
        fallen = accuracies[0.0] - accuracies[strength]
        assert violation == pytest.approx(fallen - 0.01)
    assert told.keys() == accuracies.keys()
