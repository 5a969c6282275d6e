import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.study.space import LambdaSpace

POSITIVE = st.floats(1e-3, 1e3)


@given(maximum=POSITIVE, knee=POSITIVE, u=st.floats(0, 1))
def test_to_lambda_and_back(maximum, knee, u):
    space = LambdaSpace(maximum=maximum, knee=knee)
    strength = space.to_lambda(u)
    assert 0 <= strength <= maximum * (1 + 1e-12)
    assert space.to_unit(strength) == pytest.approx(u, abs=1e-9)


@given(maximum=POSITIVE)
def test_the_ends_are_exact_and_the_middle_rises(maximum):
    strengths = LambdaSpace(maximum=maximum).to_lambda(np.linspace(0, 1, 50))
    assert strengths[0] == 0
    assert strengths[-1] == maximum
    assert (np.diff(strengths) > 0).all()


def test_the_formula():
    assert LambdaSpace(maximum=4, knee=0.1).to_lambda(0.5) == pytest.approx(0.1 * (41**0.5 - 1))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_space_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="maximum must be finite and above 0"):
        LambdaSpace(maximum=bad)
