from dataclasses import replace

import pytest

from tests.support import worlds
from tuner.cli.cost import cost_words
from tuner.models.config import TrainingConfig
from tuner.search.forecast.cost import ExpectedCost, Shorter, may_take_minutes
from tuner.study.spec import StudySpec
from tuner.study.study import Study


def test_the_trainings_and_steps_of_a_study_are_counted(classification):
    """Five λs with two seeds, λ = 0 and one λ confirmed with three; four epochs of 72 rows."""
    study = classification.study
    cost = ExpectedCost.of(study, workers=None)
    assert (cost.trainings, cost.seconds, cost.workers) == (5 * 2 + 2 * 3, None, None)
    rows = study.data.train.count
    assert cost.steps == 16 * 4 * (rows // 32)
    done = sum(trial.outcome.steps for trial in classification.finished if trial.outcome)
    seeds = sum(len(trial.request.seeds) for trial in classification.finished if trial.outcome)
    assert cost.steps / cost.trainings == pytest.approx(done / seeds)  # none ended early


def test_seconds_follow_from_steps_that_were_tried(classification, monkeypatch):
    monkeypatch.setattr("tuner.search.forecast.cost._seconds_a_step", lambda _: 0.5)
    study = classification.study
    each = 4 * (study.data.train.count // 32) * 0.5
    one, two = (ExpectedCost.of(study, workers=workers).seconds for workers in (1, 2))
    assert two == pytest.approx(20 + (10 + 6) * each / 2)
    assert one == pytest.approx(20 + (10 + 6) * each)
    short = ExpectedCost.of(study, workers=1, time_budget=each).seconds
    assert short == pytest.approx(20 + (1 + 6) * each)


def test_workers_share_the_seeds_of_a_trial_that_has_parts(monkeypatch):
    """λ = 0 and a λ, 5 seeds each in parts of 2: six parts for 8 workers; whole, two trials."""
    monkeypatch.setattr("tuner.search.forecast.cost._seconds_a_step", lambda _: 1.0)
    study = study_of(training=TrainingConfig(epochs=20))
    searched, confirmed = 9 * 2 * 20 * 5, 2 * 5 * 20 * 5
    told = {}
    for size in (5, 2):
        monkeypatch.setattr(
            "tuner.search.forecast.cost.part_size", lambda *_, size=size, **__: size
        )
        told[size] = ExpectedCost.of(study, workers=8).seconds
    at_a_time = min(8, study.spec.batch)
    assert told[5] == pytest.approx(20 + searched / at_a_time + confirmed / 2)
    assert told[2] == pytest.approx(20 + searched / at_a_time + confirmed / 6)


@pytest.mark.slow
def test_a_step_is_tried(classification):
    cost = ExpectedCost.of(classification.study, workers=1)
    assert 20 < cost.seconds < 20 + cost.steps


def study_of(**options):
    spec = StudySpec(trials=9, replicates=2, confirm_replicates=5, **options)
    return Study.of(spec, worlds.null(0, rows=1000))


def test_rungs_count_by_the_epochs_that_they_train(monkeypatch):
    """Nine λs for 2 of 18 epochs, the best four for 6 of them, and these in full."""
    study = study_of(halving=3, training=TrainingConfig(epochs=18))
    steps = study.data.train.count // 128
    cost = ExpectedCost.of(study, workers=None)
    assert cost.steps == steps * (2 * (9 * 2 + 4 * 6 + 4 * 18) + 2 * 5 * 18)
    assert cost.trainings == 2 * (9 + 4 + 4) + 2 * 5


def test_a_long_study_comes_with_what_would_be_shorter(monkeypatch):
    """5 steps an epoch of 20, each a second: 2,800 s on one worker, of which search is 1,800."""
    monkeypatch.setattr("tuner.search.forecast.cost._seconds_a_step", lambda _: 1.0)
    study = study_of(training=TrainingConfig(epochs=20))
    assert study.data.train.count // 128 == 5
    cost = ExpectedCost.of(study, workers=1)
    assert cost.seconds == pytest.approx(20 + 1800 + 1000)
    assert cost.shorter == (
        Shorter(option="halving", value=3, seconds=20 + 5 * 2 * (9 * 2 + 4 * 6 + 4 * 20) + 1000),
        Shorter(option="epochs", value=5, seconds=20 + 2800 / 4),
        Shorter(option="time_budget", value=480, seconds=20 + 480 + 1000),
    )
    told = " ".join(cost_words(cost))
    assert "28 trainings of up to 20 epochs, 2,800 gradient steps at most: 47.0 min" in told
    assert "--halving 3 (37.3 min), --epochs 5 (12.0 min), --time-budget 8m (25.0 min)." in told
    for one in cost.shorter[:2]:
        options = {one.option: one.value}
        if one.option == "epochs":
            options = {"training": TrainingConfig(epochs=one.value)}
        again = ExpectedCost.of(
            study_of(**({"training": TrainingConfig(epochs=20)} | options)), workers=1
        )
        assert again.seconds == one.seconds
    assert ExpectedCost.of(study, workers=1, time_budget=480).seconds == cost.shorter[2].seconds


def test_a_short_study_is_not_said_to_be_long(classification):
    cost = ExpectedCost.of(classification.study, workers=None)
    assert cost.shorter == ()
    (told,) = cost_words(cost)
    assert told == f"It takes 16 trainings of up to 4 epochs, {cost.steps} gradient steps at most."


def test_steps_are_tried_of_what_looks_at_many_numbers_alone():
    study = study_of()
    assert not may_take_minutes(study)
    wide = replace(study.data, shapes=((10_000,), (10_000,)))
    assert may_take_minutes(replace(study, data=wide))
    slow = replace(study, training=study.training.model_copy(update={"encoder_a": "hf:x"}))
    assert may_take_minutes(replace(slow, data=replace(study.data, shapes=((100,), (100,)))))
