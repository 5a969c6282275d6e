"""What people read about the information profile, before the search and after it."""

import pytest

from tuner.report.wording import expectation, hindsight
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
        ("align", "no detectable effect", "The search could neither confirm nor refute that."),
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
