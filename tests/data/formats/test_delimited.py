"""CSV and TSV files: what their columns hold, and what is wrong with them."""

import contextlib
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv

from tuner import data
from tuner.data.formats.tables import delimited
from tuner.data.inspection import inspect

PATTERNS = {"a": "a_*", "b": "b_*"}


@pytest.fixture
def frame():
    """Two modalities of columns in whole numbers and eighths, which text holds exactly."""
    rng = np.random.default_rng(0)
    columns = {f"a_{n}": rng.integers(-80, 80, 60) / 8 for n in range(3)}
    columns |= {f"b_{n}": rng.integers(0, 17, 60) for n in range(4)}
    return pd.DataFrame(columns | {"y": np.resize(["no", "yes", "perhaps"], 60)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.csv"


def arrays_of(frame):
    sides = {side: frame.filter(regex=f"^{side}_").to_numpy() for side in "ab"}
    return sides | {"y": frame["y"].to_numpy().astype(str)}


def error_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **PATTERNS | options)
    return "\n".join(caught.value.findings)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_numbers_and_text(frame, tmp_path, separator, suffix):
    path = tmp_path / f"study{suffix}"
    frame.to_csv(path, sep=separator)  # with the index that pandas writes
    dataset = data.read(path, **PATTERNS)
    assert dataset.fingerprint == data.from_arrays(arrays_of(frame)).fingerprint
    assert dataset.classes == ("no", "perhaps", "yes")


def test_files_of_a_folder_are_one_table(frame, tmp_path):
    (tmp_path / "parts").mkdir()
    for part in range(12):
        frame[5 * part : 5 * part + 5].to_csv(tmp_path / f"parts/part-{part}.csv", index=False)
    dataset = data.read(tmp_path / "parts", **PATTERNS)
    assert dataset.fingerprint == data.from_arrays(arrays_of(frame)).fingerprint


def test_files_that_do_not_belong_together(frame, tmp_path, monkeypatch):
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    frame[:30].to_csv(files[0], index=False)
    frame[30:].assign(extra=1).to_csv(files[1], index=False)
    text = error_of(tmp_path)
    assert "only one of them has 'extra'" in text
    monkeypatch.chdir(tmp_path)
    eval(text.partition("columns and types: ")[2].removesuffix("."), {"pandas": pd, "files": files})
    assert data.read("all.csv", **PATTERNS).rows == 60


KINDS = {
    "whole": (["1", "-2", "30"], "int64"),
    "with blanks": ([" 1", "2 ", "3"], "int64"),
    "numbers": (["1", "-2.5", "1e3"], "float64"),
    "infinite": (["1", "inf", "3"], "float64"),
    "words of truth": (["True", "false", "TRUE"], "bool"),
    "truth after numbers": (["1", "true", "0"], "text"),
    "gaps": (["1", "", "NA"], "int64"),
    "gaps in numbers": (["1.5", "nan", "None"], "float64"),
    "dates": (["2020-01-01", "2020-01-02", "2020-01-03"], "text"),
    "times": (["10:00", "11:00", "12:00"], "text"),
    "identifiers of more than 64 bits": (["1", "123456789012345678901", "3"], "text"),
    "text": (["x", "1", "y"], "text"),
}


@pytest.mark.parametrize(("values", "kind"), KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("block", [2**24, 64])
def test_what_a_column_holds(frame, path, monkeypatch, values, kind, block):
    """Whether it is found in the first block or in a later one."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    odd = ["1" if kind in ("int64", "float64") else values[0]] * 57 + values
    pd.DataFrame({"odd": odd}).to_csv(path, index=False)
    (column,) = inspect(path).arrays
    assert (column.kind, column.shape) == (kind, (60,))


@pytest.mark.parametrize(
    ("labels", "classes", "labelled"),
    [
        (["1", "2", ""], (1, 2), 40),
        (["1", "2", "NA"], (1, 2), 40),
        (["no", "yes", ""], ("no", "yes"), 40),
        (["no", "yes", "NA"], ("NA", "no", "yes"), 60),
        (["True", "False", ""], (0, 1), 40),
        (["2020-01-01", "2021-01-01", ""], ("2020-01-01", "2021-01-01"), 40),
    ],
)
def test_labels(frame, path, labels, classes, labelled):
    frame.assign(y=np.resize(labels, 60)).to_csv(path, index=False)
    dataset = data.read(path, **PATTERNS)
    assert dataset.classes == classes
    assert dataset.labelled.sum() == labelled
    assert any("'NA'" in warning for warning in dataset.warnings) == ("NA" in classes)


def test_text_in_quotes(frame, path):
    names = np.resize(["with, comma", 'with "quotes"', "of\ntwo lines"], 60)
    frame.assign(y=names).to_csv(path, index=False)
    assert data.read(path, **PATTERNS).classes == tuple(sorted(set(names.tolist())))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_names_in_every_script(frame, path, encoding):
    frame.assign(y=np.resize(["été", "冬", "зима"], 60)).rename(columns={"y": "季"}).to_csv(
        path, index=False, encoding=encoding
    )
    assert data.read(path, y="季", **PATTERNS).classes == ("été", "зима", "冬")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "lead"), [("cp1252", "in UTF-8: "), ("utf-16", "save it so: ")]
)
def test_another_encoding_is_refused_with_a_mend(frame, path, encoding, lead, separator):
    frame["y"] = np.resize(["été", "hiver"], 60)
    frame.to_csv(path, index=False, encoding=encoding, sep=separator)
    text = error_of(path)
    eval(text.partition(lead)[2].removesuffix("."), {"pathlib": pathlib, "path": path})
    assert data.read(path, **PATTERNS).classes == ("hiver", "été")


def test_decimal_commas_are_refused_with_a_mend(frame, path):
    frame.to_csv(path, index=False, sep=";", decimal=",")
    text = error_of(path)
    assert "array 'a_*' cannot be read: column 'a_0': it holds numbers with decimal commas" in text
    first = str(frame["a_0"][0]).replace(".", ",")
    assert f"({first!r} in row 0, counting from 0)" in text
    mend = text.partition("with points: ")[2].splitlines()[0].removesuffix(".")
    eval(mend, {"pandas": pd, "path": path})
    assert data.read(path, **PATTERNS).fingerprint == data.from_arrays(arrays_of(frame)).fingerprint


def test_a_single_column_is_one_feature_by_a_pattern(frame, path):
    frame.to_csv(path, index=False)
    text = error_of(path, a="a_0")
    pattern = text.partition("by a pattern, '")[2].partition("'")[0]
    assert data.read(path, a=pattern, b="b_*").a.values.shape == (60, 1)


def test_gaps_among_features_are_named(frame, path):
    frame.loc[7, "a_1"] = np.nan
    frame.to_csv(path, index=False)
    text = error_of(path)
    assert "column 'a_1' has empty cells (null; first: row 7, counting from 0)" in text


BAD = {
    "empty": (b"", "no names of columns"),
    "blank": (b"\n\n1,2\n", "no names of columns"),
    "names alone": (b"a_0,b_0,y\n", "no rows"),
    "numbers for names": (b"0.5,1,2\n1,2,3\n", "a line of names on top"),
    "a short row": (b"a_0,b_0,y\n1,2,3\n1,2\n", "Expected 3 columns, got 2"),
    "a long row": (b"a_0,b_0,y\n1,2,3\n1,2,3,4\n", "Expected 3 columns, got 4"),
    "the same name twice": (b"a_0,a_0,y\n1,2,3\n", "more than one column called 'a_0'"),
    "UTF-16": ("a_0,b_0,y\n1,2,3\n".encode("utf-16"), "no text in UTF-8"),
    "bytes": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1", "in UTF-8"),
    "zeros": (bytes(1000), "no text in UTF-8"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_no_table(path, content, words):
    path.write_bytes(content)
    text = error_of(path)
    assert words in text, text


PEAK = """
import sys, tracemalloc
import pyarrow
from tuner import data

tracemalloc.start()
try:
    data.read(sys.argv[1], a="a_*", b="b_*")
except data.DataError as error:
    print(error, file=sys.stderr)
print(tracemalloc.get_traced_memory()[1], pyarrow.default_memory_pool().max_memory())
"""


@pytest.mark.integration
def test_a_quote_that_is_never_closed_takes_little_memory(path):
    """In a process of its own: to trace one with threads, as pytest's may be, can crash it."""
    path.write_bytes(b'a_0,b_0,y\n1,2,"' + b"x" * (3 * delimited.BLOCK_BYTES))
    words = [sys.executable, "-c", PEAK, str(path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "a row is longer than 16,777,216 bytes" in told.stderr
    assert "double quote" in told.stderr
    assert max(map(int, told.stdout.split())) < 2**27


def test_arrow_reads_no_file_of_pythons(frame, path, monkeypatch):
    """Threads of it that were left reading one aborted the process at its end, or made it hang."""
    frame.to_csv(path, index=False)
    read, open_csv = [], csv.open_csv
    monkeypatch.setattr(csv, "open_csv", lambda f, **o: read.append(f) or open_csv(f, **o))
    data.read(path, **PATTERNS)
    assert {type(file) for file in read} == {pa.OSFile}


def test_a_long_name_is_refused(frame, path):
    frame.assign(y=["z" * 2000] * 60).to_csv(path, index=False)
    assert "1,000 letters" in error_of(path)


def test_a_limit_on_the_size(frame, path):
    frame.to_csv(path, index=False)
    assert "unpacks to more than the limit of 100 bytes" in error_of(path, max_bytes=100)


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_give_valid_data_or_an_error(frame, path, changes):
    content = bytearray(frame.to_csv(index=False).encode())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(data.DataError):
        assert np.isfinite(data.read(path, **PATTERNS).a.values).all()


@given(st.binary(max_size=400))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_an_error(path, content):
    path.write_bytes(content)
    with pytest.raises(data.DataError):
        data.read(path, **PATTERNS)


@pytest.mark.slow
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_is_read_as_pandas_wrote_it(path, rows):
    """A law of the kind of columns: text stays text, whatever it holds."""
    flat = [text.strip() + "x" for row in rows for text in row if "\0" not in text]
    names = ["x"] * 30 + ["yx"] * 30 + [text.replace("\r", "") for text in flat]
    frame = pd.DataFrame({"y": names})
    frame["a_0"] = frame["b_0"] = np.arange(len(names))
    frame.to_csv(path, index=False)
    with contextlib.suppress(data.DataError):
        dataset = data.read(path, task="classification", **PATTERNS)
        assert [dataset.classes[code] for code in dataset.y] == names


@pytest.mark.parametrize("cell", ["?", "-", "#DIV/0!", "1 000", "12,345.6", "5%"])
def test_the_cell_of_a_column_of_numbers_that_is_none_is_named(frame, path, cell):
    texts = frame.assign(a_1=frame["a_1"].astype(str))
    texts.loc[[17, 40], "a_1"] = cell
    texts.to_csv(path, index=False)
    told = error_of(path)
    assert f"column 'a_1', which it matches, holds {cell!r} in row 17 (counting from 0)" in told
    assert "2 of its 60 values are none" in told
    (mend,) = re.findall(r"frame\[pandas\..*?\(\)\]", told)
    kept = eval(mend, {"pandas": pd, "frame": pd.read_csv(path)})
    kept.to_csv(path, index=False)
    assert data.read(path, **PATTERNS).rows == 58


def test_of_a_column_of_names_no_cell_is_named(frame, path):
    frame.assign(a_1="n" + frame["b_0"].astype(str)).to_csv(path, index=False)
    assert "holds values of type text, where numbers are wanted" in error_of(path)


@pytest.mark.parametrize(
    "line", ["5.1,3.5,1.4,Iris-setosa", "1,1,0,1", "0.2,no,1.5", "1.2,-3e-4,7"], ids=repr
)
def test_a_line_of_values_on_top_is_no_line_of_names(path, line):
    path.write_text(f"{line}\n" * 3)
    told = error_of(path)
    assert "begins with a line of numbers, where names of columns are wanted" in told


@pytest.mark.parametrize("names", ["0,1,2,y", "a_1.5,a_2.5,b_1,y", "2020,2021,b,y"])
def test_names_that_hold_numbers_are_names(path, names):
    path.write_text(f"{names}\n" + "1,2,3,4\n" * 3)
    assert "begins with a line" not in error_of(path)


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ("# made by hand\n", "begins with the line '# made by hand'"),
        ("# a_0,", "begins with the line '# a_0,a_0,a_1"),
        ("sep=,\n", "begins with the line 'sep=,'"),
        ("Table 3: all patients\n\n", "delete what stands above the names of columns"),
    ],
)
def test_lines_above_the_names_are_to_be_deleted(frame, path, top, words):
    frame.to_csv(path, index=False)
    whole = path.read_text()
    path.write_text(top + whole)
    assert words in error_of(path)
    path.write_text(whole)
    assert data.read(path, **PATTERNS).rows == 60
