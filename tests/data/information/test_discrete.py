"""Known answers of the literature, laws of the decomposition, and one solver against the other."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exact_information import decompose
from tuner.data.information.discrete import (
    atoms,
    least_by_projections,
    mutual_information,
)

BIT = (0, 1)
PAIRS = list(itertools.product(BIT, BIT))
AND = 0.75 * np.log2(4 / 3)  # I(A; A and B) = .311278

GATES = {
    "RDN": ([(y, y, y) for y in BIT], (1, 0, 0, 0)),
    "UNQ": ([(a, b, b) for a, b in PAIRS], (0, 0, 1, 0)),
    "COPY": ([(a, b, (a, b)) for a, b in PAIRS], (0, 1, 1, 0)),
    "XOR": ([(a, b, a ^ b) for a, b in PAIRS], (0, 0, 0, 1)),
    "AND": ([(a, b, a & b) for a, b in PAIRS], (AND, 0, 0, 0.5)),
    "OR": ([(a, b, a | b) for a, b in PAIRS], (AND, 0, 0, 0.5)),
    "SUM": ([(a, b, a + b) for a, b in PAIRS], (0.5, 0, 0, 1)),
    "RDN-XOR": ([((r, a), (r, b), (r, a ^ b)) for r in BIT for a, b in PAIRS], (1, 0, 0, 1)),
    "AND of a known pair": ([((a, b), b, a & b) for a, b in PAIRS], (AND, 0.5, 0, 0)),
    "XOR of a known pair": ([((a, b), b, a ^ b) for a, b in PAIRS], (0, 1, 0, 0)),
}


def table(outcomes) -> np.ndarray:
    """Joint distribution of equally likely (a, b, y)."""
    codes = [
        {v: k for k, v in enumerate(sorted(set(axis)))} for axis in zip(*outcomes, strict=True)
    ]
    joint = np.zeros([len(code) for code in codes])
    for outcome in outcomes:
        joint[tuple(code[v] for code, v in zip(codes, outcome, strict=True))] += 1 / len(outcomes)
    return joint


def parts(joint) -> np.ndarray:
    found = decompose(joint)
    return np.array([found.R, found.U_a, found.U_b, found.S])


joints = st.tuples(*[st.integers(2, 4)] * 3, st.integers(0, 10**6), st.floats(0.1, 3)).map(
    lambda d: (
        np.random.default_rng(d[3]).dirichlet(np.full(d[0] * d[1] * d[2], d[4])).reshape(d[:3])
    )
)


@pytest.mark.parametrize("gate", GATES)
def test_known_answers(gate):
    outcomes, expected = GATES[gate]
    np.testing.assert_allclose(parts(table(outcomes)), expected, atol=1e-5)


@given(joints)
@settings(max_examples=40, deadline=None)
def test_atoms_add_up_and_are_not_negative(joint):
    r, u_a, u_b, s = parts(joint)
    assert min(r, u_a, u_b, s) >= 0
    assert r + u_a == pytest.approx(mutual_information(joint.sum(1)), abs=1e-6)
    assert r + u_b == pytest.approx(mutual_information(joint.sum(0)), abs=1e-6)
    both = mutual_information(joint.reshape(-1, joint.shape[2]))
    assert r + u_a + u_b + s == pytest.approx(both, abs=1e-6)


@given(joints, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_names_of_values_do_not_matter_and_modalities_can_be_swapped(joint, random):
    shuffled = joint
    for axis in range(3):
        order = list(range(joint.shape[axis]))
        random.shuffle(order)
        shuffled = np.take(shuffled, order, axis)
    np.testing.assert_allclose(parts(shuffled), parts(joint), atol=1e-5)
    swapped = parts(joint.swapaxes(0, 1))
    np.testing.assert_allclose(swapped[[0, 2, 1, 3]], parts(joint), atol=1e-5)


@given(joints)
@settings(max_examples=20, deadline=None)
def test_parts_of_independent_problems_add(joint):
    """The atoms of two independent problems, observed together, are the sums of theirs."""
    other = table(GATES["AND"][0])
    both = np.einsum("aby,cdz->acbdyz", joint[:2, :2, :2] / joint[:2, :2, :2].sum(), other)
    expected = parts(joint[:2, :2, :2] / joint[:2, :2, :2].sum()) + parts(other)
    np.testing.assert_allclose(parts(both.reshape(4, 4, 4)), expected, atol=1e-4)


@given(joints)
@settings(max_examples=40, deadline=None)
def test_projections_come_close_to_the_exact_answer_from_above(joint):
    with_a, with_b = joint.sum(1), joint.sum(0)
    exact = decompose(joint)
    least = exact.R + exact.U_a + exact.U_b
    quick = least_by_projections(with_a[None], with_b[None])[0]
    assert least - 1e-5 <= quick <= least + 2e-3


@pytest.mark.parametrize("gate", GATES)
def test_projections_know_the_gates(gate):
    outcomes, expected = GATES[gate]
    joint = table(outcomes)
    with_a, with_b = joint.sum(1), joint.sum(0)
    found = atoms(
        mutual_information(with_a),
        mutual_information(with_b),
        mutual_information(joint.reshape(-1, joint.shape[2])),
        least_by_projections(with_a[None], with_b[None])[0],
    )
    np.testing.assert_allclose(list(found.values()), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (np.ones((2, 2)) / 4, "three axes"),
        (np.full((2, 2, 2), np.nan), "missing"),
        (np.ones((2, 2, 2)), "sums to 1, not to 8"),
        (np.array([[[1.5, -0.5]]]), "no negative"),
    ],
)
def test_what_is_no_distribution_is_refused(joint, words):
    with pytest.raises(ValueError, match=words):
        decompose(joint)
