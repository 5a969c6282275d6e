"""What columns hold beside numbers and text: decimals, dates, bytes, nothing at all."""

import datetime
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuner import data

FIRST = datetime.date(1999, 12, 20)


@pytest.fixture
def frame(arrays):
    return pd.DataFrame({name: array.tolist() for name, array in arrays.items()})


@pytest.fixture
def saved(tmp_path, frame):
    """Write a file with other columns in place of its own."""

    def save(**columns):
        table = pa.Table.from_pandas(frame)
        for name, values in columns.items():
            at = table.schema.get_field_index(name)
            column = values if isinstance(values, pa.Array) else pa.array(values)
            if at < 0:
                table = table.append_column(name, column)
            else:
                table = table.set_column(at, name, column)
        pq.write_table(table, tmp_path / "study.parquet")
        return tmp_path / "study.parquet"

    return save


def refused(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    (finding,) = caught.value.findings
    return finding


@pytest.mark.parametrize("kind", [pa.decimal128(7, 3), pa.decimal256(40, 3)])
def test_decimals_are_numbers(saved, kind):
    values = [Decimal(row * row) / 8 for row in range(60)]
    dataset = data.read(saved(y=pa.array([*values[:-1], None], kind)))
    assert dataset.task == "regression"
    np.testing.assert_array_equal(dataset.y[:-1], np.arange(59) ** 2 / 8)
    assert np.isnan(dataset.y[-1])


def test_decimals_without_a_fraction_are_whole_numbers(saved, arrays):
    """As NUMBER(38, 0) comes from databases."""
    codes = pa.array([Decimal(int(code)) for code in arrays["y"]], pa.decimal128(38, 0))
    groups = pa.array([Decimal(2**60 + row // 2) for row in range(60)], pa.decimal128(38, 0))
    dataset = data.read(saved(y=codes, group=groups))
    assert dataset.classes == (0, 1, 2)
    assert len(np.unique(dataset.group)) == 30
    too_long = pa.array([Decimal(10**30 + row) for row in range(60)], pa.decimal128(38, 0))
    text = refused(saved(y=codes, group=too_long))
    assert "more than 64 bits" in text
    assert len(np.unique(data.read(saved(y=codes, group=too_long.cast("string"))).group)) == 60


def test_features_may_be_decimals(saved, arrays):
    values = [[Decimal(int(1000 * x)) / 1000 for x in row] for row in arrays["a"]]
    expected = np.array([[float(x) for x in row] for row in values])
    kind = pa.decimal128(9, 3)
    whole = data.read(saved(a=pa.array(values, pa.list_(kind))))
    np.testing.assert_allclose(whole.a.values, expected, rtol=1e-6)
    columns = {f"x_{n}": pa.array([row[n] for row in values], kind) for n in range(4)}
    assert data.read(saved(**columns), a="x_*").fingerprint == whole.fingerprint


DATES = {
    "dates": [FIRST + datetime.timedelta(days=row) for row in range(60)],
    "a gap": [None] * 20 + [FIRST + datetime.timedelta(days=row) for row in range(20, 60)],
    "times": pd.date_range(FIRST, periods=60, freq="D"),
    "times with a zone": pd.date_range(FIRST, periods=60, freq="D", tz="UTC"),
    "text": [str(FIRST + datetime.timedelta(days=row)) for row in range(60)],
    "days first": [f"{FIRST + datetime.timedelta(days=row):%d/%m/%Y}" for row in range(60)],
    "months first": [f"{FIRST + datetime.timedelta(days=row):%m/%d/%Y}" for row in range(60)],
    "text with gaps": [""] * 20
    + [f"{FIRST + datetime.timedelta(days=row):%Y.%m.%d}" for row in range(20, 60)],
}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("dates", DATES.values(), ids=DATES.keys())
def test_dates_are_numbers_once_saved_as_told(tmp_path, frame, dates, suffix):
    columns = pd.DataFrame({f"{n}{i}": frame[n].str[i] for n in "a" for i in range(4)})
    frame = columns.assign(b0=frame["a"].str[0] ** 2, b1=np.arange(60) % 7, y=dates)
    path, save = tmp_path / f"x.{suffix}", getattr(frame, f"to_{suffix}")
    save(path, index=False)
    options = {"a": "a*", "b": "b*"}
    text = refused(path, **options)
    advice = re.search(r"\(pandas\.to_datetime\(.*?\) / pandas\.Timedelta\(days=1\)", text)
    y = frame["y"]
    frame["y"] = eval(advice[0], {"pandas": pd, "numpy": np, "x": y, "y": y})
    save(path, index=False)
    dataset = data.read(path, **options)
    first = (FIRST - datetime.date(1970, 1, 1)).days
    np.testing.assert_array_equal(dataset.y[20:], first + np.arange(20, 60))
    assert dataset.labelled.sum() in (40, 60)


def test_dates_as_groups_are_text_once_saved_as_told(tmp_path, frame):
    frame["group"] = [FIRST + datetime.timedelta(days=row // 2) for row in range(60)]
    frame.to_parquet(tmp_path / "x.parquet")
    assert "as text, x.astype(str)" in refused(tmp_path / "x.parquet")
    frame["group"] = frame["group"].astype(str)
    frame.to_parquet(tmp_path / "x.parquet")
    assert len(np.unique(data.read(tmp_path / "x.parquet").group)) == 30


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ([datetime.time(row % 24, row) for row in range(60)], "pandas.to_timedelta(x.astype(str))"),
        (pd.to_timedelta(np.arange(60) ** 2, unit="s"), "numpy.timedelta64(1, 's')"),
    ],
)
def test_times_of_day_and_durations(tmp_path, frame, values, advice):
    frame["y"] = x = pd.Series(values)
    frame.to_parquet(tmp_path / "x.parquet")
    text = refused(tmp_path / "x.parquet")
    assert advice in text
    found = re.search(r"x as (.*)\.$", text)
    if found:
        frame["y"] = eval(found[1], {"pandas": pd, "numpy": np, "x": x})
    else:
        frame["y"] = x / np.timedelta64(1, "s")
    frame.to_parquet(tmp_path / "x.parquet")
    assert data.read(tmp_path / "x.parquet").task == "regression"


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary("int8", "binary")])
def test_bytes_of_labels_and_groups_are_text(saved, kind):
    names = np.array(["no", "já", "猫"])[np.arange(60) % 3]
    y = pa.array([name.encode() for name in names]).cast(kind)
    dataset = data.read(saved(y=y, group=pa.array([b"%d" % (row // 4) for row in range(60)])))
    assert [dataset.classes[code] for code in dataset.y] == names.tolist()
    broken = pa.array([b"\xff" if row == 3 else b"x" for row in range(60)])
    assert "not text in UTF-8" in refused(saved(y=broken))


def test_categories_of_numbers_may_have_gaps(saved):
    codes = pa.array([None, 30, 10] * 20).dictionary_encode()
    dataset = data.read(saved(y=codes))
    assert dataset.classes == (10, 30)
    assert dataset.labelled.sum() == 40


def test_a_column_of_nothing_holds_no_label(saved):
    assert "no label in any of its 60 rows" in refused(saved(y=pa.nulls(60)))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_of_a_modality_are_text_once_saved_as_told(saved, kind):
    """As Spark stores text where asked to write for old readers."""
    texts = [f"jour {row} à l'été" for row in range(60)]
    path = saved(b=pa.array([text.encode() for text in texts], kind))
    assert "in pandas .str.decode('utf-8')" in refused(path)
    frame = pd.read_parquet(path)
    frame.assign(b=frame["b"].str.decode("utf-8")).to_parquet(path)
    assert data.read(path).b.texts() == texts
    broken = pa.array([b"x" if row else b"\xff\xd8\xff" for row in range(60)])
    assert "decode" not in refused(saved(b=broken)).replace("be decoded", "")


def test_addresses_of_images_are_not_fetched(saved):
    addresses = [f"https://example.org/{row}.jpg" for row in range(60)]
    assert "none is fetched" in refused(saved(b=addresses))
