"""What a data set holds after it was read."""

import dataclasses
import pickle

import numpy as np
import pytest

from tuner import data
from tuner.data import Split


def test_arrays_are_canonical_read_only_copies(arrays):
    arrays["a"] = np.asfortranarray(arrays["a"].astype(">f8"))
    dataset = data.from_arrays(arrays)
    for modality in (dataset.a, dataset.b):
        assert modality.values.dtype == np.float32
        assert modality.values.flags.c_contiguous
        assert not modality.values.flags.writeable
    assert not dataset.y.flags.writeable
    assert not dataset.split.flags.writeable
    assert arrays["a"].flags.writeable
    assert not np.shares_memory(arrays["b"], dataset.b.values)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


@pytest.mark.parametrize(
    ("y", "task", "classes", "missing"),
    [
        (np.resize([3, 1, -1], 60), "auto", (1, 3), 20),
        (np.resize([3, 1, 255], 60).astype(np.uint8), "auto", (1, 3, 255), 0),
        (np.resize([True, False], 60), "auto", (0, 1), 0),
        (np.resize(["no", "yes", ""], 60), "auto", ("no", "yes"), 20),
        (np.resize([b"tea", b"caf\xc3\xa9"], 60), "auto", ("café", "tea"), 0),
        (np.resize([2.0, 1.0, np.nan], 60), "classification", (1, 2), 20),
        (np.resize([2.0, 1.0, -1.0], 60), "classification", (1, 2), 20),
        (np.resize([2.0, 1.0, -1.0], 60), "auto", (1, 2), 20),
        (np.resize([0.5, 1.0, np.nan], 60), "auto", None, 20),
        (np.resize([-1, 1, 2], 60), "regression", None, 0),
        (np.resize([True, False], 60), "regression", None, 0),
        (np.ma.masked_equal(np.resize([1, 2, 3], 60), 3), "auto", (1, 2), 20),
        (np.ma.masked_equal(np.resize([1, 2, 3], 60), 3), "regression", None, 20),
    ],
)
def test_labels_of_every_kind(arrays, y, task, classes, missing):
    dataset = data.from_arrays(arrays | {"y": y}, task=task)
    assert dataset.task == ("classification" if classes else "regression")
    assert dataset.classes == classes
    assert (~dataset.labelled).sum() == missing
    kept = np.asarray(y)[dataset.labelled]
    if classes is None:
        assert dataset.y.dtype == np.float32
        np.testing.assert_array_equal(dataset.y[dataset.labelled], kept)
    else:
        assert dataset.y.dtype == np.int64
        named = [classes[code] for code in dataset.y[dataset.labelled]]
        assert named == [k.decode() if isinstance(k, bytes) else k for k in kept.tolist()]
        assert {type(name) for name in classes} <= {int, str}


@pytest.mark.parametrize(
    ("y", "task", "words"),
    [
        (np.resize([0.5, 1.0], 60), "classification", "not whole numbers in 30 rows (first: row 0"),
        (np.resize(["1", "2"], 60), "regression", "holds text, and regression wants numbers"),
    ],
)
def test_a_task_that_the_labels_cannot_serve(arrays, y, task, words):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(arrays | {"y": y}, task=task)
    assert words in str(caught.value)


def test_padding_is_zeroed_whatever_it_held(arrays):
    mask = np.ones((60, 5), int)
    mask[3, 2:] = 0
    arrays["b"][3, 2:] = np.nan
    dataset = data.from_arrays(arrays | {"b_mask": mask})
    assert dataset.b.mask.dtype == np.bool_
    np.testing.assert_array_equal(dataset.b.mask, mask == 1)
    assert (dataset.b.values[3, 2:] == 0).all()


def test_indices(arrays):
    split = np.resize([0, 0, 0, 1, 1, 1, 2, 2, 2], 60)
    y = np.where(np.arange(60) == 3, -1, arrays["y"])
    dataset = data.from_arrays(arrays | {"y": y, "split": split})
    np.testing.assert_array_equal(dataset.indices(Split.VALIDATION), np.flatnonzero(split == 1))
    labelled = dataset.indices(Split.VALIDATION, labelled_only=True)
    np.testing.assert_array_equal(labelled, np.flatnonzero((split == 1) & (y != -1)))
    assert dataset.rows == 60


def test_a_data_set_survives_pickling(arrays):
    dataset = data.from_arrays(arrays)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(copy.b.values, dataset.b.values)
