"""What is wrong with features, and what looks like something else."""

import numpy as np
import pandas as pd
import pytest

from tuner import data


def refused(arrays):
    with pytest.raises(data.DataError) as caught:
        data.from_arrays(arrays)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(60, 8), (60, 5, 8), (60, 8, 4, 4)])
@pytest.mark.parametrize("lost", [[5], [0, 7]])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_lost_is_named_and_how_to_leave_it_out(arrays, shape, lost, value):
    a = np.random.default_rng(0).normal(size=shape)
    for number in lost:
        (a[:, number] if len(shape) != 3 else a[..., number])[...] = value
    text = refused(arrays | {"a": a})
    for number in lost:
        assert f"{number} (60 rows)" in text
    advice = text.partition(", as ")[2].partition(").")[0] + ")"
    kept = eval(advice, {"numpy": np, "a": a})
    assert "Fill" not in text
    assert data.from_arrays(arrays | {"a": kept}).a.values.size == kept.size


def test_a_lost_feature_beside_a_stray_gap(arrays):
    a = np.random.default_rng(0).normal(size=(60, 8))
    a[:50, 3] = np.nan
    a[4, 1] = np.nan
    text = refused(arrays | {"a": a})
    assert "Feature 3 (50 rows) is lost" in text
    assert "Fill the others in" in text


def test_no_feature_at_all(arrays):
    assert "No feature holds numbers" in refused(arrays | {"a": np.full((60, 3), np.nan)})


@pytest.mark.parametrize("shape", [(60, 32, 32, 3), (60, 28, 28, 1), (60, 16, 24, 4)])
def test_channels_that_come_last(arrays, shape):
    a = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (warning,) = data.from_arrays(arrays | {"a": a}).warnings
    advice = warning.partition("save ")[2].removesuffix(".")
    moved = eval(advice, {"numpy": np, "a": a})
    dataset = data.from_arrays(arrays | {"a": moved})
    assert dataset.a.values.shape == (60, shape[3], shape[1], shape[2])
    assert dataset.warnings == ()


@pytest.mark.parametrize("shape", [(60, 3, 32, 32), (60, 1, 28, 28), (60, 8, 8, 8), (60, 3, 3, 3)])
def test_channels_that_come_first(arrays, shape):
    a = np.random.default_rng(0).normal(size=shape)
    assert data.from_arrays(arrays | {"a": a}).warnings == ()


def test_images_without_an_axis_of_channels(arrays):
    a = np.random.default_rng(0).normal(size=(60, 8, 8))
    (warning,) = data.from_arrays(arrays | {"a": a}).warnings
    assert "sequences of 8 steps" in warning
    assert data.from_arrays(arrays | {"a": a[:, None]}).warnings == ()


@pytest.mark.parametrize(("layout", "shape"), [("nhwc", (60, 32, 32, 3)), ("nhw", (60, 8, 8))])
def test_the_layout_is_asked_for_and_chosen(arrays, layout, shape):
    a = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (warning,) = data.from_arrays(arrays | {"a": a}).warnings
    assert warning.partition("use --a-layout ")[2].split(",")[0] == layout
    dataset = data.from_arrays(arrays | {"a": a}, a_layout=layout)
    moved = a[:, None] if layout == "nhw" else np.moveaxis(a, -1, 1)
    assert dataset.fingerprint == data.from_arrays(arrays | {"a": moved}).fingerprint
    assert dataset.warnings == ()
    np.testing.assert_array_equal(dataset.a.values, moved)


def test_a_layout_of_other_axes(arrays):
    with pytest.raises(data.DataError, match="--a-layout nhwc is for images of shape"):
        data.from_arrays(arrays, a_layout="nhwc")
    with pytest.raises(data.DataError, match="--b-layout nhw is for images of shape"):
        data.from_arrays(arrays | {"b": arrays["a"]}, b_layout="nhw")


def padded(rows=60, time=10, seed=0, longest=10):
    rng = np.random.default_rng(seed)
    real = np.arange(time) < rng.integers(3, longest + 1, rows)[:, None]
    values = rng.normal(size=(rows, time, 6))
    return values, real


@pytest.mark.parametrize("padding", [0, np.nan])
@pytest.mark.parametrize("longest", [10, 9])
@pytest.mark.parametrize("dtype", [bool, int])
def test_a_mask_of_what_is_padding(arrays, padding, longest, dtype):
    a, real = padded(longest=longest)
    a[~real] = padding
    mask = (~real).astype(dtype)
    text = refused(arrays | {"a": a, "a_mask": mask})
    assert "'a_mask' looks inverted" in text
    advice = text.partition("save ")[2].partition(" in its place")[0]
    dataset = data.from_arrays(arrays | {"a": a, "a_mask": eval(advice, {"a_mask": mask})})
    np.testing.assert_array_equal(dataset.a.mask, real)
    assert dataset.warnings == ()


@pytest.mark.parametrize("longest", [10, 9])
def test_such_a_mask_over_padding_that_holds_numbers(arrays, longest):
    a, real = padded(longest=longest)
    if longest == 10:
        assert "a_mask == 0" in refused(arrays | {"a": a, "a_mask": ~real})
    else:
        (warning,) = data.from_arrays(arrays | {"a": a, "a_mask": ~real}).warnings
        assert "a_mask == 0" in warning


def test_a_mask_as_it_should_be(arrays):
    a, real = padded()
    a[~real] = 0
    a[:, 1] = 0  # a real step may hold zeros
    assert data.from_arrays(arrays | {"a": a, "a_mask": real}).warnings == ()


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_one_number_a_row_in_parquet(arrays, tmp_path, dtype):
    frame = pd.DataFrame({"a": list(arrays["a"]), "y": arrays["y"]})
    frame["b"] = (10 * arrays["b"][:, 0, 0]).astype(dtype)
    frame.to_parquet(tmp_path / "single.parquet")
    with pytest.raises(data.DataError, match="lists of one number") as caught:
        data.read(tmp_path / "single.parquet")
    (finding,) = caught.value.findings
    exec(finding.partition("in pandas ")[2].removesuffix("."), {"frame": frame})
    frame.to_parquet(tmp_path / "lists.parquet")
    assert data.read(tmp_path / "lists.parquet").b.values.shape == (60, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_that_a_join_made_floats(arrays, dtype):
    groups = np.arange(60) // 3
    whole = data.from_arrays(arrays | {"group": groups})
    floats = data.from_arrays(arrays | {"group": groups.astype(dtype)})
    assert floats.fingerprint == whole.fingerprint


def test_groups_that_are_missing_are_named(arrays):
    groups = np.where(np.arange(60) == 7, np.nan, np.arange(60) // 3)
    text = refused(arrays | {"group": groups})
    assert "'group' holds no number in 1 row (first: row 7" in text
    assert "a number of its own" in text
    mended = np.where(np.isnan(groups), 1000, groups)
    assert data.from_arrays(arrays | {"group": mended}).group is not None


def sequences(padding=0.0):
    """(60, 8, 3) steps, padded from lengths 3 to 8, and the lengths."""
    rng = np.random.default_rng(0)
    lengths = np.resize(np.arange(3, 9), 60)
    values = rng.normal(size=(60, 8, 3))
    values[np.arange(8) >= lengths[:, None]] = padding
    return values, lengths


def test_padding_without_a_mask_is_said_and_the_advice_works(arrays):
    a, lengths = sequences()
    (told,) = data.from_arrays(arrays | {"a": a}).warnings
    assert "of 50 rows of 60 hold nothing but zeros" in told
    assert "save (a != 0).any(axis=2) as array 'a_mask'" in told
    masked = data.from_arrays(arrays | {"a": a, "a_mask": (a != 0).any(axis=2)})
    assert masked.warnings == ()
    assert (masked.a.mask.sum(1) == lengths).all()


def test_padding_of_nan_without_a_mask(arrays):
    a, lengths = sequences(np.nan)
    assert "save numpy.isfinite(a).all(axis=2) as array 'a_mask'" in refused(arrays | {"a": a})
    masked = data.from_arrays(arrays | {"a": a, "a_mask": np.isfinite(a).all(axis=2)})
    assert (masked.a.mask.sum(1) == lengths).all()


def test_a_mask_that_leaves_out_the_last_step(arrays):
    a, lengths = sequences()
    (told,) = data.from_arrays(arrays | {"a": a, "n": lengths - 1}, a_lengths="n").warnings
    assert "'n' leaves out 60 steps that hold numbers, beside 150 that hold nothing" in told


@pytest.mark.parametrize(
    ("reshaped", "words"),
    [(lambda mask: mask.sum(1), "--a-lengths a_mask"), (lambda mask: mask[..., None], "[:, :, 0]")],
)
def test_masks_of_another_shape(arrays, reshaped, words):
    a, lengths = sequences()
    assert words in refused(arrays | {"a": a, "a_mask": reshaped(np.arange(8) < lengths[:, None])})


def test_lengths_of_what_has_no_steps(arrays):
    with pytest.raises(data.DataError, match=r"'n' masks padded steps, but 'a' .* no time axis"):
        data.from_arrays(arrays | {"n": np.full(60, 50)}, a_lengths="n")


@pytest.mark.parametrize("value", [1e6, -1e30])
def test_a_number_far_from_the_others_is_said(arrays, value):
    arrays["a"] = arrays["a"].copy()
    arrays["a"][5, 3] = value
    (told,) = data.from_arrays(arrays).warnings
    assert "1 feature (counting from 0) with a number far from the others" in told
    assert f"3 ({value:g}, nine in ten from" in told


def test_a_target_far_from_the_others_is_said(arrays):
    y = np.random.default_rng(0).normal(size=60)
    y[7] = 1e9
    (told,) = data.from_arrays(arrays | {"y": y}).warnings
    assert "'y' holds 1e+09 in row 7" in told


def test_a_mark_of_missing_numbers_is_said(arrays):
    arrays["a"] = arrays["a"].copy()
    arrays["a"][::10, 1] = -999
    (told,) = data.from_arrays(arrays).warnings
    assert "1 (-999, 10%)" in told


def test_ordinary_numbers_are_not_doubted(arrays):
    rng = np.random.default_rng(0)
    for a in (
        rng.standard_t(3, size=(60, 4)),
        rng.lognormal(0, 2, size=(60, 4)),
        np.eye(60)[:, :30],  # a lone 1 in each feature
        rng.integers(0, 256, size=(60, 3, 8, 8)),
        rng.choice([0, 255], size=(60, 20)),
    ):
        assert data.from_arrays(arrays | {"a": a}, keep_copies_apart=True).warnings == ()


def test_a_modality_that_is_the_other_is_said(arrays):
    (told,) = data.from_arrays(arrays | {"b": arrays["a"]}).warnings
    assert told.startswith("arrays 'a' and 'b' hold the same values in every row")
