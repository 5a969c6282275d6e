"""What a person is told of a file: all that is in it, and how each part is read."""

import json

import numpy as np
import pandas as pd
import pytest

from tuner.data import from_arrays, read
from tuner.data.inspection import inspect, label_in_words


def world(rows=90):
    rng = np.random.default_rng(0)
    return {
        "scan": rng.integers(0, 255, size=(rows, 1, 8, 6), dtype=np.uint8),
        "speech": rng.normal(size=(rows, 7, 3)).astype(np.float32),
        "speech_mask": np.arange(7) < np.arange(rows)[:, None] % 5 + 2,
        "tab": rng.normal(size=(rows, 4)),
        "y": np.array(["no", "yes", ""])[np.arange(rows) % 9 // 4],
        "age": rng.uniform(20, 80, rows),
        "group": np.arange(rows) // 3,
        "subject_id": np.arange(rows) // 3,
    }


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "clinic.npz", **world())
    return tmp_path / "clinic.npz"


def test_every_array_is_listed_with_what_it_is_taken_for(file):
    found = inspect(file, a="scan", b="speech")
    assert {array.name: array.use for array in found.arrays} == {
        "scan": "A",
        "speech": "B",
        "speech_mask": "mask of B",
        "tab": None,
        "y": "label",
        "age": None,
        "group": "groups",
        "subject_id": None,
    }
    shapes = {array.name: (array.shape, array.kind) for array in found.arrays}
    assert shapes["scan"] == ((90, 1, 8, 6), "uint8")
    assert shapes["tab"] == ((90, 4), "float64")
    assert shapes["y"] == ((90,), "text")
    assert found.unused == ("tab", "age", "subject_id")


def test_how_it_is_read_is_in_words(file):
    reading = inspect(file, a="scan", b="speech", seed=3).reading
    assert reading["A"] == "scan: 90 images of 1 × 8 × 6, channels × height × width"
    assert reading["B"] == "speech: 90 sequences of 2 to 6 steps, padded to 7, of 3 features"
    assert (
        reading["label"]
        == "2 classes: no (40 rows, 50%), yes (40 rows, 50%); 10 rows without a label"
    )
    assert reading["task"] == "classification: the labels are read as classes"
    assert reading["groups"] == "30 groups of 3 rows, each in one split"
    assert reading["split"].startswith("made here from the seed, 70/15/15 %, whole groups: ")
    assert reading["name"].startswith("clinic: ")
    other = f"clinic-{reading['fingerprint'][:8]}"
    assert reading["name"].endswith(f" ({other} where other data are called so)")
    assert reading["fingerprint"] == read(file, a="scan", b="speech", seed=3).fingerprint


@pytest.mark.parametrize(
    ("y", "other"),
    [
        (np.resize(["no", "yes"], 90), None),
        (np.resize(["0", "1"], 90), None),
        (np.resize([0, 1], 90), "regression"),
        (np.resize([False, True], 90), "regression"),
        (np.resize([0.5, 1, 2], 90), None),
        (np.resize([-2, -1, 0, 1, 2], 90), "classification"),
    ],
)
def test_the_other_task_is_offered_where_it_works(tmp_path, y, other):
    np.savez(tmp_path / "x.npz", **world() | {"y": y})
    found = inspect(tmp_path / "x.npz", a="scan", b="tab")
    task = found.dataset.task
    offered = found.reading["task"].partition("--task ")[2].removesuffix(")")
    assert offered == (other or "")
    (refused,) = {"classification", "regression"} - {task}
    assert (inspect(tmp_path / "x.npz", a="scan", b="tab", task=refused).dataset is None) == (
        other is None
    )


def test_values_are_shown_by_their_range(file):
    reading = inspect(file, a="tab", b="speech", y="age").reading
    assert reading["A"] == "tab: 90 rows of 4 features"
    assert reading["task"].startswith("regression")
    age = world()["age"].astype(np.float32)
    expected = f"numbers from {age.min():.6g} to {age.max():.6g}, median {np.median(age):.6g}"
    assert reading["label"] == f"{expected}; every row has a label"


def test_what_is_wrong_is_told_beside_what_is_there(file):
    found = inspect(file, a="scam", b="speech")
    assert found.dataset is None
    assert found.reading == {}
    assert "Did you mean 'scan'?" in found.errors[0]
    assert len(found.arrays) == 8
    absent = inspect(file.with_name("clinics.npz"))
    assert absent.arrays == ()
    assert "clinic.npz" in absent.errors[0]


def test_a_given_split_is_said_to_be_given(tmp_path):
    arrays = {name: world()[name] for name in ("scan", "tab", "y")}
    split = np.repeat([0, 1, 2], 30)
    np.savez(tmp_path / "parts.npz", **arrays, split=split)
    reading = inspect(tmp_path / "parts.npz", a="scan", b="tab").reading
    assert reading["split"] == "as the array 'split' says: 30 train, 30 validation, 30 test"


def test_columns_are_listed_by_their_types(tmp_path):
    held = world()
    frame = pd.DataFrame(
        {"a": list(held["tab"]), "b": list(held["speech"][:, 0]), "y": held["y"], "note": "x"}
    )
    frame["age"] = held["age"]
    frame.to_parquet(tmp_path / "clinic.parquet")
    found = inspect(tmp_path / "clinic.parquet")
    assert {array.name: array.kind for array in found.arrays} == {
        "a": "lists of float64",
        "b": "lists of float32",
        "y": "text",
        "note": "text",
        "age": "float64",
    }
    assert found.unused == ("note", "age")
    assert found.reading["A"] == "a: 90 rows of 4 features"


def test_it_is_what_json_can_hold(file):
    for options in ({"a": "scan", "b": "speech"}, {"a": "scam"}):
        found = inspect(file, **options).as_dict()
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(found))
        assert found["valid"] == (not found["errors"])


def test_arrays_that_are_not_used_but_look_so_are_named(tmp_path):
    arrays = {key: world()[key] for key in ("scan", "tab", "y")}
    np.savez(tmp_path / "clinic.npz", **arrays, Subject_ID=np.arange(90))
    told = inspect(tmp_path / "clinic.npz", a="scan", b="tab")
    assert any("with --group Subject_ID" in warning for warning in told.warnings)
    chosen = inspect(tmp_path / "clinic.npz", a="scan", b="tab", group="Subject_ID")
    assert {each.name: each.use for each in chosen.arrays}["Subject_ID"] == "groups"
    assert chosen.unused == ()


def test_an_offset_leaves_digits_to_tell_numbers_apart():
    y = 1.7e9 + np.resize([0.0, 10.25, 20.5], 60)
    a, b = np.random.default_rng(0).normal(size=(2, 60, 3))
    words = label_in_words(from_arrays({"a": a, "b": b, "y": y}))
    assert words.startswith("numbers from 1700000000 to 1700000020.5, median 1700000010.25")


def test_columns_that_a_pattern_stacks_are_one_line(tmp_path):
    rng = np.random.default_rng(0)
    columns = {f"img_{n}": rng.normal(size=60) for n in range(50)}
    columns |= {f"txt_{n}": rng.integers(0, 9, 60) for n in range(3)} | {
        "txt_3": rng.normal(size=60)
    }
    frame = pd.DataFrame(columns | {"y": np.arange(60) % 3, "age": rng.normal(size=60)})
    frame.to_parquet(tmp_path / "wide.parquet")
    found = inspect(tmp_path / "wide.parquet", a="img_*", b="txt_*")
    listed = [(array.name, array.shape, array.kind, array.use) for array in found.arrays]
    assert listed == [
        ("img_*", (60, 50), "float64", "A"),
        ("txt_*", (60, 4), "float64 and int64", "B"),
        ("y", (60,), "int64", "label"),
        ("age", (60,), "float64", None),
    ]
    assert found.reading["A"] == "img_*: 60 rows of 50 features"
