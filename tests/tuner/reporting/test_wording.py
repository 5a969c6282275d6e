"""How numbers are written, and what people read about the information profile."""

import pytest

from tuner.reporting.wording import duration, expectation, gain, hindsight, score, strength_interval
from tuner.study.result import CrossCovarianceGate, InformationSummary, IntervalEstimate

NOTHING = IntervalEstimate(value=0, low=0, high=0)


def information(regime, helps=None, reason=None):
    return InformationSummary(
        R=NOTHING,
        U_a=NOTHING,
        U_b=NOTHING,
        S=NOTHING,
        reliable=reason is None,
        reason=reason,
        entropy=1.0,
        rows=100,
        regime=regime,
        gate=CrossCovarianceGate(signal=1, nuisance=1, ratio=None, helps=helps),
    )


@pytest.mark.parametrize(
    ("regime", "verdict", "words"),
    [
        ("align", "align", "That came true."),
        ("align", "do not align", "That did not come true."),
        ("interior", "align", "That came true."),
        ("do not align", "align", "That did not come true."),
        ("do not align", "do not align", "That came true."),
        ("align", "undecided", "The search could neither confirm nor refute that."),
        ("unknown", "align", None),
    ],
)
def test_hindsight(regime, verdict, words):
    assert hindsight(information(regime), verdict) == words


def test_what_is_expected_and_the_second_opinion():
    assert "expected to harm. The cross-covariance gate expects it to help." in expectation(
        information("do not align", helps=True)
    )
    unknown = expectation(information("unknown", reason="12 labelled rows are too few"))
    assert "is not known: 12 labelled rows are too few. The cross-covariance gate sees" in unknown


def test_numbers_are_written_in_the_units_of_their_metric():
    assert score(0.98765, "accuracy") == "0.9877"
    assert score(-12.3456, "mae") == "\N{MINUS SIGN}12.35"
    assert gain(0.01, "accuracy") == "+0.0100"
    assert gain(-12.3456, "mae") == "\N{MINUS SIGN}12.3"
    assert score(None, "mae") == gain(None, "mae") == "\N{EM DASH}"
    assert strength_interval((0.0, 1.2345)) == "0 to 1.23"


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.5, "1.5 s"), (90, "1.5 min"), (5400, "1.5 h"), (3600, "1.0 h")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words
