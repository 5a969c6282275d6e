"""Any array of a source can be chosen for any role, and what looks like one is named."""

import numpy as np
import pytest

from tuner import data
from tuner.data.dataset import Split
from tuner.data.inspection import inspect

STEPS = 5  # of B


def given(rows=60):
    return np.resize([0, 0, 0, 1, 1, 1, 2, 2, 2], rows)


def test_a_chosen_split_is_the_split(arrays):
    fold = given()
    usual = data.from_arrays(arrays | {"split": fold})
    chosen = data.from_arrays(arrays | {"fold": fold, "split": fold[::-1]}, split="fold")
    assert (chosen.split == fold).all()
    assert chosen.fingerprint == usual.fingerprint


@pytest.mark.parametrize(
    "words",
    [
        ("train", "validation", "test"),
        ("Training", "val", "testing"),
        ("train", "dev", "test "),
        ("0", "1", "2"),
    ],
)
def test_a_split_may_be_words(arrays, words):
    said = data.from_arrays(arrays | {"split": np.array(words)[given()]})
    assert said.fingerprint == data.from_arrays(arrays | {"split": given()}).fingerprint


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_a_split_in_two_is_completed_and_it_is_said(arrays, held_out):
    """What is held out is tested on, as of files that are named for splits."""
    parts = np.where(given() == 2, held_out, "train")
    dataset = data.from_arrays(arrays | {"split": parts})
    assert ((dataset.split == Split.TEST) == (given() == 2)).all()
    assert (dataset.split == Split.VALIDATION).sum() == pytest.approx(42 * 0.15 / 0.85, abs=2)
    (said,) = [w for w in dataset.warnings if "split" in w]
    assert f"as array 'split' says (42 train, 18 {held_out})" in said
    assert "validation rows are taken out of the training rows" in said
    made = data.from_arrays(arrays | {"split": parts}, split="none")
    assert (made.split == data.from_arrays(arrays).split).all()


def test_chosen_groups_are_the_groups(arrays):
    who = np.array([f"p{number // 3}" for number in range(60)])
    usual = data.from_arrays(arrays | {"group": who})
    chosen = data.from_arrays(arrays | {"patient": who}, group="patient")
    assert chosen.fingerprint == usual.fingerprint
    assert (chosen.group == np.unique(who, return_inverse=True)[1]).all()


def test_lengths_are_a_mask(arrays):
    lengths = np.resize([1, 3, STEPS], 60)
    mask = np.arange(STEPS) < lengths[:, None]
    masked = data.from_arrays(arrays | {"b_mask": mask})
    for dtype in ("i8", "u1", "f4"):
        chosen = data.from_arrays(arrays | {"n": lengths.astype(dtype)}, b_lengths="n")
        assert chosen.fingerprint == masked.fingerprint
    elsewhere = data.from_arrays(arrays | {"real": mask, "b_mask": mask[::-1]}, b_mask="real")
    assert elsewhere.fingerprint == masked.fingerprint


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        (np.resize([0, 5], 60), "numbers from 1 to 5, the steps that there are, in 30 rows"),
        (np.resize([6, 5], 60), "numbers from 1 to 5"),
        (np.resize([1.5, 5], 60), "whole numbers"),
        (np.resize([np.nan, 5], 60), "whole numbers"),
        (np.full((60, 1), 5), "shape (60, 1)"),
        (np.full(60, "5"), "one number of steps a row"),
        (np.full(59, 5), "shape (59,)"),
    ],
)
def test_lengths_that_are_none_are_refused(arrays, lengths, words):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(arrays | {"n": lengths}, b_lengths="n")
    assert "array 'n' " in str(caught.value)
    assert words in str(caught.value)


def test_lengths_of_what_has_no_steps_are_refused(arrays):
    with pytest.raises(data.DataError, match="'n' masks padded steps, but 'a'"):
        data.from_arrays(arrays | {"n": np.full(60, 4)}, a_lengths="n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"b": "a"}, "'a' is chosen as a and as b"),
        ({"group": "y"}, "'y' is chosen as y and as group"),
        ({"a_mask": "m", "a_lengths": "m"}, "both --a-mask and --a-lengths"),
        ({"split": "folds"}, "Did you mean 'fold'? Choose arrays with --split."),
        ({"a": "Fold_"}, "Did you mean 'fold'? Choose arrays with --a, --b and --y."),
    ],
)
def test_a_choice_that_cannot_be_is_refused(arrays, options, words):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(arrays | {"fold": given(), "m": given()}, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("groups", "--group"),
        ("Subject_ID", "--group"),
        ("Group", "--group"),
        ("fold", "--split"),
        ("Split", "--split"),
        ("cv_fold", "--split"),
        ("is_test", "--split"),
        ("in_train_set", "--split"),
        ("val_mask", "--split"),
        ("is_testament", None),
        ("pid", "--group"),
        ("video_id", "--group"),
        ("group_ids", "--group"),
        ("mask_b", "--b-mask"),
        ("b_attention_mask", "--b-mask"),
        ("lengths_b", "--b-lengths"),
        ("paid", None),
        ("b_lengths", "--b-lengths"),
        ("b_len", "--b-lengths"),
        ("B_mask", "--b-mask"),
        ("age", None),
        ("a", None),
    ],
)
def test_what_looks_like_something_else_is_named(arrays, name, flag):
    told = data.from_arrays(arrays | {name: arrays.get(name, np.arange(60))}).warnings
    hints = [text for text in told if "is not used" in text]
    if flag is None:
        assert hints == []
    else:
        (hint,) = hints
        assert hint.startswith(f"array {name!r} is not used. If it holds ")
        assert hint.endswith(f"choose it with {flag} {name}.")


def test_what_is_there_already_is_not_asked_for(arrays):
    both = arrays | {"fold": given(), "split": given(), "b_lengths": np.full(60, 5)}
    told = data.from_arrays(both, b_lengths="b_lengths").warnings
    assert not any("is not used" in text for text in told)


def test_an_option_that_there_is_not_is_refused(arrays):
    with pytest.raises(ValueError, match="taks"):
        data.from_arrays(arrays, taks="regression")


def test_the_mask_that_tokenizers_make_is_named(make):
    arrays = make(rows=60)
    mask = np.arange(9) < np.arange(60)[:, None] % 7 + 3
    ids = np.random.default_rng(0).integers(1, 99, size=(60, 9))
    for prefix in ("", "text_"):
        tokens = {f"{prefix}input_ids": ids, f"{prefix}attention_mask": mask.astype(int)}
        options = {"b": f"{prefix}input_ids"}
        (warning,) = data.from_arrays(arrays | tokens, **options).warnings
        assert warning.endswith(f"choose it with --b-mask {prefix}attention_mask.")
        chosen = data.from_arrays(arrays | tokens, b_mask=f"{prefix}attention_mask", **options)
        assert chosen.b.holds == "tokens"


@pytest.mark.parametrize("name", ["label", "Labels", "target", "class_id", "classes"])
def test_the_usual_names_of_a_label_are_meant(arrays, name):
    renamed = {name if n == "y" else n: array for n, array in arrays.items()}
    with pytest.raises(data.DataError, match=f"'y' is missing; .* Did you mean '{name}'"):
        data.from_arrays(renamed)
    assert data.from_arrays(renamed, y=name).rows == 60


def test_what_an_array_looks_like_waits_until_the_needed_ones_are_there(make, tmp_path):
    """A column "image" is more likely A than groups."""
    arrays = make(rows=60)
    np.savez(tmp_path / "x.npz", image=arrays["a"], caption=arrays["b"], y=arrays["y"])
    assert inspect(tmp_path / "x.npz").warnings == ()
