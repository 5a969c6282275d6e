"""Similarity measures against identities, chance level and naive implementations."""

import numpy as np
import pytest

from tuner.models.evaluation.similarity import cka, mutual_knn, similarities, svcca

MEASURES = [cka, svcca, mutual_knn]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def rotation(size: int) -> np.ndarray:
    return np.linalg.qr(normal(size, size, seed=9))[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_a_representation_is_one_with_itself(measure):
    x = normal(60, 7)
    assert measure(x, x) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_rotation_scale_and_shift_change_nothing(measure):
    x = normal(80, 6)
    y = np.tanh(x @ normal(6, 5, seed=1)) + 0.3 * normal(80, 5, seed=2)
    before = measure(x, y)
    assert 0.05 < before < 0.95
    assert measure(3 * x @ rotation(6) + 5, y) == pytest.approx(before, abs=1e-9)
    assert measure(x, 0.01 * y @ rotation(5) - 2) == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_it_is_symmetric(measure):
    x, y = normal(50, 4), normal(50, 4) ** 3 + normal(50, 4, seed=1)
    assert measure(x, y) == pytest.approx(measure(y, x), abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_it_falls_as_noise_grows(measure):
    x, noise = normal(300, 5), normal(300, 5, seed=1)
    values = [measure(x, x + size * noise) for size in (0, 0.3, 1, 5)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.5


def test_chance_level_on_independent_data():
    pairs = [(normal(200, 40, seed=s), normal(200, 40, seed=1000 + s)) for s in range(30)]
    debiased = [cka(x, y) for x, y in pairs]
    error = np.std(debiased, ddof=1) / np.sqrt(30)
    assert abs(np.mean(debiased)) < 4 * error < 0.02
    agreeing = [mutual_knn(x, y) for x, y in pairs]
    assert np.mean(agreeing) == pytest.approx(10 / 199, rel=0.1)
    low_dimensional = [svcca(x[:, :1], y[:, :1]) for x, y in pairs]
    assert np.mean(low_dimensional) == pytest.approx(np.sqrt(2 / np.pi / 200), rel=0.4)


def test_cka_against_sums_over_quadruples():
    """Song et al., equation 4: the unbiased HSIC is a mean over tuples of different rows."""
    x, y = normal(7, 3), normal(7, 2, seed=1) + normal(7, 1)
    k, m = (z @ z.T for z in (x - x.mean(0), y - y.mean(0)))

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        from itertools import permutations

        n = len(k)
        pairs = np.mean([k[i, j] * m[i, j] for i, j in permutations(range(n), 2)])
        quadruples = np.mean([k[i, j] * m[q, r] for i, j, q, r in permutations(range(n), 4)])
        triples = np.mean([k[i, j] * m[i, q] for i, j, q in permutations(range(n), 3)])
        return pairs + quadruples - 2 * triples

    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_svcca_of_one_direction_is_a_correlation():
    x = normal(40, 1)
    y = x + normal(40, 1, seed=1)
    expected = abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1])
    assert svcca(x, y) == pytest.approx(expected, abs=1e-12)


def test_svcca_leaves_out_what_holds_little_variance():
    x, y = normal(100, 2), normal(100, 2, seed=1)
    shared = 1e-3 * normal(100, 1, seed=2)
    assert svcca(np.hstack([x, shared]), np.hstack([y, shared])) == pytest.approx(
        svcca(x, y), abs=1e-3
    )


def test_mutual_knn_against_a_loop():
    x, y = normal(30, 4), normal(30, 4) + normal(30, 4, seed=1)

    def nearest(z: np.ndarray, row: int) -> set[int]:
        z = z - z.mean(0)
        cosines = [
            -np.inf if other == row else z[row] @ z[other] / np.linalg.norm(z[other])
            for other in range(len(z))
        ]
        return set(np.argsort(cosines)[-5:].tolist())

    expected = np.mean([len(nearest(x, i) & nearest(y, i)) / 5 for i in range(30)])
    assert mutual_knn(x, y, neighbours=5) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [cka, svcca])
def test_a_collapsed_representation_is_like_nothing(measure):
    assert measure(np.ones((20, 3)), normal(20, 3)) == 0


def test_all_measures_of_many_rows_use_some_of_them():
    x = normal(5000, 4).astype(np.float32)
    y = x + 0.5 * normal(5000, 4, seed=1).astype(np.float32)
    values = similarities(x, y)
    assert set(values) == {"cka", "svcca", "mutual_knn"}
    rows = np.linspace(0, 4999, 512).round().astype(int)
    assert values["cka"] == pytest.approx(cka(x[rows].astype(float), y[rows].astype(float)))
    assert values["cka"] == pytest.approx(
        cka(x[:1500].astype(float), y[:1500].astype(float)), abs=0.05
    )
