"""How far a study is, what it took and what it costs."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import worlds
from tests.support.scripted import reporting, train
from tests.support.simulated import simulate
from tuner.cli.console import progress_shown
from tuner.models.training.telling import Advance
from tuner.study.progress import ProgressMeter, SeedMeter, UnderWay
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

TOTALS = {"search": 4, "confirm": 4}
REPORT = reporting(lambda _: 0.8)  # each takes a second


def requests(phase, count):
    return [TrialRequest(phase=phase, number=n, strength=0.0, seeds=(n,)) for n in range(count)]


def test_trainings_of_a_study_that_was_taken_up_again_count_but_not_for_the_pace():
    before = [train(request, REPORT) for request in requests("search", 3)]
    before[2] = replace(before[2], outcome=None, reason="planted")
    meter = SeedMeter(before)
    told = meter.progress(TOTALS, None)
    assert (told.done, told.total, told.failed, told.phase) == (3, 8, 1, "search")
    assert (told.share, told.training_seconds, told.seconds_left) == (3 / 8, 2.0, None)
    meter.add(train(requests("search", 4)[3], REPORT))
    told = meter.progress(TOTALS, (0.5, 0.8))
    assert (told.done, told.phase, told.training_seconds) == (4, "confirm", 3.0)
    assert told.seconds_left is not None


def test_a_training_of_a_rung_is_a_part_of_one(clock):
    meter, totals = SeedMeter(), {"rung": 4, "search": 2, "confirm": 4}
    for request in requests("rung", 2):
        meter.add(train(request, REPORT))
    clock[0] = 6.0
    told = meter.progress(totals, None, rung_part=0.25)
    assert (told.done, told.total, told.phase) == (2, 10, "rung")
    assert told.share == 0.5 / 7  # of 4 / 4 + 2 + 4 trainings
    assert told.seconds_left == 6.0 * 6.5 / 0.5


@pytest.mark.parametrize(("price", "words"), [(1800.0, "1.00 spent of about 4.00"), (None, None)])
def test_what_it_costs_is_told_as_it_goes(price, words, capsys):
    meter = SeedMeter([train(request, REPORT) for request in requests("search", 2)])
    with progress_shown("score", price) as show:
        show(meter.progress(TOTALS, None))
    told = capsys.readouterr().err
    assert words in told if words else "spent" not in told


# Trainings that say how far they are

SPEC = StudySpec(trials=4, replicates=2, confirm_replicates=4)
WORLD = worlds.null(0, rows=200)
SCORER = Study.of(SPEC, WORLD).validation
ALL = {"search": 4, "confirm": 2}  # trials; 4 · 2 + 2 · 4 = 16 replicates


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tuner.study.progress.time.monotonic", lambda: now[0])
    return now


def at(number, epoch, *, epochs=10, patience=50, ended=0, stacked=2):
    request = TrialRequest(phase="search", number=number, strength=0.5, seeds=(1, 2))
    return request, Advance(
        ended=ended, stacked=stacked, epoch=epoch, epochs=epochs, patience=patience
    )


def test_half_of_a_training_tells_the_time_that_is_left(clock):
    """Two replicates make five of ten epochs in a minute: the other fifteen take as long each."""
    meter = ProgressMeter(SPEC, SCORER)
    clock[0] = 30.0  # until workers were there: none of it is the pace
    meter.hear(dict([at(0, 0.0)]))
    first = meter.progress(ALL, None)
    assert (first.seconds_left, first.share, first.done) == (None, 0.0, 0)
    clock[0] = 90.0
    meter.hear(dict([at(0, 5.0)]))
    told = meter.progress(ALL, None)
    assert told.seconds_left == pytest.approx(15 * 60)
    assert told.share == pytest.approx(1 / 16)
    assert told.under_way == (UnderWay(phase="search", strength=0.5, epoch=5.0, epochs=10),)
    assert told.under_way_words == "λ = 0.5 in epoch 6 of 10"


def test_earlier_stacks_count_and_so_do_all_workers(clock):
    meter = ProgressMeter(SPEC, SCORER)
    meter.hear(dict([at(0, 0.0), at(1, 0.0, stacked=1)]))
    clock[0] = 60.0
    meter.hear(dict([at(0, 10.0), at(1, 0.0, ended=1, stacked=1)]))  # 2 · 1 and 1
    assert meter.progress(ALL, None).seconds_left == pytest.approx(13 * 60 / 3)


def test_trainings_that_stopped_early_tell_how_long_others_take(clock):
    """One that made three of ten epochs has the others expected to."""
    study = Study.of(SPEC, WORLD)
    losses = np.where(np.arange(10) < 3, 1.0, np.nan)
    stand_in = simulate(lambda _: 0.6, losses=lambda *_: losses)
    config = study.training.model_copy(update={"epochs": 10})
    request = at(0, 0.0)[0]
    outcome = stand_in(request, study.data, config, study.test_rows)
    trained = FinishedTrial(request=request, outcome=outcome)
    meter = ProgressMeter(SPEC, SCORER, [])
    meter.hear(dict([at(0, 0.0)]))
    clock[0] = 30.0
    meter.hear({})
    meter.add(trained)
    meter.hear(dict([at(1, 0.0)]))
    clock[0] = 45.0
    meter.hear(dict([at(1, 1.5)]))  # half of three: three replicates in 45 s
    assert meter.progress(ALL, None).seconds_left == pytest.approx(13 * 45 / 3)


def test_before_the_first_has_ended_the_mean_of_fewest_and_most_epochs_is_expected(clock):
    meter = ProgressMeter(SPEC, SCORER)
    few = {"epochs": 100, "patience": 3}  # √(4 · 100) = 20
    meter.hear(dict([at(0, 0.0, **few)]))
    clock[0] = 10.0
    meter.hear(dict([at(0, 2.0, **few)]))
    assert meter.progress(ALL, None).seconds_left == pytest.approx((16 - 0.2) * 10 / 0.2)
    clock[0] = 400.0
    meter.hear(dict([at(0, 80.0, **few)]))  # so it is more: 88 of each
    assert meter.progress(ALL, None).share == pytest.approx(2 / 1.1 / 16)


def test_the_pace_counts_from_when_all_workers_are_at_work(clock):
    """One begins at once, the other after six seconds: each trains a replicate in ten."""
    meter = ProgressMeter(SPEC, SCORER)
    meter.hear(dict([at(0, 0.0)]))
    clock[0] = 6.0
    meter.hear(dict([at(0, 3.0), at(1, 0.0)]))
    clock[0] = 10.0
    meter.hear(dict([at(0, 5.0), at(1, 2.0)]))
    assert meter.progress(ALL, None).seconds_left is None
    clock[0] = 16.0
    meter.hear(dict([at(0, 8.0), at(1, 5.0)]))
    left = 16 - 2 * 0.8 - 2 * 0.5  # five seconds each, with both
    assert meter.progress(ALL, None).seconds_left == pytest.approx(left * 5)


def test_what_is_told_while_nothing_is_heard_is_the_pace_of_what_was(clock):
    meter = ProgressMeter(SPEC, SCORER)
    meter.hear(dict([at(0, 0.0)]))
    clock[0] = 10.0
    meter.hear(dict([at(0, 5.0)]))
    clock[0] = 14.0
    assert meter.progress(ALL, None).seconds_left == pytest.approx(15 * 10)


@pytest.mark.parametrize("folds", [1, 3])
def test_the_time_left_is_that_of_two_confirmed_strengths_and_of_their_seeds_once(clock, folds):
    """Of a third, which there is where modalities disagree, it is not."""
    spec = SPEC.model_copy(update={"confirm_replicates": 6, "folds": folds})
    totals = {"search": 4, "confirm": 3 * folds}
    meter = ProgressMeter(spec, SCORER)
    meter.hear(dict([at(0, 0.0)]))
    clock[0] = 10.0
    meter.hear(dict([at(0, 5.0)]))
    told = meter.progress(totals, None)
    assert told.seconds_left == pytest.approx((4 * 2 + 2 * 6 - 1) * 10)
    assert told.share == pytest.approx(1 / (4 * 2 + 3 * 6))
    for part in range(2 * folds):
        request = TrialRequest(phase="confirm", number=part, strength=0.0, seeds=(1, 2))
        meter.add(FinishedTrial(request=request, outcome=None, reason="planted"))
    told = meter.progress({"search": 0, "confirm": 3 * folds}, None)
    assert told.seconds_left == 0


def test_many_trainings_are_not_all_named():
    told = replace(
        SeedMeter().progress(TOTALS, None),
        under_way=tuple(
            UnderWay(phase="search", strength=n, epoch=0.0, epochs=5) for n in range(5)
        ),
    )
    assert told.under_way_words == "λ = 0 in epoch 1 of 5, λ = 1 in epoch 1 of 5, 3 more"
