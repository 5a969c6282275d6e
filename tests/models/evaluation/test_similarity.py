"""Similarity measures against identities, chance level and naive implementations."""

import numpy as np
import pytest

from tuner.models.evaluation.similarity import (
    PERMUTATIONS,
    Calibration,
    calibrations,
    cka,
    mutual_knn,
    similarities,
    similarities_and_null,
    svcca,
)

MEASURES = [cka, svcca, mutual_knn]
NAMES = [measure.__name__ for measure in MEASURES]


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


def compared(x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> dict[str, Calibration]:
    measured, null = similarities_and_null(x, y, seed=seed)
    return calibrations(
        {name: np.array([value]) for name, value in measured.items()},
        {name: values[None] for name, values in null.items()},
    )


@pytest.mark.parametrize("width", [3, 60])  # by features, and by Gram matrices
def test_the_null_is_the_measure_of_permuted_rows(width):
    """One at a time, with everything made anew."""
    x = normal(50, width)
    y = x @ normal(width, width, seed=1) + normal(50, width, seed=2)
    measured, null = similarities_and_null(x, y, seed=5)
    orders = np.random.default_rng(5).permuted(np.tile(np.arange(50), (PERMUTATIONS, 1)), axis=1)
    for measure in MEASURES:
        name = measure.__name__
        assert measured[name] == pytest.approx(measure(x, y), abs=1e-12)
        expected = [measure(x, y[order]) for order in orders]
        np.testing.assert_allclose(null[name], expected, atol=1e-10)


def test_the_null_of_many_rows_is_of_those_that_are_compared():
    x = normal(2000, 3).astype(np.float32)
    y = x + normal(2000, 3, seed=1).astype(np.float32)
    rows = np.linspace(0, 1999, 512).round().astype(int)
    for whole, some in zip(
        similarities_and_null(x, y, seed=2),
        similarities_and_null(x[rows], y[rows], seed=2),
        strict=True,
    ):
        for name in NAMES:
            np.testing.assert_array_equal(whole[name], some[name])


def test_an_identical_representation_is_one_and_as_improbable_as_can_be():
    x = normal(60, 5)
    for calibration in compared(x, 3 * x @ rotation(5) - 1).values():
        assert calibration.value == pytest.approx(1)
        assert calibration.p == 1 / 201


@pytest.fixture(scope="module")
def independent() -> dict[str, list[Calibration]]:
    pairs = (compared(normal(60, 8, seed=s), normal(60, 8, seed=900 + s)) for s in range(100))
    gathered: dict[str, list[Calibration]] = {name: [] for name in NAMES}
    for pair in pairs:
        for name, calibration in pair.items():
            gathered[name].append(calibration)
    return gathered


@pytest.mark.parametrize("name", NAMES)
def test_independent_representations_are_alike_by_chance(independent, name):
    """Around 0, and with a p that is uniform: Kolmogorov and Smirnov's limit at 1 in 1,000."""
    values = np.array([calibration.value for calibration in independent[name]])
    assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(len(values)) < 0.02
    p = np.sort([calibration.p for calibration in independent[name]])
    steps = np.arange(len(p) + 1) / len(p)
    distance = max((p - steps[:-1]).max(), (steps[1:] - p).max())
    assert distance < 1.95 / np.sqrt(len(p)) + 1 / 201
    assert {c.p for c in independent[name]} <= {k / 201 for k in range(1, 202)}


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "width"), [(50, 5), (50, 20), (400, 5), (400, 40)])
def test_beyond_chance_neither_width_nor_rows_make_independent_representations_alike(rows, width):
    """Plain, SVCCA has .25, .56, .09 and .27 here; mutual kNN has k / (rows - 1), .20 and .025."""
    pairs = [
        compared(normal(rows, width, seed=s), normal(rows, width, seed=900 + s)) for s in range(12)
    ]
    for name in NAMES:
        values = np.array([pair[name].value for pair in pairs])
        assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(12) < 0.1


def test_a_similarity_above_its_quantile_has_a_small_p():
    null = np.arange(200)[None] / 1000
    for above, p in ((0.1895, 11 / 201), (0.1905, 10 / 201), (0.5, 1 / 201), (-1, 1)):
        calibration = Calibration.of(np.array([above]), null)
        assert calibration.p == p
        assert calibration.quantile == pytest.approx(0.190)
        assert (above > calibration.quantile) is (p < 0.05)
        assert calibration.value == pytest.approx((above - 0.0995) / (1 - 0.0995))


def test_replicates_are_calibrated_together():
    """Each is of no account alone; their mean is, where chance moves them apart."""
    rng = np.random.default_rng(0)
    null = 0.5 + 0.1 * rng.normal(size=(16, 200))
    measured = np.full(16, 0.6)
    assert Calibration.of(measured[:1], null[:1]).p > 0.05
    assert Calibration.of(measured, null).p == 1 / 201
    together = Calibration.of(measured, np.tile(null[0], (16, 1)))
    assert vars(together) == pytest.approx(vars(Calibration.of(measured[:1], null[:1])))


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (np.ones((20, 3)), normal(20, 3), "svcca"),  # collapsed
        (np.ones((20, 3)), normal(20, 3), "cka"),
        (normal(8, 7), normal(8, 7, seed=1), "mutual_knn"),  # all others are neighbours
    ],
)
def test_where_chance_has_all_there_is_nothing_beyond_it(x, y, name):
    found = compared(x, y)
    assert (found[name].value, found[name].p) == (0, 1)
    assert np.isfinite([list(vars(calibration).values()) for calibration in found.values()]).all()


def test_the_same_seed_has_the_same_null():
    x, y = normal(30, 3), normal(30, 3, seed=1)
    assert compared(x, y, seed=3) == compared(x, y, seed=3)
    one, other = (similarities_and_null(x, y, seed=s)[1]["cka"] for s in (3, 4))
    assert not np.allclose(one, other)
