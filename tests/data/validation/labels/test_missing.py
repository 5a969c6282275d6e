"""Which labels are missing: one rule, whatever they are stored as."""

import shlex
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tuner import data

SENTIMENT = [-1, 0, 1]


def read(make, y, **options):
    return data.from_arrays(make(rows=len(y)) | {"y": y}, **options)


def warned(dataset, *words):
    (warning,) = [text for text in dataset.warnings if all(word in text for word in words)]
    return warning


def refused(make, y, **options):
    with pytest.raises(data.DataError) as caught:
        read(make, y, **options)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
def test_minus_one_is_missing_in_any_type_and_said(make, dtype):
    y = np.resize(SENTIMENT, 300).astype(dtype)
    dataset = read(make, y)
    assert dataset.classes == (0, 1)
    assert dataset.labelled.sum() == 200
    assert "100 of 300 rows count as unlabelled because they hold -1" in warned(
        dataset, "--missing none"
    )
    all_three = read(make, y, missing=["none"])
    assert all_three.classes == (-1, 0, 1)
    assert all_three.labelled.all()
    assert not any("--missing" in text for text in all_three.warnings)


@pytest.mark.parametrize("dtype", [int, float])
def test_two_classes_of_which_one_is_minus_one(make, dtype):
    y = np.resize([-1, 1], 300).astype(dtype)
    assert "use --missing none" in refused(make, y)
    assert read(make, y, missing=["none"]).classes == (-1, 1)


def test_few_rows_without_a_label_are_no_news(make):
    y = np.where(np.arange(300) % 20 == 0, -1, np.resize([0, 2], 300))
    assert read(make, y).warnings == ()


def test_a_tenth_of_the_rows_without_a_label_is(make):
    tenth = np.arange(300) % 10 == 0
    names = np.resize(["no", "yes"], 300).astype(object)
    for y in (
        np.where(tenth, "", names.astype(str)),
        np.where(tenth, np.nan, np.linspace(0, 1, 300)),
        np.ma.masked_array(np.resize([0, 1], 300), tenth),
    ):
        assert "30 of 300 rows count as unlabelled" in " ".join(read(make, y).warnings)


@pytest.mark.parametrize("name", ["nan", "None", "<NA>", "NULL", "NaT", "N/A", " "])
def test_a_class_named_as_what_is_missing(make, name):
    y = np.resize(np.array(["cat", "dog", name]), 300)
    dataset = read(make, y)
    assert len(dataset.classes) == 3
    warning = warned(dataset, f"{name!r} (100 rows)", "usually stands for a missing label")
    options = shlex.split(warning.partition(" use ")[2].removesuffix("."))
    assert options == ["--missing", name]
    again = read(make, y, missing=[name])
    assert again.classes == ("cat", "dog")
    assert again.labelled.sum() == 200


def test_marks_that_are_there_are_not_lost_by_those_that_are_added(make):
    y = np.resize(np.array(["cat", "dog", "nan", "", "None"]), 300)
    warning = warned(read(make, y), "'None' (60 rows) and 'nan' (60 rows)")
    options = shlex.split(warning.partition(" use ")[2].removesuffix("."))
    assert options == ["--missing", "", "--missing", "None", "--missing", "nan"]
    assert read(make, y, missing=options[1::2]).classes == ("cat", "dog")


def test_a_class_named_none_cannot_be_a_mark(make):
    y = np.resize(np.array(["cat", "dog", "none"]), 300)
    assert "save 'none' as an empty text" in warned(read(make, y), "'none' (100 rows)")
    assert read(make, np.where(y == "none", "", y)).classes == ("cat", "dog")


@pytest.mark.parametrize("code", [255, -100, -999, 99])
@pytest.mark.parametrize("dtype", [int, float])
def test_codes_that_masks_and_losses_ignore(make, code, dtype):
    y = np.resize([0, 1, 2, code], 400).astype(dtype)
    dataset = read(make, y, task="classification")
    assert f"--missing {code}" in warned(dataset, f"holds {code} (100 rows)")
    marked = read(make, y, task="classification", missing=["-1", str(code)])
    assert marked.classes == (0, 1, 2)


def test_a_full_range_of_bytes_has_no_code_that_is_missing(make):
    y = np.resize(np.arange(256), 256 * 4).astype(np.uint8)
    assert not any("--missing" in text for text in read(make, y).warnings)


def test_what_stands_apart_from_numbers_to_predict(make):
    y = np.random.default_rng(0).normal(20, 3, 300)
    y[::10] = -999
    dataset = read(make, y)
    assert "--missing -999" in warned(dataset, "holds -999 (30 rows)")
    marked = read(make, y, missing=["-999"])
    assert marked.labelled.sum() == 270
    assert np.nanmin(marked.y) > 0


@pytest.mark.parametrize("code", [-1, -99])
def test_the_only_number_below_zero_in_regression(make, code):
    y = np.random.default_rng(0).uniform(18, 90, 300)
    y[::10] = code
    assert f"--missing {code}" in warned(read(make, y), f"holds {code} (30 rows)")


def test_minus_one_among_negative_numbers(make):
    y = np.random.default_rng(0).uniform(-18, 90, 300)
    y[::10] = -1
    assert read(make, y).warnings == ()


def test_in_regression_minus_one_is_a_value(make):
    y = np.random.default_rng(0).normal(0, 1, 300)
    y[::10] = -1
    assert read(make, y).labelled.all()
    assert read(make, y, missing=["-1"]).labelled.sum() == 270


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_the_way_to_save_objects_keeps_what_is_missing(make, tmp_path, missing):
    names = np.resize(np.array(["cat", "dog", missing], dtype=object), 300)
    arrays = make(rows=300)
    np.savez(tmp_path / "objects.npz", **arrays | {"y": names}, allow_pickle=True)
    with pytest.raises(data.DataError) as caught:
        data.read(tmp_path / "objects.npz")
    advice = "numpy.array(pandas.Series(x, dtype=object).fillna('').astype(str), dtype=str)"
    assert advice in str(caught.value)
    y = eval(advice, {"numpy": np, "pandas": pd, "x": names})  # as a user follows it
    np.savez(tmp_path / "text.npz", **arrays | {"y": y})
    dataset = data.read(tmp_path / "text.npz")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labelled.sum() == 200


def test_objects_that_are_numbers(make):
    y = np.resize(np.array([0, 1, None], dtype=object), 300)
    assert "x.astype(float)" in refused(make, y)
    assert read(make, y.astype(float)).classes == (0, 1)


@pytest.mark.parametrize("task", ["auto", "regression"])
@pytest.mark.parametrize("empty", [False, True])
def test_numbers_stored_as_text(make, task, empty):
    y = np.array([f"{v:.4f}" for v in np.random.default_rng(0).normal(size=300)])
    if empty:
        y[::3] = ""
    text = refused(make, y, task=task)
    advice = text.partition("These are numbers stored as text: save ")[2].partition(". ")[0]
    advice = advice.removesuffix(".").partition("\n")[0]
    assert advice.endswith(".astype(float)")
    saved = eval(advice, {"numpy": np, "y": y})
    dataset = read(make, saved, task=task)
    assert dataset.task == "regression"
    assert dataset.labelled.sum() == (200 if empty else 300)


@pytest.mark.parametrize(
    ("form", "comma"),
    [
        ("{:.2f} %", False),
        ("{:.2f}%", False),
        ("{:.2f}e-3", False),
        (" {:.2f}", False),
        ("{:.2f}", True),
        ("{:.2f}e-3", True),
    ],
)
def test_numbers_as_people_write_them(make, form, comma):
    values = np.random.default_rng(0).normal(size=300)
    y = np.array([form.format(v) for v in values])
    if comma:
        y = np.char.replace(y, ".", ",")
    text = refused(make, y, task="regression")
    advice = text.partition("These are numbers stored as text: save ")[2]
    saved = eval(advice.partition(".astype(float)")[0] + ".astype(float)", {"numpy": np, "y": y})
    scale = 1e-3 if "e-3" in form else 1
    np.testing.assert_allclose(saved, scale * values.round(2), atol=1e-12)


def test_few_numbers_stored_as_text(make):
    y = np.resize([f"{v / 10:.1f}" for v in range(60)], 300)
    y[:2] = ["99.5", "77.5"]
    assert "save y.astype(float)" in refused(make, y)


def test_names_that_are_no_numbers_are_not_said_to_be(make):
    y = np.array([f"id-{row}" for row in range(300)])
    text = refused(make, y)
    assert "--task regression" not in text
    assert "--y" in text


def test_a_mark_that_no_label_has_is_named(make):
    y = np.resize([0, 1], 300)
    assert "holds no '255'" in warned(read(make, y, missing=["255"]))


@pytest.mark.parametrize(
    ("y", "chosen", "forgotten"),
    [
        (np.resize([0, 1, -1, -100], 300), "-100", "-1"),
        (np.resize(["a", "b", "-1", "nan"], 300), "nan", "-1"),
        (np.resize(["a", "b", "", "nan"], 300), "nan", "''"),
    ],
)
def test_a_usual_mark_that_a_choice_leaves_out_is_said(make, y, chosen, forgotten):
    told = warned(read(make, y, missing=[chosen]), "usually stands for a missing label")
    assert f"use --missing {chosen} --missing {forgotten}" in told
    assert not read(make, y, missing=[chosen, shlex.split(forgotten)[0]]).warnings[1:]


def test_a_usual_mark_that_is_said_to_be_a_label_is_believed(make):
    for y in (np.resize(["a", "b", ""], 300), np.resize([0, 1, -1], 300)):
        assert read(make, y, missing=["none"]).warnings == ()


@pytest.mark.parametrize("name", ["unknown", "missing", ".", "--"])
def test_what_people_write_for_a_missing_label_is_said(make, name):
    assert repr(name) in warned(read(make, np.resize(["a", "b", name], 300)), "--missing")


NAMES = np.resize(np.array(["a", None, "b"], dtype=object), 300)


@pytest.mark.parametrize(
    "y",
    [
        NAMES,
        np.where(NAMES == None, np.nan, NAMES),  # noqa: E711  # by element
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="str"),
        pd.Series(NAMES, dtype="string"),
        pd.Series(NAMES, dtype=pd.ArrowDtype(pa.string())),
        pd.Series(NAMES, dtype="category"),
        pd.Categorical(NAMES),
        np.ma.masked_array(np.where(NAMES == None, "x", NAMES), NAMES == None),  # noqa: E711
        NAMES.tolist(),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}",
)
def test_text_as_pandas_holds_it(make, y):
    dataset = read(make, y)
    assert dataset.classes == ("a", "b")
    np.testing.assert_array_equal(dataset.labelled, np.resize([True, False, True], 300))
    as_advised = np.array(pd.Series(NAMES, dtype=object).fillna("").astype(str), dtype=str)
    assert read(make, as_advised).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", pd.ArrowDtype(pa.int32())])
def test_numbers_as_pandas_holds_them_where_some_are_missing(make, dtype):
    y = pd.Series(pd.array(np.resize([0, 1, None], 300), dtype=dtype))
    dataset = read(make, y)
    assert dataset.classes == (0, 1)
    np.testing.assert_array_equal(dataset.labelled, np.resize([True, True, False], 300))


def test_decimals_as_objects(make):
    y = np.array([Decimal(row) / 4 for row in range(299)] + [None])
    np.testing.assert_array_equal(read(make, y).y[:-1], np.arange(299) / 4)


def test_dates_as_objects_are_told_from_other_objects(make):
    days = pd.Series(pd.date_range("2020-01-01", periods=300, tz="Europe/Berlin"))
    for y in (days, days.dt.date, days.dt.tz_localize(None)):
        told = refused(make, y)
        advice = told.partition("x as ")[2].partition(" (of a table")[0]
        assert read(make, eval(advice, {"pandas": pd, "x": y})).task == "regression"


def test_groups_and_splits_as_pandas_holds_them(make):
    split = pd.Series(np.resize(["train", "train", "val", "test"], 300), dtype="category")
    group = pd.Series([f"g{row}" for row in range(300)], dtype="string")
    dataset = data.from_arrays(make(rows=300) | {"split": split, "group": group})
    assert np.bincount(dataset.split).tolist() == [150, 75, 75]
    assert len(np.unique(dataset.group)) == 300


def test_the_advice_for_one_hot_labels_keeps_empty_rows_without_a_label(make):
    y = np.eye(3)[np.arange(300) % 3] * (np.arange(300) % 5 > 0)[:, None]
    advice = "numpy.where(y.any(axis=1), y.argmax(axis=1), -1)"
    assert advice in refused(make, y)
    assert read(make, eval(advice, {"numpy": np, "y": y})).labelled.sum() == 240


@pytest.mark.parametrize(
    ("form", "advice"),
    [
        ("{:,.2f}", "numpy.char.replace(y, ',', '').astype(float)"),
        ("${:.2f}", "numpy.char.lstrip(y, '$€£').astype(float)"),
    ],
)
def test_amounts_as_text_are_numbers_once_saved_as_told(make, form, advice):
    numbers = np.random.default_rng(0).lognormal(8, 1, size=300)
    y = np.array([form.format(number) for number in numbers])
    assert f"save {advice}" in refused(make, y)
    saved = eval(advice, {"numpy": np, "y": y})
    assert read(make, saved).task == "regression"


STEPS = [-2, -1, 0, 1, 2]


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("rows", [[60] * 5, [10, 40, 90, 60, 20], [90, 40, 30, 40, 90]])
def test_minus_one_is_a_step_of_a_scale_around_0_in_any_type(make, dtype, rows):
    y = np.repeat(STEPS, rows).astype(dtype)
    dataset = read(make, y)
    assert dataset.task == "regression"
    assert dataset.labelled.all()
    assert "--task classification" in warned(dataset, "a scale around 0 (-2, -1, 0, 1 and 2)")
    assert read(make, y, task="classification").classes == tuple(STEPS)
    with_gaps = y.astype(float)
    with_gaps[::20] = np.nan
    labelled = read(make, with_gaps, task="classification").labelled
    np.testing.assert_array_equal(labelled, ~np.isnan(with_gaps))


def test_minus_one_is_a_step_in_text(make):
    assert len(read(make, np.resize(np.array(STEPS).astype(str), 300)).classes) == 5


@pytest.mark.parametrize("dtype", [int, float])
def test_minus_one_and_minus_two_without_a_scale_are_marks(make, dtype):
    """As surveys code them: -1 for no answer, -2 for a refusal."""
    y = np.resize([1, 2, 3, -1, -2], 300).astype(dtype)
    assert read(make, y, task="classification").labelled.sum() == 240


@pytest.mark.parametrize("dtype", [int, np.float16, float])
def test_marks_that_stand_apart_do_not_decide(make, dtype):
    """Of classes with -100 for what a loss ignores."""
    dataset = read(make, np.resize([0, 1, 2, -100], 400).astype(dtype))
    assert dataset.task == "classification"
    assert "--missing -100" in warned(dataset, "holds -100 (100 rows)")


def test_one_class_stored_as_floats_is_no_doubtful_reading(make):
    assert "different whole numbers" not in refused(make, np.ones(90))
