import numpy as np
import pytest

from tests.support.exact_information import decompose_gaussian

HALF_LOG3 = 0.5 * np.log2(3)


def channels(gain_a: float, gain_b: float, correlation: float) -> np.ndarray:
    """Y ~ N(0, 1), A = gain_a Y + noise, B = gain_b Y + noise, unit noises that correlate."""
    mixing = np.array([[gain_a, 1, 0], [gain_b, 0, 1], [1, 0, 0]])
    noise = np.array([[1, 0, 0], [0, 1, correlation], [0, correlation, 1]])
    return mixing @ noise @ mixing.T


COPIED = np.array([[2, 2, 1], [2, 3, 1], [1, 1, 1]])  # B = A + N(0, 1)


@pytest.mark.parametrize(
    ("covariance", "expected"),
    [
        (channels(1, 1, 0), (0.5, 0, 0, HALF_LOG3 - 0.5)),
        (channels(1, 1, 0.5), (0.5, 0, 0, 0.111196)),
        (channels(1, 0, 0.5), (0, 0.5, 0, 0.111196)),
        (channels(1, 0, 0.9), (0, 0.5, 0, 0.823445)),
        (COPIED, (HALF_LOG3 - 0.5, 1 - HALF_LOG3, 0, 0)),
    ],
)
def test_known_answers(covariance, expected):
    found = decompose_gaussian(covariance, 1)
    assert (found.R, found.U_a, found.U_b, found.S) == pytest.approx(expected, abs=1e-6)


def test_several_dimensions_are_one_source():
    """What A knows in two dimensions equals what their optimal mixture knows in one."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    full = root @ root.T
    weights = np.linalg.solve(full[:3, :3], full[:3, -1])
    mixture = np.zeros((4, 6))
    mixture[0, :3] = weights
    mixture[1:, 3:] = np.eye(3)
    before, after = decompose_gaussian(full, 3), decompose_gaussian(mixture @ full @ mixture.T, 1)
    assert before.R + before.U_a == pytest.approx(after.R + after.U_a)
    assert before.U_b == pytest.approx(after.U_b)


@pytest.mark.parametrize(
    ("covariance", "width", "words"),
    [
        (np.eye(3), 2, "no A of 2 and B of 0"),
        (np.ones((3, 2)), 1, "no A"),
        (np.diag([1, 1, -1.0]), 1, "no negative eigenvalue"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, width, words):
    with pytest.raises(ValueError, match=words):
        decompose_gaussian(covariance, width)
