"""The cross-covariance gate on worlds whose shared components are known."""

import numpy as np
import pytest

from tuner.data.information.gate import Gate, cross_covariance_gate, prediction_gate

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


def test_what_groups_share_by_chance_is_not_shared():
    """Each modality knows the group, and groups have their label by chance."""
    signals, taken_for_rows = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(30), 40)
        y = rng.integers(0, 2, 30)[group]
        a, b = rng.normal(size=(2, 30, 3))[:, group] + 0.5 * rng.normal(size=(2, len(group), 3))
        signals += cross_covariance_gate(a, b, y, group).signal
        taken_for_rows += cross_covariance_gate(a, b, y).signal
    assert signals == 0
    assert taken_for_rows >= 10


def test_in_groups_of_one_row_it_says_what_it_says_of_rows():
    a, b, y = world(0.9, 0.4)
    alone = cross_covariance_gate(a, b, y, np.arange(ROWS))
    assert (alone.signal, alone.nuisance) == (1, 1)
    assert alone.ratio == pytest.approx(0.9 / 0.4, rel=0.1)


def spiked(kappa, gamma, eta, other, seed=0, rows=40_000):
    """The spiked model: signals of power κ² in noise γ, nuisances of power η in noise `other` − η.

    Two of each; a pair of numbers is of x and of y. All of y's variances are kept as they are.
    """
    rng = np.random.default_rng(seed)
    latent, shared = rng.normal(size=(2, rows, 2))
    y = ((latent[:, 0] > 0) + 2 * (latent[:, 1] > 0)).astype(np.int64)

    def view(side):
        signal = kappa * latent + np.sqrt(gamma[side]) * rng.normal(size=(rows, 2))
        alone = np.sqrt(other[side] - eta) * rng.normal(size=(rows, 2))
        return np.hstack([signal, np.sqrt(eta) * shared + alone])

    return view(0), view(1), y


@pytest.mark.parametrize(
    ("kappa", "gamma", "eta", "other"),
    [
        (1.0, (0.5, 0.5), 0.4, (1.0, 1.0)),  # both put signal first
        (1.0, (0.3, 0.2), 5.0, (12.0, 15.0)),  # nuisances are large, and correlate little
        (1.0, (1.0, 1.0), 0.2, (0.25, 0.25)),  # nuisances are small, and correlate much
        (0.7, (0.9, 0.4), 2.4, (3.0, 3.0)),  # neither does
    ],
)
def test_ratios_are_those_of_the_spiked_model(kappa, gamma, eta, other):
    """ρ/ν and τ/ξ, and their quotient, of arXiv 2606.11190."""
    x, y, label = spiked(kappa, gamma, eta, other)
    power = [kappa**2 + g for g in gamma]
    rho, nu = kappa**2 / np.sqrt(power[0] * power[1]), eta / np.sqrt(other[0] * other[1])
    aligned = cross_covariance_gate(x, y, label).ratio
    assert aligned == pytest.approx(rho / nu, rel=0.08)
    for source, target, ahead in ((x, y, 0), (y, x, 1)):
        tau, xi = kappa**2 / np.sqrt(power[ahead]), eta / np.sqrt(other[ahead])
        predicted = prediction_gate(source, target, label)
        assert (predicted.signal, predicted.nuisance) == (2, 2)
        assert predicted.ratio == pytest.approx(tau / xi, rel=0.08)
        quotient = np.sqrt(other[1 - ahead] / power[1 - ahead])
        assert aligned / predicted.ratio == pytest.approx(quotient, rel=0.08)


def test_a_change_of_scale_moves_prediction_alone():
    """Nuisances that are measured in smaller units come later in prediction, not in alignment."""
    x, y, label = spiked(1.0, (1.0, 1.0), 1.2, (2.0, 2.0))
    scale = np.array([1, 1, 0.1, 0.1])
    assert cross_covariance_gate(x, y * scale, label).helps is False
    assert cross_covariance_gate(x, y, label).ratio == pytest.approx(
        cross_covariance_gate(x, y * scale, label).ratio
    )
    before, after = (prediction_gate(x, y * by, label) for by in (1.0, scale))
    assert after.ratio == pytest.approx(10 * before.ratio, rel=0.01)
    assert (before.helps, after.helps) == (False, True)


def test_prediction_tells_nothing_where_nothing_is_shared():
    x, y, label = spiked(1.0, (1.0, 1.0), 1.2, (2.0, 2.0), rows=4000)
    shuffled = y[np.random.default_rng(5).permutation(len(y))]
    assert prediction_gate(x, shuffled, label) == Gate(signal=0, nuisance=0, ratio=None)
