"""Which λs are confirmed, on planted curves."""

import pytest

from tuner.analysis.candidates import agreed
from tuner.analysis.decision import Choice, UpperBand
from tuner.analysis.gains.gain import Gain
from tuner.study.scoring.scores import Scorer

LAMBDAS = (0.25, 0.5, 1.0, 2.0, 4.0)
NOTHING = Gain(value=0.0, low=0.0, high=0.0)
PEAK = (0.010, 0.020, 0.012, 0.004, -0.010)
RISING = (0.004, 0.008, 0.012, 0.016, 0.020)
NEAR = (0.008, 0.018, 0.020, 0.010, 0.002)
FALLING = (-0.002, -0.004, -0.010, -0.020, -0.040)


def choice(means, support=0.95):
    best = max(range(5), key=means.__getitem__) if max(means) > 0 else None
    return Choice(
        best=0.0 if best is None else LAMBDAS[best],
        interval=(0.0, 4.0),
        candidate=LAMBDAS[2 if best is None else best],
        expected=NOTHING,
        support=support,
        average=NOTHING,
        band=UpperBand(lambdas=LAMBDAS, gains=means, means=means),
        means=means,
    )


@pytest.mark.parametrize(
    ("a", "b", "confirmed"),
    [
        (PEAK, NEAR, (0.5, 0.5, 0.5)),  # costs B a tenth
        (RISING, RISING, (4.0, 4.0, 4.0)),
        (PEAK, RISING, (0.5, 4.0, 0.5)),  # either's λ costs the other more than a fifth
        (FALLING, RISING, (4.0, 4.0, 4.0)),  # who loses has no say
        (NEAR, FALLING, (1.0, 1.0, 1.0)),
        (FALLING, FALLING, (1.0, 1.0, 1.0)),  # that of both together
    ],
)
def test_modalities_that_are_likely_to_gain_agree_where_it_costs_neither_much(a, b, confirmed):
    joint = tuple((x + y) / 2 for x, y in zip(a, b, strict=True))
    told = agreed({"a": choice(a), "b": choice(b), "joint": choice(joint)}, Scorer)
    assert tuple(told[target].candidate for target in ("a", "b", "joint")) == confirmed


def test_a_gain_that_is_not_likely_has_no_say():
    doubtful = choice(RISING, support=0.6)
    told = agreed({"a": doubtful, "b": choice(PEAK), "joint": choice(NEAR)}, Scorer)
    assert {each.candidate for each in told.values()} == {0.5}
    told = agreed({"a": doubtful, "b": choice(PEAK, support=0.6), "joint": choice(NEAR)}, Scorer)
    assert {each.candidate for each in told.values()} == {1.0}


def test_what_the_search_says_of_each_stays_its_own():
    told = agreed({"a": choice(PEAK), "b": choice(NEAR), "joint": choice(NEAR)}, Scorer)
    assert told["b"].best == 1.0
    assert told["b"].recommended("align") == (0.5, (0.0, 4.0))
