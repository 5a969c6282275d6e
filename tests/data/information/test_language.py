"""The profile sees in text, and in ids of tokens, the words that tell the label."""

import numpy as np
import pytest

from tuner.data import from_arrays
from tuner.data.information.language import _SIZES, _counts, topics
from tuner.data.information.profile import information_profile

FILL = ["the", "a", "on", "of", "with", "big", "small", "red", "photo", "old", "new", "very"]
NAMES = ["dog", "ship", "tree", "house"]


def world(rows=600):
    """Captions that name the class, somewhere among other words, and A that knows half of it."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, rows)
    words = [rng.permutation([*rng.choice(FILL, 4), NAMES[name]]) for name in y]
    return {"a": np.eye(2)[y // 2], "b": [" ".join(some) for some in words], "y": y}, words


def test_counts_are_those_of_every_n_gram():
    arrays, _ = world(60)
    side = from_arrays(arrays).b
    rows = np.array([5, 2])
    counts = _counts(side, rows)
    for row, number in enumerate(rows):
        text = arrays["b"][number].encode()
        grams = [
            (size, (b"\0" * size + text)[end - size + size : end + size])
            for size in _SIZES["text"]
            for end in range(1, len(text) + 1)
        ]
        assert counts[[row]].sum() == len(grams) == 3 * len(text) + len(text)
        assert counts[[row]].nnz == len(set(grams))


@pytest.mark.parametrize("ids", [False, True])
def test_the_shares_of_a_known_world(ids):
    arrays, words = world()
    if ids:
        number = {word: i for i, word in enumerate(sorted({w for some in words for w in some}))}
        arrays["b"] = np.array([[number[word] for word in some] for some in words])
        arrays["b_mask"] = np.ones(arrays["b"].shape)
    profile = information_profile(from_arrays(arrays))
    assert profile.R.value == pytest.approx(1, abs=0.1)
    assert profile.U_a.value == pytest.approx(0, abs=0.05)
    assert profile.U_b.value == pytest.approx(1, abs=0.25)


def test_the_same_seed_gives_the_same():
    side, rows = from_arrays(world(200)[0]).b, np.arange(150)
    one, again = (topics(side, rows, 8, seed=1) for _ in range(2))
    assert one.shape == (150, 9)
    np.testing.assert_array_equal(one, again)
