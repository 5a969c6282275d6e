"""The fingerprint follows the content, and nothing but the content."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from tests.support.saved import save_to_disk
from tuner import data
from tuner.data.inspection import inspect


def fingerprint(arrays, **options):
    return data.from_arrays(arrays, **options).fingerprint


@pytest.fixture
def full(arrays):
    return arrays | {
        "b_mask": np.arange(5) < np.resize([3, 4, 5], 60)[:, None],
        "split": np.resize([0, 0, 0, 1, 1, 1, 2, 2, 2], 60),
        "group": np.arange(60) // 3,
    }


def write_parquet(path, arrays):
    pq.write_table(pa.table({name: pa.array(x.tolist()) for name, x in arrays.items()}), path)


def test_storage_makes_no_difference(full, tmp_path):
    expected = fingerprint(full)
    backwards = dict(reversed(full.items()))
    np.savez(tmp_path / "plain.npz", **full)
    np.savez_compressed(tmp_path / "packed.npz", **full)
    np.savez(tmp_path / "backwards.npz", **backwards)
    write_parquet(tmp_path / "table.parquet", full)
    write_parquet(tmp_path / "backwards.parquet", backwards)
    for path in tmp_path.iterdir():
        assert data.read(path).fingerprint == expected, path.name


SAME = {
    "Fortran order": lambda z: z | {"b": np.asfortranarray(z["b"])},
    "strides": lambda z: z | {"a": np.repeat(z["a"], 2, axis=1)[:, ::2]},
    "byte order": lambda z: z | {"a": z["a"].astype(">f4"), "y": z["y"].astype(">i8")},
    "double precision": lambda z: z | {"a": z["a"].astype(np.float64)},
    "width of labels": lambda z: z | {"y": z["y"].astype(np.uint8)},
    "labels stored as floats": lambda z: z | {"y": z["y"].astype(float)},
    "groups stored as floats": lambda z: z | {"group": z["group"].astype(float)},
    "width of groups": lambda z: z | {"group": z["group"].astype(np.int16)},
    "width of the split": lambda z: z | {"split": z["split"].astype(float)},
    "mask of integers": lambda z: z | {"b_mask": z["b_mask"].astype(int)},
    "padding": lambda z: z | {"b": np.where(z["b_mask"][..., None], z["b"], np.nan)},
    "another array": lambda z: z | {"c": np.zeros(3)},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_form_makes_no_difference(full, change):
    assert fingerprint(change(full)) == fingerprint(full)


def test_names_make_no_difference(arrays, tmp_path):
    renamed = dict(zip(("vision", "text", "emotion"), arrays.values(), strict=True))
    options = {"a": "vision", "b": "text", "y": "emotion"}
    assert fingerprint(renamed, **options) == fingerprint(arrays)


def test_the_sign_of_a_zero_makes_no_difference(arrays):
    arrays["a"][3, 2] = 0.0
    negative = arrays["a"].copy()
    negative[3, 2] = -0.0
    assert fingerprint(arrays | {"a": negative}) == fingerprint(arrays)


def test_seed_and_name_make_no_difference(arrays):
    assert fingerprint(arrays, seed=3, name="other") == fingerprint(arrays)


DIFFERENT = {
    "roles": lambda z: without(z, "b_mask") | {"a": z["b"], "b": z["a"]},
    "no mask": lambda z: without(z, "b_mask"),
    "no split": lambda z: without(z, "split"),
    "no group": lambda z: without(z, "group"),
    "text labels": lambda z: z | {"y": z["y"].astype(str)},
    "regression": lambda z: z | {"y": z["y"] + 0.5},
    "other classes": lambda z: z | {"y": z["y"] + 1},
    "text groups": lambda z: z | {"group": np.char.zfill(z["group"].astype(str), 2)},
    "shape": lambda z: z | {"a": z["a"].reshape(60, 2, 2)},
    "one label less": lambda z: z | {"y": np.where(np.arange(60) == 50, -1, z["y"])},
    "mask of one step": lambda z: z | {"b_mask": z["b_mask"] | np.eye(60, 5, k=-2, dtype=bool)},
}


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_content_makes_a_difference(full, change):
    assert fingerprint(change(full)) != fingerprint(full)


@given(st.integers(0, 59), st.integers(0, 3), st.sampled_from([-1, 1]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_smallest_change_of_one_value_makes_a_difference(make, row, column, direction):
    arrays = make()
    changed = arrays["a"].copy()
    changed[row, column] = np.nextafter(changed[row, column], np.float32(direction * 9))
    assert fingerprint(arrays | {"a": changed}) != fingerprint(arrays)


@given(st.permutations(range(60)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_rows_makes_a_difference(make, order):
    arrays = make()
    reordered = {name: array[list(order)] for name, array in arrays.items()}
    unchanged = list(order) == list(range(60))
    assert (fingerprint(reordered) == fingerprint(arrays)) == unchanged


@given(
    hnp.arrays(np.float32, (48, 3), elements=st.floats(-1e6, 1e6, width=32)),
    hnp.arrays(np.float32, (48, 2, 2), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([np.arange(48) % 2, np.resize(["no", "yes", ""], 48), np.linspace(0, 1, 48)]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_formats_read_back_what_was_written(tmp_path, a, b, y):
    a[0], a[1], b[0], b[1] = 0, 1, 0, 1  # not constant
    arrays = {"a": a, "b": b, "y": y}
    np.savez(tmp_path / "z.npz", **arrays)
    write_parquet(tmp_path / "z.parquet", arrays)
    archive, table = data.read(tmp_path / "z.npz"), data.read(tmp_path / "z.parquet")
    for dataset in (archive, table):
        np.testing.assert_array_equal(dataset.a.values, a)
        np.testing.assert_array_equal(dataset.b.values, b)
        assert dataset.classes == archive.classes
        np.testing.assert_array_equal(dataset.y, archive.y)
        np.testing.assert_array_equal(dataset.split, archive.split)
    assert archive.fingerprint == table.fingerprint


def digits_frame(digits):
    pixels = digits.images.reshape(len(digits.images), -1)
    columns = {f"pixel_{n}": pixels[:, n] for n in range(pixels.shape[1])}
    columns |= {f"row_{n}": digits.images[:, n].sum(axis=1) for n in range(8)}
    return pd.DataFrame(columns | {"digit": digits.target})


def test_the_same_digits_however_they_are_saved(tmp_path):
    """As .npz, as shards of Parquet, as `datasets` saves them, as CSV, .npy and .safetensors."""
    digits = load_digits()
    frame = digits_frame(digits)
    arrays = {
        "pixel": frame.filter(like="pixel_").to_numpy(),
        "row": frame.filter(like="row_").to_numpy(),
        "digit": digits.target,
    }
    lists = {name: pa.array(array.tolist()) for name, array in arrays.items()}
    (tmp_path / "shards").mkdir()
    (tmp_path / "files").mkdir()
    for part in range(3):
        shard = pa.table(lists).slice(part * 600, 600)
        pq.write_table(shard, tmp_path / "shards" / f"part-{part}.parquet")
    for name, array in arrays.items():
        np.save(tmp_path / "files" / f"{name}.npy", array)
    np.savez(tmp_path / "digits.npz", **arrays)
    save_to_disk(pa.table(lists), tmp_path / "saved")
    # Its library writes the memory of an array, whatever its order.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, tmp_path / "digits.safetensors")
    frame.to_csv(tmp_path / "digits.csv", index=False)
    names = {"a": "pixel", "b": "row", "y": "digit", "name": "digits"}
    inspections = [
        inspect(tmp_path / source, **names)
        for source in ("digits.npz", "shards", "saved", "files", "digits.safetensors")
    ]
    patterns = names | {"a": "pixel_*", "b": "row_*"}
    inspections.append(inspect(tmp_path / "digits.csv", **patterns))
    for found in inspections:
        assert found.errors == (), found.source
        assert {array.use for array in found.arrays} == {"A", "B", "label"}
        said = {what: words.replace("_*", "") for what, words in found.reading.items()}
        assert said == inspections[0].reading, found.source
    assert "1,797 rows of 64 features" in inspections[0].reading["A"]
