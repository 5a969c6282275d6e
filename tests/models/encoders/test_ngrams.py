"""The encoder of text counts n-grams, whatever else is in the batch and however it is padded."""

from collections import Counter

import numpy as np
import pytest
import torch

from tuner.data import from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.encoders.built_in.ngrams import _BITS, _FACTOR, _SIZES, NgramEncoder
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

TINY = TrainingConfig(hidden=16, embedding=6, depth=2)
TEXTS = ["a cat", "a cat sat, a cat", "犬 und Katze", "x"]


def rows_of(texts, width=None):
    side = from_arrays(
        {"a": np.eye(60)[:, :2], "b": [*texts, *(f"no. {i}" for i in range(60 - len(texts)))],
         "y": np.arange(60) % 2}
    ).b  # fmt: skip
    x, real = (torch.from_numpy(part[: len(texts)].copy()) for part in (side.values, side.mask))
    more = 0 if width is None else width - x.shape[1]
    return torch.nn.functional.pad(x.long(), (0, more)), torch.nn.functional.pad(real, (0, more))


def naive(text, size):
    """Bucket and sign of every n-gram of bytes, in Python's own whole numbers."""
    padded = [0] * (size - 1) + [byte + 1 for byte in text.encode()]
    found = Counter()
    for end in range(size, len(padded) + 1):
        hashed = size
        for byte in padded[end - size : end]:
            hashed = (hashed + byte) * _FACTOR % 2**64
        sign = 1 - 2 * (hashed >> (63 - _BITS) & 1)
        found[hashed >> (64 - _BITS)] += sign
    return found


def test_counts_are_those_of_a_naive_count():
    x, real = rows_of(TEXTS)
    counts = NgramEncoder("text", TINY)._counts(x, real)
    for row, text in zip(counts, TEXTS, strict=True):
        expected = torch.zeros(2**_BITS)
        for size in _SIZES["text"]:
            for bucket, count in naive(text, size).items():
                expected[bucket] += count
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("of", ["text", "tokens"])
def test_a_row_depends_on_itself_alone(of):
    encoder = NgramEncoder(of, TINY)
    x, real = rows_of(TEXTS)
    embedded = encoder(x, real)
    torch.testing.assert_close(encoder(*rows_of(TEXTS, width=99)), embedded)
    torch.testing.assert_close(encoder(x.masked_fill(~real, 0)[..., None], real), embedded)
    for row in range(len(x)):
        torch.testing.assert_close(encoder(x[row : row + 1], real[row : row + 1])[0], embedded[row])
    whole = x[1:2, : real[1].sum()]
    torch.testing.assert_close(encoder(whole)[0], embedded[1])


def test_words_may_change_places_and_letters_may_not():
    texts = ["red fish, old sea, ", "old sea, red fish, ", "erd fihs, lod sae, "]
    one, moved, other = NgramEncoder("text", TINY)._counts(*rows_of(texts))
    similar = torch.nn.functional.cosine_similarity
    # Of 19 n-grams of each size all but those over the start and over the new joint are shared.
    shared = sum(19 - 2 * (size - 1) for size in (3, 4, 5)) / (3 * 19)
    assert float(similar(one, moved, dim=0)) == pytest.approx(shared, abs=0.02)
    assert similar(one, other, dim=0) < 0.25


def world(rows=240, *, form="text"):
    """B names the class in one word among others; A is noise."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, rows)
    ids = rng.integers(3, 40, (rows, 6))
    ids[np.arange(rows), rng.integers(0, 6, rows)] = y
    words = np.array([f"w{'aeiou'[i % 5]}{i * 37 % 101}" for i in range(40)])
    texts = [" ".join(words[row]) for row in ids]
    arrays = {"a": rng.normal(size=(rows, 3)), "b": texts if form == "text" else ids, "y": y}
    if form == "masked":
        arrays["b_mask"] = np.ones(ids.shape)
    return from_arrays(arrays, name="words")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "masked", "whole numbers"])
def test_it_learns_the_word_that_tells(form):
    kind = {"text": "auto", "masked": "auto", "whole numbers": "tokens"}[form]
    training = TrainingConfig(encoder_b=kind, epochs=25, hidden=32, embedding=8, batch_size=32)
    asked = Study.of(StudySpec(training=training), world(form=form))
    assert asked.training.encoder_b == ("text" if form == "text" else "tokens")
    assert asked.data.train.b.dtype.kind in "iu"
    outcome = train(asked.data, asked.training, strength=0.0, seeds=[1], test=asked.test_rows)
    assert (outcome.test_predictions["b"] == asked.test_rows.target).mean() > 0.9
    assert (outcome.test_predictions["a"] == asked.test_rows.target).mean() < 0.6


def test_numbers_that_are_no_ids_are_refused():
    rng = np.random.default_rng(0)
    dataset = from_arrays(
        {"a": rng.normal(size=(90, 3)), "b": np.eye(90)[:, :4], "y": np.arange(90) % 2}
    )
    training = TrainingConfig(encoder_a="tokens")
    with pytest.raises(Exception, match="whole numbers from 0, and 'a' holds others"):
        Study.of(StudySpec(training=training), dataset)


@pytest.mark.slow
def test_bfloat16_trains_to_the_same_answer():
    data = TrainingData.of(world())
    config = TrainingConfig(
        encoder_a="mlp", encoder_b="text", epochs=20, hidden=32, embedding=8, batch_size=32
    )
    exact, mixed = (
        train(data, config.model_copy(update={"precision": p}), strength=0.0, seeds=[1])
        for p in ("float32", "bfloat16")
    )
    agree = exact.predictions["b"] == mixed.predictions["b"]
    assert agree.mean() > 0.9
