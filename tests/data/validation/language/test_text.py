"""Text is held as it is written, whatever stored it, and refused or doubted by name."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import data
from tuner.data.inspection import inspect
from tuner.data.validation.language.text import MAX_BYTES_OF_TEXT, is_text

ROWS = 60
CAPTIONS = [f"a {('dog', 'Hund', '犬')[i % 3]} no. {i} " for i in range(ROWS)]
STORED = {
    "list": list,
    "U": np.array,
    "S": lambda texts: np.array([text.encode() for text in texts]),
    "objects": lambda texts: np.array(texts, dtype=object),
    "strings": lambda texts: np.array(texts, dtype=np.dtypes.StringDType()),
    "column": lambda texts: np.array(texts)[:, None],
    "masked": np.ma.array,
    "series": pd.Series,
    "categorical": lambda texts: pd.Series(texts, dtype="category"),
}


def read(arrays, texts):
    return data.from_arrays(arrays | {"b": texts})


def refused(arrays, texts):
    with pytest.raises(data.DataError) as caught:
        read(arrays, texts)
    return str(caught.value)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_how_it_is_stored_makes_no_difference(arrays, stored):
    dataset = read(arrays, stored(CAPTIONS))
    assert dataset.b.holds == "text"
    assert dataset.b.texts() == CAPTIONS
    assert dataset.fingerprint == read(arrays, CAPTIONS).fingerprint
    assert dataset.warnings == ()


@pytest.mark.parametrize("category", [False, True])
def test_a_file_is_read_as_arrays_are(arrays, tmp_path, category):
    frame = pd.DataFrame({"a": list(arrays["a"]), "b": CAPTIONS, "y": arrays["y"]})
    frame["b"] = frame["b"].astype("category") if category else frame["b"]
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=7)
    np.savez(tmp_path / "x.npz", a=arrays["a"], b=np.array(CAPTIONS), y=arrays["y"])
    expected = read(arrays, CAPTIONS).fingerprint
    for file in ("x.parquet", "x.npz"):
        assert data.read(tmp_path / file).fingerprint == expected
    lengths = [len(text.encode()) for text in CAPTIONS]
    words = inspect(tmp_path / "x.npz").reading["B"]
    assert words == f"b: 60 texts of {min(lengths)} to {max(lengths)} bytes"


@pytest.mark.slow
@given(st.lists(st.text(min_size=1, max_size=9), min_size=ROWS, max_size=ROWS, unique=True))
def test_what_was_written_comes_back(texts):
    arrays = {"a": np.eye(ROWS)[:, :3], "y": np.arange(ROWS) % 2}
    side = read(arrays, np.array(texts, dtype=object)).b
    assert side.texts() == texts
    assert side.values.shape == (ROWS, max(len(text.encode()) for text in texts))
    assert not side.values[~side.mask].any()
    assert side.texts(np.array([3, 1])) == [texts[3], texts[1]]


def test_numbers_have_no_texts(arrays):
    with pytest.raises(ValueError, match="holds numbers, no text"):
        data.from_arrays(arrays).b.texts()


@pytest.mark.parametrize("letter", ["x", "é", "犬"])
def test_long_text_is_cut_after_a_whole_letter_and_that_is_said(arrays, tmp_path, letter):
    texts = CAPTIONS.copy()
    texts[7] = "." + letter * (MAX_BYTES_OF_TEXT + 5)
    texts[9] = "x" * MAX_BYTES_OF_TEXT
    frame = pd.DataFrame({"a": list(arrays["a"]), "b": texts, "y": arrays["y"]})
    frame.to_parquet(tmp_path / "x.parquet")
    for dataset in (read(arrays, texts), data.read(tmp_path / "x.parquet")):
        size = len(letter.encode())
        assert dataset.b.texts()[7] == "." + letter * ((MAX_BYTES_OF_TEXT - 1) // size)
        assert dataset.b.texts()[9] == texts[9]
        (warning,) = dataset.warnings
        assert "cut to 4,096 bytes in 1 row (first: row 7" in warning


@pytest.mark.parametrize("missing", ["", None, np.nan, pd.NA])
def test_a_row_without_text_is_refused_by_its_number(arrays, missing):
    texts = np.array(CAPTIONS, dtype=object)
    texts[[4, 8]] = missing
    assert "no text (empty or null) in 2 rows (first: row 4" in refused(arrays, texts)


def test_null_in_a_file_is_refused(arrays, tmp_path):
    texts = [None if i == 5 else text for i, text in enumerate(CAPTIONS)]
    frame = pd.DataFrame({"a": list(arrays["a"]), "b": texts, "y": arrays["y"]})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(data.DataError, match=r"in 1 row \(first: row 5"):
        data.read(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["same"] * ROWS, "every row holds the same text"),
        ([["a", "b"]] * ROWS, "one text a row"),
        ([text.encode("utf-16") for text in CAPTIONS], "not valid Unicode .* in 60 rows"),
        (["\ud800x", *CAPTIONS[1:]], r"not valid Unicode .* in 1 row \(first: row 0"),
        (np.full(ROWS, 2**31, np.uint32).view("U1"), "not valid Unicode"),
    ],
)
def test_what_cannot_be_used_is_named(arrays, texts, words):
    with pytest.raises(data.DataError, match=words):
        read(arrays, texts)


def test_the_limit_on_memory_holds(arrays, tmp_path):
    texts = ["x" * 3000, *CAPTIONS[1:]]
    frame = pd.DataFrame({"a": list(arrays["a"]), "b": texts, "y": arrays["y"]})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(data.DataError, match="180,000 bytes as text padded to its longest row"):
        data.read(tmp_path / "x.parquet", max_bytes=170_000)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([str(i / 7) for i in range(ROWS)], "numbers that are written as text"),
        (["red", "green", "blue"] * 20, "3 different texts in 60 rows"),
    ],
)
def test_what_looks_like_something_else_is_doubted(arrays, texts, words):
    (warning,) = (text for text in read(arrays, texts).warnings if words in text)
    advice = warning.rpartition("save ")[2].rpartition(", as ")[2].removesuffix(".")
    values = eval(advice, {"numpy": np, "pandas": pd, "b": texts})
    assert data.from_arrays(arrays | {"b": values}).b.holds == "numbers"


def test_a_mask_of_text_is_not_used(arrays):
    dataset = data.from_arrays(arrays | {"b": CAPTIONS, "b_mask": np.ones((ROWS, 3))})
    assert dataset.warnings == ("array 'b_mask' is not used: 'b' is text, which needs no mask.",)
    assert dataset.fingerprint == read(arrays, CAPTIONS).fingerprint


def test_the_same_bytes_as_numbers_are_another_data_set(arrays):
    text = read(arrays, CAPTIONS)
    ids = data.from_arrays(arrays | {"b": text.b.values.astype(int), "b_mask": text.b.mask})
    numbers = data.from_arrays(arrays | {"b": text.b.values})
    assert len({part.fingerprint for part in (text, ids, numbers)}) == 3


def test_objects_that_are_no_text_stay_refused(arrays):
    assert not is_text(np.array(["x", 1], dtype=object))
    assert not is_text(np.array([None, np.nan], dtype=object))
    assert "Python objects" in refused(arrays, np.array([*CAPTIONS[1:], 3], dtype=object))
