import pytest

from tuner.search.forecast.cost import ExpectedCost


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


@pytest.mark.slow
def test_a_step_is_tried(classification):
    cost = ExpectedCost.of(classification.study, workers=1)
    assert 20 < cost.seconds < 20 + cost.steps
