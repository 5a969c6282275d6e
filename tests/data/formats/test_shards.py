"""Folders and patterns: files whose rows follow each other are one data set."""

import fsspec
import numpy as np
import pandas as pd
import pytest

from tuner import data
from tuner.data.formats.shards import data_name
from tuner.data.inspection import inspect


def frame_of(arrays):
    return pd.DataFrame({name: list(array.tolist()) for name, array in arrays.items()})


@pytest.fixture
def frame(arrays):
    return frame_of(arrays)


@pytest.fixture
def folder(frame, tmp_path):
    """Twelve shards, which sort otherwise as text."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for part in range(12):
        frame[5 * part : 5 * part + 5].to_parquet(folder / f"part-{part}.parquet")
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.parquet.crc").write_bytes(b"x")
    (folder / "README.md").write_text("about")
    return folder


def error_of(source, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(source, **options)
    (finding,) = caught.value.findings
    return finding


@pytest.mark.parametrize("pattern", [".", "*.parquet", "part-[0-9]*.parquet", "../**/*.parquet"])
def test_shards_are_read_in_their_order(arrays, folder, pattern):
    dataset = data.read(folder / pattern)
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint
    np.testing.assert_array_equal(dataset.a.values, arrays["a"])


def test_they_are_called_as_their_folder(folder, monkeypatch):
    assert data.read(folder).name == "digits"
    assert data.read(folder / "*.parquet").name == "digits"
    monkeypatch.chdir(folder)
    assert data.read(".").name == data.read("*.parquet").name == "digits"
    assert data_name("s3://bucket/digits/*.parquet") == "digits"


def test_a_file_whose_name_looks_like_a_pattern(frame, tmp_path):
    frame.to_parquet(tmp_path / "part[1]*.parquet")
    assert data.read(tmp_path / "part[1]*.parquet").rows == 60


def test_shards_elsewhere(frame, arrays):
    for part in range(3):
        with fsspec.open(f"memory://digits/part-{part}.parquet", "wb") as file:
            frame[20 * part : 20 * part + 20].to_parquet(file)
    dataset = data.read("memory://digits/*.parquet")
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint
    assert "1,000 bytes" in error_of("memory://digits/*.parquet", max_bytes=1000)
    assert "matches no file" in error_of("memory://digits/*.csv")
    assert "cannot be downloaded" in error_of("nosuchprotocol://x/*.parquet")


def test_a_limit_on_what_all_of_them_are(frame):
    size = 0
    for part in range(3):
        with fsspec.open(f"memory://limit/part-{part}.parquet", "wb") as file:
            frame[20 * part : 20 * part + 20].to_parquet(file)
        size = fsspec.filesystem("memory").size("/limit/part-0.parquet")
    assert "larger than the limit" in error_of("memory://limit/*.parquet", max_bytes=2 * size)


def test_the_row_of_a_fault_is_counted_over_all(folder, frame):
    rows = frame[25:30].copy()
    rows.at[27, "a"] = None
    rows.to_parquet(folder / "part-5.parquet")
    assert "first: row 27, counting from 0" in error_of(folder)


def test_a_damaged_shard_is_named(folder):
    content = (folder / "part-7.parquet").read_bytes()
    (folder / "part-7.parquet").write_bytes(content[:-20])
    assert "file part-7.parquet" in error_of(folder)


@pytest.mark.parametrize("change", ["column", "type"])
def test_shards_that_do_not_belong_together(folder, frame, arrays, change, monkeypatch):
    rows = frame[55:].copy()
    rows["extra" if change == "column" else "y"] = 0.5 if change == "column" else rows["y"] * 1.0
    rows.to_parquet(folder / "part-11.parquet")
    text = error_of(folder)
    assert "part-0.parquet and part-11.parquet" in text
    assert ("'extra'" if change == "column" else "int64 in one and double") in text
    monkeypatch.chdir(folder.parent)
    files = [folder / f"part-{part}.parquet" for part in range(12)]
    advice = text.partition("columns and types: ")[2].removesuffix(".")
    eval(advice, {"pandas": pd, "files": files})
    assert data.read("all.parquet").fingerprint == data.from_arrays(arrays).fingerprint


def test_what_a_folder_may_not_be(tmp_path, frame, arrays):
    for name in ("one", "two"):
        np.savez(tmp_path / f"{name}.npz", **arrays)
    text = error_of(tmp_path)
    assert "each is a data set of its own" in text
    assert data.read(text.partition("such as ")[2].removesuffix(".")).rows == 60
    frame.to_parquet(tmp_path / "x.parquet")
    text = error_of(tmp_path)
    assert "'.npz' and '.parquet'" in text
    assert f"'{tmp_path}/*.npz'" in text


def test_data_in_the_folders_below(folder, arrays):
    text = error_of(folder.parent)
    named = text.partition("Name that, or '")[2].partition("'")[0]
    assert data.read(named).fingerprint == data.from_arrays(arrays).fingerprint
    assert data.read(text.partition("some in ")[2].partition(".")[0]).rows == 60


def test_a_pattern_that_nothing_matches(tmp_path):
    assert "matches no file" in error_of(tmp_path / "*.parquet")


def test_one_file_alone(folder, arrays):
    for source in (folder, folder / "*.parquet", "memory://digits/*.parquet"):
        assert "a service takes one" in error_of(source, alone=True)
    frame_of(arrays).to_parquet(folder / "all.parquet")
    assert data.read(folder / "all.parquet", alone=True).rows == 60


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_columns_of_a_pattern_are_stacked_in_their_order(tmp_path, arrays, order):
    columns = {f"img_{n}": arrays["a"][:, n] for n in order} | {"label": arrays["y"]}
    columns |= {f"txt {n}": 10 * n + np.arange(60) % 7 for n in range(2)}
    pd.DataFrame(columns).to_parquet(tmp_path / "wide.parquet")
    np.savez(tmp_path / "wide.npz", **columns)
    expected = {"a": arrays["a"][:, order], "y": arrays["y"]}
    expected["b"] = np.stack([columns["txt 0"], columns["txt 1"]], axis=1)
    for name in ("wide.parquet", "wide.npz"):
        dataset = data.read(tmp_path / name, a="img_*", b="txt*", y="label")
        assert dataset.fingerprint == data.from_arrays(expected).fingerprint
        assert (dataset.a.name, dataset.b.name) == ("img_*", "txt*")


def test_what_has_a_role_of_its_own_is_no_part_of_a_pattern(tmp_path, arrays):
    columns = {f"f{n}": arrays["a"][:, n] for n in range(4)} | {"fold": arrays["y"]}
    frame = pd.DataFrame(columns | {"b": list(arrays["a"])})
    frame.to_parquet(tmp_path / "x.parquet")
    assert data.read(tmp_path / "x.parquet", a="f*", y="fold").a.values.shape == (60, 4)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_a_pattern_that_takes_too_much(tmp_path, arrays, suffix):
    names = np.array(["x", "y", "z"])[arrays["y"]]
    columns = {"f1": arrays["a"][:, 0], "f2": names, "y": arrays["y"], "b1": arrays["a"][:, 0]}
    path = tmp_path / f"x.{suffix}"
    if suffix == "npz":
        np.savez(path, **columns)
    else:
        pd.DataFrame(columns).to_parquet(path)
    text = error_of(path, a="f*", b="b*")
    assert "'f2'" in text
    assert "a pattern that leaves it out" in text
    assert data.read(path, a="f[!2]", b="b*").a.values.shape == (60, 1)


def test_the_pattern_is_suggested(tmp_path, arrays):
    columns = {f"img_{n}": arrays["a"][:, n] for n in range(4)}
    columns |= {f"t{n}": arrays["a"][:, n] for n in range(4)} | {"y": arrays["y"]}
    pd.DataFrame(columns).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(data.DataError) as caught:
        data.read(tmp_path / "x.parquet")
    assert "chosen as 'img_*' and 't*'" in caught.value.findings[0]
    assert data.read(tmp_path / "x.parquet", a="img_*", b="t*").rows == 60


PARTS = {"train": slice(0, 36), "validation": slice(36, 48), "test": slice(48, 60)}
TOLD = np.repeat([0, 1, 2], [36, 12, 12])
NAMES = {
    "{}.parquet": {},
    "{}-00000-of-00001.parquet": {},
    "my.{}.csv": {"validation": "dev"},
    "{}/part-0.parquet": {"train": "training", "validation": "Val"},
    "{}_digits.tsv": {"test": "testing", "validation": "valid"},
}


def write_parts(frame, folder, name, words, parts=PARTS):
    for part, rows in parts.items():
        path = folder / name.format(words.get(part, part))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            frame[rows].to_parquet(path)
        else:
            flat = {f"{n}{i}": frame[n].str[i] for n in "a" for i in range(4)}
            flat |= {"b0": frame["b"].str[0].str[0], "y": frame["y"]}
            pd.DataFrame(flat)[rows].to_csv(
                path, index=False, sep="\t" if path.suffix == ".tsv" else ","
            )
    return folder


@pytest.mark.parametrize(("name", "words"), NAMES.items())
def test_files_that_are_named_for_splits_are_these(frame, tmp_path, name, words):
    folder = write_parts(frame, tmp_path / "test", name, words)  # the folder's own name tells not
    suffix = name.rpartition(".")[2]
    options = {} if suffix == "parquet" else {"a": "a*", "b": "b*"}
    dataset = data.read(folder / "**" / f"*.{suffix}", **options)
    order = np.argsort(dataset.split, kind="stable")  # files are read in the order of their names
    np.testing.assert_array_equal(dataset.split[order], TOLD)
    np.testing.assert_array_equal(dataset.y[order], frame["y"])
    (warning,) = dataset.warnings
    assert "(36 train, 12 validation, 12 test)" in warning
    made = data.read(folder / "**" / f"*.{suffix}", split="none", **options)
    assert np.bincount(made.split).tolist() == [42, 9, 9]
    assert made.warnings == ()


@pytest.mark.parametrize("held", ["test", "validation"])
def test_one_part_that_is_held_out_is_tested_on(make, tmp_path, held):
    frame = frame_of(make(rows=300))
    parts = {"train": slice(0, 200), held: slice(200, 300)}
    folder = write_parts(frame, tmp_path / "digits", "{}.parquet", {}, parts)
    datasets = [data.read(folder, seed=seed) for seed in (0, 1)]
    for dataset in datasets:
        assert np.bincount(dataset.split).tolist() == [170, 30, 100]
        tested = dataset.indices(data.Split.TEST)
        assert sorted(tested) == list(range(100) if held == "test" else range(200, 300))
        assert "validation rows are taken out of the training rows" in dataset.warnings[0]
    assert np.any(datasets[0].split != datasets[1].split)
    assert datasets[0].fingerprint == datasets[1].fingerprint


def test_rows_that_are_taken_for_validation_keep_groups_whole(make, tmp_path):
    group = [f"person {row // 5}" for row in range(300)]
    frame = frame_of(make(rows=300)).assign(group=group)
    parts = {"train": slice(0, 250), "test": slice(250, 300)}
    dataset = data.read(write_parts(frame, tmp_path / "x", "{}.parquet", {}, parts))
    assert all(len(set(dataset.split[dataset.group == g])) == 1 for g in range(60))
    assert (dataset.split == 1).sum() == pytest.approx(37, abs=6)


def test_a_column_of_splits_goes_before_names_of_files(frame, tmp_path):
    frame["split"] = np.resize(["train", "val", "test"], 60).tolist()
    frame["y"] = np.arange(60) // 3 % 3
    folder = write_parts(frame, tmp_path / "x", "{}.parquet", {})
    dataset = data.read(folder)
    assert np.bincount(dataset.split).tolist() == [20, 20, 20]
    assert dataset.warnings == ()
    assert np.bincount(data.read(folder, split="none").split).tolist() == [42, 9, 9]


def test_one_part_alone_is_a_data_set(frame, tmp_path):
    folder = write_parts(frame, tmp_path / "x", "{}.parquet", {})
    for source in (folder / "train.parquet", folder / "tr*.parquet"):
        assert (data.read(source).rows, data.read(source).warnings) == (36, ())


def test_files_of_which_some_are_named_for_splits(frame, tmp_path):
    parts = {"extra": slice(0, 30), "test": slice(30, 60)}
    dataset = data.read(write_parts(frame, tmp_path / "x", "{}.parquet", {}, parts))
    assert np.bincount(dataset.split).tolist() == [42, 9, 9]
    (warning,) = dataset.warnings
    assert "(test.parquet)" in warning
    assert "(extra.parquet)" in warning


def test_the_split_by_names_of_files_is_shown(frame, tmp_path):
    found = inspect(write_parts(frame, tmp_path / "x", "{}.parquet", {}))
    uses = {array.name: array.use for array in found.arrays}
    assert uses == {"a": "A", "b": "B", "y": "label", "split (by file names)": "split"}
    assert found.reading["split"].endswith("says: 36 train, 12 validation, 12 test")
