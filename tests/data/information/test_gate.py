"""The cross-covariance gate on worlds whose shared components are known."""

import numpy as np
import pytest

from tuner.data.information.gate import Gate, cross_covariance_gate

ROWS = 4000


def whitened(columns):
    centered = columns - columns.mean(0)
    left, _, _ = np.linalg.svd(centered, full_matrices=False)
    return left * np.sqrt(len(columns))


def world(signal, nuisance, seed=0):
    """Two modalities that share a latent of the label and one that it does not know."""
    rng = np.random.default_rng(seed)
    latent, other = rng.normal(size=(2, ROWS))
    y = (latent > 0).astype(np.int64)

    def view():
        def noisy(source, correlation):
            # Two such views correlate by `correlation`.
            return np.sqrt(correlation) * source + np.sqrt(1 - correlation) * rng.normal(size=ROWS)

        return whitened(
            np.stack([noisy(latent, signal), noisy(other, nuisance), rng.normal(size=ROWS)], 1)
        )

    return view(), view(), y


@pytest.mark.parametrize(
    ("signal", "nuisance", "helps"), [(0.9, 0.4, True), (0.4, 0.9, False), (0.8, 0.0, True)]
)
def test_the_stronger_shared_component_decides(signal, nuisance, helps):
    gate = cross_covariance_gate(*world(signal, nuisance))
    assert gate.helps is helps
    assert gate.signal == 1
    if nuisance:
        assert gate.ratio == pytest.approx(signal / nuisance, rel=0.1)


def test_without_a_shared_component_of_the_label_it_says_nothing():
    assert cross_covariance_gate(*world(0.0, 0.8)).helps is None
    assert cross_covariance_gate(*world(0.0, 0.0)) == Gate(signal=0, nuisance=0, ratio=None)


def test_rotations_change_nothing():
    a, b, y = world(0.7, 0.5)
    rng = np.random.default_rng(1)
    turn_a, turn_b = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    turned, straight = (
        cross_covariance_gate(a @ turn_a, b @ turn_b, y),
        cross_covariance_gate(a, b, y),
    )
    assert (turned.signal, turned.nuisance) == (straight.signal, straight.nuisance)
    assert turned.ratio == pytest.approx(straight.ratio)
