"""How far a study is, what it took and what it costs."""

from dataclasses import replace

import pytest

from tests.support.scripted import reporting, train
from tuner.cli.console import progress_shown
from tuner.study.progress import SeedMeter
from tuner.study.trial import TrialRequest

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


@pytest.mark.parametrize(("price", "words"), [(1800.0, "1.00 spent of about 4.00"), (None, None)])
def test_what_it_costs_is_told_as_it_goes(price, words, capsys):
    meter = SeedMeter([train(request, REPORT) for request in requests("search", 2)])
    with progress_shown("score", price) as show:
        show(meter.progress(TOTALS, None))
    told = capsys.readouterr().err
    assert words in told if words else "spent" not in told
