"""Folders that `datasets` saved."""

import contextlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.saved import save_to_disk
from tuner import data


@pytest.fixture
def table(arrays):
    return pa.table({name: pa.array(array.tolist()) for name, array in arrays.items()})


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


@pytest.mark.parametrize(("shards", "batch"), [(1, 1000), (12, 3)])
def test_a_saved_data_set(tmp_path, table, arrays, shards, batch):
    folder = save_to_disk(table, tmp_path / "digits", shards, batch)
    dataset = data.read(folder)
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint
    assert dataset.name == "digits"


def test_a_missing_label_is_null(tmp_path, table):
    y = pa.array([None, "no", "yes"] * 20)
    folder = save_to_disk(table.set_column(2, "y", y), tmp_path / "x")
    dataset = data.read(folder)
    assert dataset.classes == ("no", "yes")
    np.testing.assert_array_equal(dataset.labelled, np.resize([False, True, True], 60))


def test_an_extension_type_is_read_as_what_it_is_stored_as(tmp_path, table, arrays):
    """As `datasets` describes Array2D; no class sees the description."""

    class Unpickling(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.list_(pa.list_(pa.float32())), "tests.unpickling")

        def __arrow_ext_serialize__(self):
            return b"a pickle"

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type, serialized):
            pytest.fail("bytes of the file reached a class")

    kind = Unpickling()
    stored = pa.array(arrays["b"].tolist(), kind.storage_type)
    column = pa.ExtensionArray.from_storage(kind, stored)
    folder = save_to_disk(table.set_column(1, "b", column), tmp_path / "x")
    pa.register_extension_type(kind)
    try:
        dataset = data.read(folder)
    finally:
        pa.unregister_extension_type("tests.unpickling")
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint


def save_several(tables, folder):
    """As `DatasetDict.save_to_disk` does."""
    for name, table in tables.items():
        save_to_disk(table, folder / name)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(tables)}))
    return folder


def test_several_that_are_splits_are_one(tmp_path, table, arrays):
    parts = {"train": slice(0, 36), "validation": slice(36, 48), "test": slice(48, 60)}
    tables = {name: table[rows] for name, rows in parts.items()}
    dataset = data.read(save_several(tables, tmp_path / "digits"))
    split = np.repeat([0, 1, 2], [36, 12, 12])
    assert dataset.fingerprint == data.from_arrays(arrays | {"split": split}).fingerprint
    assert dataset.name == "digits"
    alone = data.read(tmp_path / "digits" / "train")
    assert (alone.rows, alone.warnings) == (36, ())


def test_several_that_are_no_splits_are_named(tmp_path, table):
    folder = save_several({"en": table, "fr": table}, tmp_path / "all")
    text = findings_of(folder)
    assert "'en' and 'fr'" in text
    assert data.read(text.partition("such as ")[2].partition(";")[0]).rows == 60
    assert data.read(text.partition("pattern '")[2].partition("'")[0]).rows == 120


@pytest.mark.parametrize("splits", ["[]", '["../x", "y"]', '"train"', "7"])
def test_damaged_notes_on_several(tmp_path, table, splits):
    folder = save_several({"train": table, "test": table}, tmp_path / "all")
    (folder / "dataset_dict.json").write_text(f'{{"splits": {splits}}}')
    assert "damaged dataset_dict.json" in findings_of(folder)


def test_a_split_that_is_gone(tmp_path, table):
    folder = save_several({"train": table, "test": table}, tmp_path / "all")
    (folder / "test" / "state.json").unlink()
    assert "lacks the data set 'test'" in findings_of(folder)


def test_a_selection_is_refused(tmp_path, table):
    folder = save_to_disk(table, tmp_path / "x")
    notes = json.loads((folder / "state.json").read_text())
    notes["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (folder / "state.json").write_text(json.dumps(notes))
    assert "flatten_indices()" in findings_of(folder)


@pytest.mark.parametrize(
    "notes",
    [
        "",
        "[]",
        "{}",
        '{"_data_files": []}',
        '{"_data_files": [{"filename": "../x.arrow"}]}',
        '{"_data_files": [{"filename": "/etc/passwd"}]}',
        '{"_data_files": [{"filename": 7}]}',
        "[" * 100_000,
    ],
)
def test_damaged_notes(tmp_path, table, notes):
    folder = save_to_disk(table, tmp_path / "x")
    (folder / "state.json").write_text(notes)
    assert "has a damaged state.json. Save it again with save_to_disk." in findings_of(folder)


def test_a_shard_that_is_gone(tmp_path, table):
    folder = save_to_disk(table, tmp_path / "x")
    (folder / "data-00001-of-00002.arrow").unlink()
    assert "data-00001-of-00002.arrow" in findings_of(folder)


def test_a_stream_cut_short_is_refused_or_has_fewer_rows(tmp_path, make):
    """A stream may end after any of its pieces: then rows are missing, and nothing else."""
    arrays = make(rows=60)
    table = pa.table({name: pa.array(array.tolist()) for name, array in arrays.items()})
    folder = save_to_disk(table, tmp_path / "x", shards=1, batch=20)
    path = folder / "data-00000-of-00001.arrow"
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with contextlib.suppress(data.DataError):
            assert data.read(folder).rows in (40, 60)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_valid_data_or_an_error(make, tmp_path, flips):
    arrays = make(rows=30)
    table = pa.table({name: pa.array(array.tolist()) for name, array in arrays.items()})
    folder = tmp_path / "x"
    if not folder.exists():
        save_to_disk(table, folder, shards=1)
        (tmp_path / "whole").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    for position, flip in flips:
        content[position % len(content)] ^= flip
    (folder / "data-00000-of-00001.arrow").write_bytes(content)
    with contextlib.suppress(data.DataError):
        assert np.isfinite(data.read(folder).a.values).all()
