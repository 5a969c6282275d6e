"""Weights as bytes: equal ones are equal bytes, which other programs read."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load

from tuner.models.weights import WeightsFile, read_weights

DTYPES = st.sampled_from(["f4", "f2", "f8", "i8", "i4", "u1", "?"])
STATES = st.dictionaries(
    st.text(max_size=12).filter(lambda name: name != "__metadata__"),
    DTYPES.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_side=0, max_side=3))),
    max_size=4,
)


def content(weights):
    return b"".join(WeightsFile(weights).chunks())


def assert_equal(weights, expected):
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        assert weights[name].dtype == values.dtype
        np.testing.assert_array_equal(weights[name], values)


@given(STATES)
def test_weights_come_back_from_bytes_as_they_went(weights):
    assert_equal(read_weights(content(weights)), weights)


@given(STATES)
def test_the_library_of_the_layout_reads_them(weights):
    assert_equal(load(content(weights)), weights)


@given(STATES)
def test_the_name_is_the_digest_of_the_bytes_in_whatever_order_the_arrays_come(weights):
    file = WeightsFile(dict(reversed(weights.items())))
    assert file.digest == hashlib.sha256(content(weights)).hexdigest()
    assert file.size == len(content(weights))


def test_arrays_that_do_not_lie_in_a_row_are_written_as_they_look():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert content({"w": values.T}) == content({"w": values.T.copy()})
    assert_equal(read_weights(content({"w": values.T})), {"w": values.T})


def test_large_arrays_are_never_copied_as_a_whole():
    values = np.zeros(2**25, np.uint8)
    chunks = list(WeightsFile({"w": values}).chunks())
    assert max(len(chunk) for chunk in chunks) == 2**24
    assert all(np.shares_memory(np.frombuffer(chunk, np.uint8), values) for chunk in chunks[1:])


def test_what_the_layout_has_no_name_for_is_refused():
    with pytest.raises(ValueError, match="twist holds complex128, which a file of weights cannot"):
        WeightsFile({"twist": np.zeros(2, np.complex128)})
