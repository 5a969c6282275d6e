"""Retrieval and classification across modalities, against counting by hand."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.models.evaluation.crossmodal import (
    RECALL_NAMES,
    RECALLS,
    galleries,
    gallery_size,
    nearest_class,
    prototypes,
    recalls,
)


def directions(rng, *shape):
    values = rng.normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def by_orders(query, others, own, k):
    """In how many of all orders that go by likeness the partner is among the first k."""
    alike = [round(float(query @ other), 5) for other in others]
    orders = [
        order
        for order in permutations(range(len(others)))
        if all(alike[one] >= alike[two] for one, two in pairwise(order))
    ]
    return sum(own in order[:k] for order in orders) / len(orders)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_recall_is_that_of_all_orders_of_equals(seed, distinct):
    rng = np.random.default_rng(seed)
    few = directions(rng, distinct, 4)
    a, b = (few[rng.integers(0, distinct, 5)] for _ in "ab")
    found = recalls(a[None], b[None])
    for name, (side, k) in RECALL_NAMES.items():
        queries, others = (a, b) if side == "a" else (b, a)
        expected = [by_orders(queries[row], others, row, k) for row in range(5)]
        np.testing.assert_allclose(found[name][0], expected, atol=1e-6)


def test_partners_that_are_alike_are_all_found():
    a = directions(np.random.default_rng(0), 3, 200, 8)
    assert all((values == 1).all() for values in recalls(a, a.copy()).values())


@pytest.mark.parametrize("rows", [4, 50])
def test_what_is_embedded_in_one_point_has_chance(rows):
    a = directions(np.random.default_rng(0), 1, rows, 8)
    one_point = np.broadcast_to(a[:, :1], a.shape)
    for name, values in recalls(a, one_point).items():
        side, k = RECALL_NAMES[name]
        if side == "a":
            np.testing.assert_allclose(values, min(k / rows, 1), rtol=1e-6)
    for name, values in recalls(one_point, one_point).items():
        np.testing.assert_allclose(values, min(RECALL_NAMES[name][1] / rows, 1), rtol=1e-6)


def test_what_is_independent_has_chance_but_for_luck():
    rng = np.random.default_rng(1)
    found = recalls(directions(rng, 20, 200, 16), directions(rng, 20, 200, 16))
    for name, (_, k) in RECALL_NAMES.items():
        chance = k / 200
        assert abs(found[name].mean() - chance) < 4 * np.sqrt(chance / 4000)


def test_both_directions_and_all_k_are_there():
    assert {(side, k) for side, k in RECALL_NAMES.values()} == {
        (side, k) for side in "ab" for k in RECALLS
    }


def test_a_direction_is_that_of_its_name():
    """One hub of B lies before all partners of A; from B to A every row is found but the hub's."""
    a = np.eye(4, dtype=np.float32)
    b = np.array([[1, 0, 0, 0], [0.9, 1, 0, 0], [0.9, 0, 1, 0], [0.9, 0, 0, 1]], dtype=np.float32)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    a[1:, 0], a[1:, 1:] = 1.0, 0.0  # all of A are the hub
    found = recalls(a[None], b[None])
    np.testing.assert_array_equal(found["recall_at_1_a_to_b"], [[1, 0, 0, 0]])
    np.testing.assert_allclose(found["recall_at_1_b_to_a"], [[0.25] * 4])


@given(st.integers(1, 5000))
def test_every_row_is_in_one_gallery_of_a_thousand_at_most(rows):
    dealt = list(galleries(rows))
    assert sorted(np.concatenate(dealt)) == list(range(rows))
    sizes = [len(each) for each in dealt]
    assert max(sizes) == gallery_size(rows) <= 1000
    assert max(sizes) - min(sizes) <= 1


def test_a_class_is_that_of_the_nearest_mean_of_the_other_modality():
    rng = np.random.default_rng(2)
    queries, known = directions(rng, 2, 30, 5), directions(rng, 2, 40, 5)
    y = rng.integers(0, 3, 40)
    sums = np.stack([known[:, y == code].sum(1) for code in range(3)], 1)
    found = nearest_class(queries, prototypes(sums))
    for replicate in range(2):
        for row, query in enumerate(queries[replicate]):
            means = [known[replicate][y == code].mean(0) for code in range(3)]
            cosines = [query @ mean / np.linalg.norm(mean) for mean in means]
            assert found[replicate, row] == int(np.argmax(cosines))


def test_a_class_without_rows_is_never_named():
    sums = np.array([[[0.0, 0.0], [1.0, 0.0]]])
    away = np.array([[[-1.0, 0.0]]])
    assert nearest_class(away, prototypes(sums)).item() == 1
