"""Parquet files, good and bad."""

import contextlib
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner import data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.parquet"


@pytest.fixture
def columns(arrays):
    return {name: pa.array(array.tolist()) for name, array in arrays.items()}


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)


LISTS = {
    "list": pa.list_(pa.float64()),
    "large list": pa.large_list(pa.float32()),
    "fixed-size list": pa.list_(pa.float32(), 4),
    "half precision": pa.list_(pa.float16()),
}


@pytest.mark.parametrize("kind", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("group_rows", [60, 7])
def test_lists_of_every_kind(path, arrays, columns, kind, group_rows):
    rows = arrays["a"].astype(np.float16) if "half" in str(kind) else arrays["a"]
    columns["a"] = pa.array(list(rows), type=kind)
    write(path, columns, row_group_size=group_rows)
    dataset = data.read(path)
    np.testing.assert_array_equal(dataset.a.values, rows.astype(kind.value_type.to_pandas_dtype()))
    np.testing.assert_array_equal(dataset.b.values, arrays["b"])


def test_more_rows_than_one_batch(path):
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=(10_000, 2)).astype(np.float32), rng.integers(0, 3, 10_000)
    names = np.array(["x", "y", "z"])[y]
    write(path, {"a": list(a), "b": list(a + 1), "y": names}, row_group_size=3_000)
    dataset = data.read(path)
    np.testing.assert_array_equal(dataset.a.values, a)
    np.testing.assert_array_equal(dataset.y, y)


def test_a_frame_as_pandas_writes_it(path, arrays):
    y = np.where(np.arange(60) < 10, np.nan, np.arange(60.0))
    frame = pd.DataFrame({"a": list(arrays["a"]), "b": [x.tolist() for x in arrays["b"]], "y": y})
    frame["group"] = pd.Categorical(np.arange(60) // 2)
    frame.to_parquet(path)
    dataset = data.read(path)
    np.testing.assert_array_equal(dataset.y, y.astype(np.float32))
    np.testing.assert_array_equal(dataset.group, np.arange(60) // 2)


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (pa.array([None, 1, 2] * 20), "auto", (1, 2)),
        (pa.array([None, "no", "yes"] * 20), "auto", ("no", "yes")),
        (pa.array(["", "no", "yes"] * 20), "auto", ("no", "yes")),
        (pa.array([None, "no", "yes"] * 20).dictionary_encode(), "auto", ("no", "yes")),
        (pa.array([None, True, False] * 20), "auto", (0, 1)),
        (pa.array([None, 0.5, 2.5] * 20), "auto", None),
        (pa.array([None, -1, 2] * 20), "regression", None),
    ],
)
def test_a_null_label_is_missing(path, columns, y, task, classes):
    write(path, columns | {"y": y})
    dataset = data.read(path, task=task)
    assert dataset.classes == classes
    np.testing.assert_array_equal(dataset.labelled, np.resize([False, True, True], 60))


def lists(change):
    def build():
        rows = [[float(i), 1.0 + i, 2.0] for i in range(60)]
        change(rows)
        return pa.array(rows)

    return build


BAD = {
    "null cell": (lists(lambda r: r.__setitem__(7, None)), ["empty cells (null; first: row 7"]),
    "null value": (
        lists(lambda r: r[8].__setitem__(1, None)),
        ["empty cells (null; first: row 8", "Fill them in"],
    ),
    "ragged": (
        lists(lambda r: r[9].append(0.0)),
        ["lists differ in length: 3 values at first, 4 in row 9", "Pad them", "_mask"],
    ),
    "ragged deeper": (
        lambda: pa.array([[[1.0, 2.0], [3.0]]] * 60),
        ["lists differ in length: 2 values at first, 1 in row 0"],
    ),
    "null deeper": (
        lambda: pa.array([[[1.0], [2.0 * i]] if i != 5 else [[1.0], None] for i in range(60)]),
        ["first: row 5"],
    ),
    "lists of text": (lambda: pa.array([["x"]] * 60), ["lists of text"]),
    "text that never changes": (lambda: pa.array(["x"] * 60), ["every row holds the same text"]),
    "numbers": (lambda: pa.array([1.0] * 60), ["'a' has shape (60,), one value a row"]),
    "bytes": (lambda: pa.array([b"x"] * 60), ["60 images cannot be decoded", "none of PNG, JPEG"]),
    "dates": (lambda: pa.array([0] * 60, pa.timestamp("s")), ["values of type timestamp"]),
    "records": (lambda: pa.array([{"x": 1}] * 60), ["values of type struct"]),
    "maps": (lambda: pa.array([[("k", 1.0)]] * 60, pa.map_(pa.string(), pa.float64())), ["map"]),
    "nothing": (lambda: pa.nulls(60), ["array 'a'", "null"]),
}


@pytest.mark.parametrize(("build", "words"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("group_rows", [60, 4])
def test_bad_columns_are_named(path, columns, build, words, group_rows):
    write(path, columns | {"a": build()}, row_group_size=group_rows)
    text = findings_of(path)
    assert "array 'a'" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "y", [pa.array([[1]] * 60), pa.array([0] * 60, pa.date32()), pa.array(["z" * 2000] * 60)]
)
def test_labels_that_are_none(path, columns, y):
    write(path, columns | {"y": y})
    assert "array 'y'" in findings_of(path)


def test_shapes_that_differ_between_row_groups(path, columns):
    rows = [[1.0 * i, 2.0] if i < 30 else [1.0, 2.0, 3.0] for i in range(60)]
    write(path, columns | {"a": pa.array(rows)}, row_group_size=30)
    text = findings_of(path)
    assert "in row 30 (counting from 0)" in text


def test_several_bad_columns_at_once(path, columns):
    bad = {"a": pa.array([["x"]] * 60), "b": pa.array([1.0] * 60), "split": pa.array([4] * 60)}
    write(path, columns | bad)
    text = findings_of(path)
    for name in bad:
        assert f"array {name!r}" in text


def test_a_missing_column_lists_those_that_are_there(path, columns):
    write(path, columns)
    assert "array 'z' is missing; there are 'a', 'b' and 'y'" in findings_of(path, a="z")


def test_an_extension_type_is_refused_before_its_class_sees_its_bytes(path, columns):
    class Unpickling(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.int64(), "tests.unpickling")

        def __arrow_ext_serialize__(self):
            return b"a pickle"

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type, serialized):
            pytest.fail("bytes of the file reached a class")

    kind = Unpickling()
    write(path, columns | {"extra": pa.ExtensionArray.from_storage(kind, columns["y"])})
    pa.register_extension_type(kind)
    try:
        text = findings_of(path)
    finally:
        pa.unregister_extension_type("tests.unpickling")
    assert "extension type" in text
    assert "plain lists" in text


def test_a_limit_on_the_size(path, columns):
    write(path, columns)
    text = findings_of(path, max_bytes=1000)
    assert "array 'a' cannot be read: it unpacks to more than the limit of 1,000 bytes" in text


def test_a_long_name_repeated_takes_little_memory(path):
    rows = 20_000
    flat = {name: pa.array([[1.0 * i] for i in range(rows)]) for name in "ab"}
    names = pa.DictionaryArray.from_arrays(pa.array([0] * rows), ["z" * 100_000])
    write(path, flat | {"y": names}, store_schema=False)  # without it, what is read is plain text
    assert path.stat().st_size < 2**20
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    assert "1,000 letters" in findings_of(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() - before < 2**27  # of 2 GB when repeated


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 20 + b"PAR1", b"a,b\n1,2\n"])
def test_what_is_no_table(path, content):
    path.write_bytes(content)
    text = findings_of(path)
    assert "Save" in text or "save it again" in text or "Rename it to study.csv" in text


def test_a_table_cut_short_anywhere_is_refused(path, columns):
    write(path, columns)
    content = path.read_bytes()
    for length in range(0, len(content), 29):
        path.write_bytes(content[:length])
        findings_of(path)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("checksum", [True, False])
def test_flipped_bytes_give_valid_data_or_an_error(make, path, checksum, flips):
    columns = {name: pa.array(array.tolist()) for name, array in make(rows=30).items()}
    write(path, columns, write_page_checksum=checksum)
    content = bytearray(path.read_bytes())
    for position, flip in flips:
        content[position % len(content)] ^= flip
    path.write_bytes(content)
    with contextlib.suppress(data.DataError):
        assert np.isfinite(data.read(path).a.values).all()
