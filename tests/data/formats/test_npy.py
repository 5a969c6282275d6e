"""Arrays that are files of their own."""

import pickle

import numpy as np
import pytest

from tuner import data
from tuner.data.formats.arrays.npy import map_npy
from tuner.data.inspection import inspect


@pytest.fixture
def folder(tmp_path, arrays):
    folder = tmp_path / "digits"
    (folder / "views").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        np.save(folder / "views" / f"{name}-view.npy", array)
    return folder


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


def test_a_folder_of_arrays(folder, arrays):
    np.save(folder / "b_mask.npy", np.arange(5) < np.resize([3, 5], 60)[:, None])
    arrays["b_mask"] = np.load(folder / "b_mask.npy")
    dataset = data.read(folder)
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint
    assert dataset.name == "digits"
    assert data.read(folder / "*.npy").fingerprint == dataset.fingerprint


@pytest.mark.parametrize("where", ["", "views/"])
def test_arrays_by_the_names_of_their_files(folder, arrays, monkeypatch, where):
    monkeypatch.chdir(folder)
    (folder / "other.csv").write_text("x\n1\n")  # which is nobody's concern
    end = "-view.npy" if where else ".npy"
    names = {role: f"{where}{role}{end}" for role in "aby"}
    assert data.read(".", **names).fingerprint == data.from_arrays(arrays).fingerprint
    absolute = {role: str(folder / name) for role, name in names.items()}
    assert data.read(".", **absolute).fingerprint == data.from_arrays(arrays).fingerprint


def test_a_file_that_is_not_there(folder):
    assert "array 'c.npy' is missing; there are" in findings_of(folder, a="c.npy")


def test_one_array_is_refused_with_how_to_name_all(folder):
    text = findings_of(folder / "a.npy")
    assert f"{folder} --a a.npy --b OTHER.npy --y LABELS.npy" in text
    assert data.read(folder, a="a.npy", b="b.npy", y="y.npy").rows == 60


def test_arrays_are_mapped(folder, arrays):
    for order in "CF":
        np.save(folder / "a.npy", np.asarray(arrays["a"], order=order))
        mapped = map_npy(folder / "a.npy")
        assert isinstance(mapped, np.memmap)
        np.testing.assert_array_equal(mapped, arrays["a"])


def test_the_data_set_does_not_change_with_its_files(folder, arrays):
    dataset = data.read(folder)
    for name in arrays:
        (folder / f"{name}.npy").write_bytes(b"")
    np.testing.assert_array_equal(dataset.a.values, arrays["a"])
    np.testing.assert_array_equal(dataset.y, arrays["y"])


def test_damaged_files_are_named_and_nothing_is_unpickled(folder):
    content = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(content[:-4])
    np.save(folder / "b.npy", np.array([{}] * 60), allow_pickle=True)
    (folder / "y.npy").write_bytes(pickle.dumps(1))
    text = findings_of(folder)
    assert "array 'a' cannot be read: its header declares" in text
    assert "array 'b' cannot be read: it is an object array" in text
    assert "array 'y' cannot be read" in text
    assert {array.kind for array in inspect(folder).arrays} >= {"unreadable"}


def test_they_are_of_no_concern_to_a_service(folder, arrays):
    assert "a service takes one" in findings_of(folder, alone=True)
    np.savez(folder / "all.npz", **arrays)
    assert "array 'a.npy' is missing" in findings_of(folder / "all.npz", a="a.npy", alone=True)
