"""Every kind of bad input, and the words that it is met with."""

import pickle

import numpy as np
import pytest

from tuner import data


def with_values(name, index, value, dtype=None):
    def change(arrays):
        array = np.array(arrays[name], dtype=dtype)
        array[index] = value
        return arrays | {name: array}

    return change


def with_array(name, build):
    return lambda arrays: arrays | {name: build(arrays)}


def without(*names):
    return lambda arrays: {key: array for key, array in arrays.items() if key not in names}


def given_split(rows, *changes):
    split = np.resize([0, 0, 0, 1, 1, 1, 2, 2, 2], rows)
    for index, value in changes:
        split[index] = value
    return split


BAD = {
    "lengths": (
        with_array("b", lambda z: z["b"][:-1]),
        ["lengths differ", "'a' has 60 rows", "'b' has 59 rows", "'y' has 60 rows", "drop or add"],
    ),
    "split of another length": (
        with_array("split", lambda z: np.zeros(3, int)),
        ["lengths differ", "'split' has 3 rows"],
    ),
    "NaN": (
        with_values("a", ([7, 7, 9], [0, 1, 2]), np.nan),
        ["array 'a' holds 3 NaN in 2 rows (first: row 7", "Fill them in"],
    ),
    "NaN and infinity": (
        with_values("b", ([5, 40], 0, 0), [np.nan, np.inf]),
        ["'b' holds 1 NaN and 1 infinite value in 2 rows (first: row 5"],
    ),
    "beyond float32": (
        with_values("a", (3, 0), -1e39, np.float64),
        ["'a' holds 1 infinite value", "3.4e38", "1 row (first: row 3"],
    ),
    "constant modality": (
        with_array("a", lambda z: np.ones((60, 4))),
        ["'a' is constant", "choose another array"],
    ),
    "constant images": (
        with_array("b", lambda z: np.zeros((60, 2, 3, 3))),
        ["'b' is constant"],
    ),
    "text": (
        with_array("a", lambda z: np.full((60, 2), "x")),
        ["'a' holds text", "one text a row"],
    ),
    "bytes": (with_array("a", lambda z: np.full((60, 2), b"x")), ["'a' holds text"]),
    "complex": (with_array("a", lambda z: z["a"] + 1j), ["'a' holds complex numbers", "modulus"]),
    "objects": (with_array("a", lambda z: z["a"].astype(object)), ["'a' holds Python objects"]),
    "dates": (with_array("a", lambda z: z["a"].astype("M8[s]")), ["'a' holds dates"]),
    "durations": (with_array("a", lambda z: z["a"].astype("m8[s]")), ["'a' holds durations"]),
    "records": (
        with_array("a", lambda z: np.zeros((60, 2), dtype=[("p", "f4")])),
        ["'a' holds records", "each of their fields"],
    ),
    "ragged": (
        with_array("a", lambda z: [[1.0], [1.0, 2.0]] * 30),
        ["'a' cannot be made an array", "one shape"],
    ),
    "masked features": (
        with_array("a", lambda z: np.ma.masked_less(z["a"], 0)),
        ["'a' has masked-out values"],
    ),
    "rank 0": (with_array("a", lambda z: np.array(1.0)), ["'a' has 0 axes"]),
    "rank 1": (
        with_array("a", lambda z: z["a"][:, 0]),
        ["'a' has shape (60,), one value a row", "reshape(-1, 1)"],
    ),
    "rank 5": (
        with_array("a", lambda z: np.zeros((60, 1, 1, 1, 1))),
        ["'a' has 5 axes, shape (60, 1, 1, 1, 1)", "(rows, channels, height, width)"],
    ),
    "no features": (with_array("a", lambda z: np.zeros((60, 0))), ["'a' is empty", "(60, 0)"]),
    "no rows": (
        lambda z: {key: array[:0] for key, array in z.items()},
        ["'a' is empty", "'y' has no label in any of its 0 rows"],
    ),
    "missing array": (
        without("b"),
        ["array 'b' is missing; there are 'a' and 'y'", "--a, --b and --y"],
    ),
    "mask of features": (
        with_array("a_mask", lambda z: np.ones((60, 4), bool)),
        ["'a_mask'", "has no time axis", "Remove it"],
    ),
    "mask of another shape": (
        with_array("b_mask", lambda z: np.ones((60, 4), bool)),
        ["'b_mask' has shape (60, 4), where (60, 5)"],
    ),
    "mask of other values": (
        with_array("b_mask", lambda z: np.full((60, 5), 2)),
        ["'b_mask' holds values other than 0 and 1", "booleans"],
    ),
    "mask of text": (with_array("b_mask", lambda z: np.full((60, 5), "1")), ["'b_mask'", "text"]),
    "mask without a step": (
        with_array("b_mask", lambda z: np.arange(60)[:, None] != [[4] * 5]),
        ["'b_mask' leaves no real step in 1 row (first: row 4"],
    ),
    "one class": (with_array("y", lambda z: np.full(60, 4)), ["only one class, 4", "at least two"]),
    "minus one as a class": (
        with_array("y", lambda z: np.resize([-1, 1], 60)),
        ["only one class, 1", "-1 means that a label is missing"],
    ),
    "one value": (
        with_array("y", lambda z: np.full(60, 2.5)),
        ["'y' has the same value, 2.5", "nothing to predict"],
    ),
    "column of labels": (
        with_array("y", lambda z: z["y"][:, None]),
        ["'y' has shape (60, 1), where one value a row", "y[:, 0]"],
    ),
    "one-hot labels": (
        with_array("y", lambda z: np.eye(3)[z["y"]]),
        ["'y' has shape (60, 3)", "y.argmax(axis=1)"],
    ),
    "object labels": (with_array("y", lambda z: z["y"].astype(object)), ["'y' holds Python obj"]),
    "complex labels": (with_array("y", lambda z: z["y"] + 1j), ["'y' holds complex numbers"]),
    "infinite labels": (
        with_array("y", lambda z: np.where(np.arange(60) == 8, np.inf, 1.0 * z["y"])),
        ["'y' holds infinite labels", "1 row (first: row 8"],
    ),
    "broken text": (
        with_array("y", lambda z: np.where(z["y"] == 1, b"caf\xe9", b"tea")),
        ["'y' holds text that is not valid Unicode", "20 rows (first: row 1"],
    ),
    "overlong text": (with_array("y", lambda z: np.array(["x", "y" * 1001] * 30)), ["1,000 lett"]),
    "letters beyond Unicode": (
        with_array("y", lambda z: np.full(60, 2**31, dtype=np.uint32).view("U1")),
        ["'y' holds text that is not valid Unicode"],
    ),
    "no labels": (
        with_array("y", lambda z: np.full(60, -1)),
        ["'y' has no label in any of its 60 rows", "at least 30"],
    ),
    "few labels": (
        with_array("y", lambda z: np.where(np.arange(60) < 29, z["y"], -1)),
        ["'y' has 29 labelled rows, too few: at least 30"],
    ),
    "identifiers": (
        with_array("y", lambda z: np.arange(60)),
        ["'y' has 60 classes in 60 labelled rows", "--task regression"],
    ),
    "small classes": (
        with_values("y", [0, 3], [7, 8]),
        ["2 classes are too small", "7 (1 labelled row) and 8 (1 labelled row)", "three labelled"],
    ),
    "class in few groups": (
        with_array("group", lambda z: np.where(z["y"] == 2, z["y"], 10 + np.arange(60))),
        ["1 class is too small", "2 (1 group)", "three groups"],
    ),
    "numbers in few groups": (
        lambda z: z | {"y": np.linspace(0, 1, 60), "group": np.arange(60) % 2},
        ["too small", "2 groups", "three groups"],
    ),
    "groups of fractions": (
        with_array("group", lambda z: np.linspace(0, 1, 60)),
        ["'group' holds fractions"],
    ),
    "groups of rank 2": (
        with_array("group", lambda z: z["y"][:, None]),
        ["'group' has shape (60, 1)"],
    ),
    "groups of broken text": (
        with_array("group", lambda z: np.full(60, b"\xff")),
        ["'group' holds text that is not valid"],
    ),
    "split of rank 2": (
        with_array("split", lambda z: np.zeros((60, 1))),
        ["'split' has shape (60, 1)", "0 for training"],
    ),
    "split of other words": (
        with_array("split", lambda z: np.resize(["train", "val", "test", "holdout"], 60)),
        ["'split' holds values other than 0", "15 rows (first: row 3"],
    ),
    "split of other values": (
        with_array("split", lambda z: given_split(60, (6, 3), (7, -1))),
        ["'split' holds values other than 0", "2 rows (first: row 6"],
    ),
    "split without training": (
        with_array("split", lambda z: np.maximum(given_split(60), 1)),
        ["'split' has no train rows (none is 0)"],
    ),
    "unlabelled test rows": (
        lambda z: z | {"y": np.where(given_split(60) == 2, -1, z["y"]), "split": given_split(60)},
        ["'split' has no labelled test rows"],
    ),
    "class absent from a split": (
        lambda z: (
            z
            | {
                "y": np.where((given_split(60) == 1) & (z["y"] == 2), 0, z["y"]),
                "split": given_split(60),
            }
        ),
        ["'split' has no labelled validation rows of class 2"],
    ),
    "straddling group": (
        lambda z: z | {"split": given_split(60), "group": np.arange(60) // 3 * (np.arange(60) > 5)},
        ["1 group is in more than one split (first: 0, in train and validation)", "leak"],
    ),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named_in_words_to_act_on(arrays, change, words):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(change(arrays), source="study.npz")
    text = str(caught.value)
    for word in words:
        assert word in text
    assert all(line.startswith("study.npz: ") for line in text.splitlines())
    assert all(finding.endswith((".", ")")) for finding in caught.value.findings)


def test_all_faults_are_reported_in_one_pass(arrays):
    bad = {
        "a": np.where(np.arange(60)[:, None] == 11, np.nan, arrays["a"]),
        "b": np.full((59, 2), "x"),
        "y": np.full((60, 2), 1.0),
        "split": np.full(60, 5),
        "group": np.linspace(0, 1, 60),
    }
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(bad)
    findings = caught.value.findings
    assert len(findings) == 6
    for start in ("array 'a' holds", "array 'b' holds", "array 'y' has", "lengths differ"):
        assert sum(finding.startswith(start) for finding in findings) == 1
    assert sum("'split'" in finding for finding in findings) >= 1
    assert sum("'group'" in finding for finding in findings) >= 1


def test_what_concerns_one_array_hides_nothing_about_the_split(arrays):
    bad = arrays | {"a": arrays["a"] * np.nan, "split": np.zeros(60, int)}
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(bad)
    assert len(caught.value.findings) == 3  # NaN, no validation rows, no test rows


def test_a_split_and_groups_chosen_as_labels_are_labels_only(arrays):
    grouped = arrays | {"group": np.arange(60) % 2}
    dataset = data.from_arrays(grouped, y="group")
    assert dataset.group is None
    assert dataset.classes == (0, 1)


def test_constant_features_are_only_a_warning(arrays):
    arrays["a"][:, [1, 3]] = 7
    (warning,) = data.from_arrays(arrays).warnings
    assert "'a' has 2 constant features of 4 (number 1 and 3" in warning


def test_constancy_is_judged_on_real_steps(arrays):
    mask = np.zeros((60, 5), bool)
    mask[:, :2] = True
    arrays["b"][:, :2, 0] = 3
    (warning,) = data.from_arrays(arrays | {"b_mask": mask}).warnings
    assert "1 constant feature of 2 (number 0" in warning


def test_error_survives_pickling():
    error = data.DataError("f.npz", ["one.", "two."])
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.source, copy.findings, str(copy)) == ("f.npz", ("one.", "two."), str(error))
    assert str(error) == "f.npz: one.\nf.npz: two."


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            1,
            [
                "labelled validation rows are all of one group ('g1')",
                "labelled test rows are all of one group ('g2')",
            ],
        ),
        (3, ["labelled validation rows are of 3 groups and test rows are of 3 groups. Intervals"]),
        (10, []),
    ],
)
def test_few_groups_are_said_to_tell_little_of_others(groups, words):
    rows = 20 * groups
    split = np.repeat([0, 1, 2], rows)
    group = split * groups + np.tile(np.arange(groups), 3 * 20)
    arrays = {
        "a": np.random.default_rng(0).normal(size=(3 * rows, 2)),
        "b": np.random.default_rng(1).normal(size=(3 * rows, 2)),
        "y": np.arange(3 * rows) // groups % 2,
        "split": split,
        "group": np.char.add("g", group.astype(str)),
    }
    warned = data.from_arrays(arrays, name="few").warnings
    assert len(warned) == len(words)
    for warning, beginning in zip(warned, words, strict=True):
        assert warning.startswith(beginning)
