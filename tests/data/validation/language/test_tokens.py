"""Whole numbers with a mask are ids of tokens."""

import numpy as np
import pytest

from tuner import data
from tuner.data.inspection import modality_in_words

ROWS, STEPS = 60, 9


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    real = np.arange(STEPS) < rng.integers(2, STEPS + 1, ROWS)[:, None]
    return rng.integers(1, 50, (ROWS, STEPS)), real


@pytest.mark.parametrize("padding", [0, -100, 3])
@pytest.mark.parametrize("dtype", ["u1", "i8"])
def test_they_are_kept_as_they_are(arrays, tokens, padding, dtype):
    ids, real = tokens
    stored = np.where(real, ids, padding).astype(dtype)
    dataset = data.from_arrays(arrays | {"b": stored, "b_mask": real})
    assert dataset.b.holds == "tokens"
    np.testing.assert_array_equal(dataset.b.values, np.where(real, ids, 0))
    np.testing.assert_array_equal(dataset.b.mask, real)
    plain = data.from_arrays(arrays | {"b": ids, "b_mask": real})
    assert dataset.fingerprint == plain.fingerprint
    assert modality_in_words(dataset.b) == "60 rows of 2 to 9 tokens, given by their ids"


def test_lengths_do_as_well(arrays, tokens):
    ids, real = tokens
    by_mask = data.from_arrays(arrays | {"b": ids, "b_mask": real})
    lengths = arrays | {"b": ids, "long": real.sum(1)}
    assert data.from_arrays(lengths, b_lengths="long").fingerprint == by_mask.fingerprint


def test_without_a_mask_whole_numbers_are_features(arrays, tokens):
    ids, _ = tokens
    dataset = data.from_arrays(arrays | {"b": ids})
    assert dataset.b.holds == "numbers"
    assert dataset.b.values.dtype == np.float32
    told = modality_in_words(dataset.b)
    assert told == "60 rows of 9 features, whole numbers (ids, where the encoder embeds them)"
    floats = data.from_arrays(arrays | {"b": ids + 0.5})
    assert modality_in_words(floats.b) == "60 rows of 9 features"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ids, real: (ids - 20, real), "other than ids of tokens"),
        (lambda ids, real: (ids + 2**24, real), "from 0 to 16,777,215, in 60 rows"),
        (lambda ids, real: (ids * 0 + 5, real), "all of its tokens are 5"),
        (lambda ids, real: (ids, real[:, :4]), r"shape \(60, 4\), where \(60, 9\)"),
        (lambda ids, real: (ids, real & False), "leaves no real step"),
        (lambda ids, real: (ids + 0.5, real), r"or as whole numbers, \(rows, tokens\)"),
        (lambda ids, real: (ids[:, :0], real[:, :0]), "is empty"),
    ],
)
def test_what_cannot_be_used_is_named(arrays, tokens, change, words):
    ids, real = change(*tokens)
    with pytest.raises(data.DataError, match=words):
        data.from_arrays(arrays | {"b": ids, "b_mask": real})
