"""The front door: examples, paths, URIs and names."""

import subprocess
import sys

import fsspec
import numpy as np
import pandas as pd
import pytest

from tuner import data
from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.sources import file_name, is_uri
from tuner.data.readers import safe_name


def error_of(source, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(source, **options)
    return str(caught.value)


def test_the_example():
    dataset = data.read("mfeat")
    assert (dataset.name, dataset.rows, dataset.task) == ("mfeat", 2000, "classification")
    assert (dataset.a.name, dataset.b.name) == ("fou", "kar")
    assert (dataset.a.values.shape, dataset.b.values.shape) == ((2000, 76), (2000, 64))
    assert dataset.classes == tuple(range(10))
    assert np.bincount(dataset.split).tolist() == [1400, 300, 300]
    for digit in range(10):
        assert np.bincount(dataset.split[dataset.y == digit]).tolist() == [140, 30, 30]
    assert dataset.warnings == ()


@pytest.mark.parametrize("name", ["fac", "mor", "pix", "zer"])
def test_any_view_of_the_example(name):
    assert data.read("mfeat", a=name).a.name == name


def test_the_split_of_an_example_can_be_left_out():
    told, made = data.read("mfeat-few"), data.read("mfeat-few", split="none")
    assert told.has_own_split
    assert not made.has_own_split
    few = np.load(EXAMPLES["mfeat-few"].path)["few"]
    assert made.fingerprint == data.read("mfeat", y="few").fingerprint
    assert (made.labelled == (few >= 0)).all()
    assert np.bincount(made.split[made.labelled]).tolist() == [672, 144, 144]


def test_the_example_says_where_it_comes_from():
    text = EXAMPLES["mfeat"].path.with_suffix(".txt").read_text()
    for words in ("Duin", "UCI Machine Learning Repository", "10.24432/C5HC70", "CC BY 4.0"):
        assert words in text


def test_every_way_to_name_a_file(arrays, tmp_path):
    path = tmp_path / "Day 3 (b).npz"
    np.savez(path, **arrays)
    with fsspec.open("memory://folder/day3.npz", "wb") as file:
        file.write(path.read_bytes())
    sources = (path, str(path), f"file://{path}", "memory://folder/day3.npz")
    datasets = [data.read(source) for source in sources]
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    assert [dataset.name for dataset in datasets] == ["day-3-b", "day-3-b", "day-3-b", "day3"]
    assert data.read(path, name="Pilot!").name == "pilot"


def test_what_cannot_be_opened(arrays, tmp_path):
    np.savez(tmp_path / "study.npz", **arrays)
    (tmp_path / "study.txt").touch()
    (tmp_path / "empty").mkdir()
    assert "Did you mean 'study.npz'?" in error_of(tmp_path / "studi.npz")
    assert "shipped examples are mfeat" in error_of(tmp_path / "other")
    assert "Did you mean 'mfeat'?" in error_of("mfaet")
    assert "is a folder without data in it" in error_of(tmp_path / "empty")
    assert "has the suffix '.txt'" in error_of(tmp_path / "study.txt")
    assert "does not exist" in error_of("memory://nowhere.npz")
    assert "cannot be downloaded" in error_of("nosuchprotocol://host/x.npz")
    assert "does not exist" in error_of("a\0b.npz")


def test_a_download_stops_at_the_limit(arrays, tmp_path):
    with fsspec.open("memory://large.npz", "wb") as file:
        file.write(bytes(5 * 2**20))
    assert "is larger than the limit of 1,000 bytes" in error_of(
        "memory://large.npz", max_bytes=1000
    )


@pytest.mark.parametrize(
    ("source", "uri", "name"),
    [
        ("s3://bucket/x.npz", True, "x.npz"),
        ("https://host/x.npz?sig=a/b.c", True, "x.npz"),
        ("simplecache::s3://bucket/x.parquet", True, "x.parquet"),
        ("folder/x.npz", False, "x.npz"),
        ("C:/folder/x.npz", False, "x.npz"),
    ],
)
def test_paths_and_addresses(source, uri, name):
    assert is_uri(source) is uri
    assert str(file_name(source)) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Day 3 (b)", "day-3-b"),
        ("a_b-c", "a_b-c"),
        ("<arrays>", "arrays"),
        ("///", "data"),
        ("Été", "été"),
        ("e\u0301te\u0301", "été"),  # the same letters in two parts each
        ("日本語", "日本語"),
        ("हिन्दी 2", "हिन्दी-2"),
        ("x" * 63 + " y", "x" * 63),
        ("🎉", "party-popper"),
        ("😀 v2", "grinning-face-v2"),
        ("❤️", "heavy-black-heart"),
        ("data😀🎉", "data-grinning-face-party-popper"),
    ],
)
def test_names_are_safe(name, safe):
    assert safe_name(name) == safe


@pytest.mark.integration
def test_importing_the_package_imports_no_reader():
    code = "import tuner.data, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pyarrow", "sklearn", "fsspec", "pandas", "scipy", "torch"}
    assert not heavy & set(run.stdout.split())


def test_what_is_being_read_is_told(arrays, tmp_path):
    frame = pd.DataFrame({name: array.tolist() for name, array in arrays.items()})
    frame.to_parquet(tmp_path / "study.parquet")
    steps = []
    data.read(tmp_path / "study.parquet", on_step=steps.append)
    assert steps == [
        line for name in "aby" for line in (f"reading {name}", f"reading {name}: row 60 of 60")
    ] + [
        "checking it",
        "looking for copies in a: row 0 of 60",
        "looking for copies in b: row 0 of 60",
        "fingerprint of a: row 0 of 60",
        "fingerprint of b: row 0 of 60",
    ]


def test_how_much_is_read_of_a_large_array_is_told(tmp_path):
    a, y = np.arange(5_000_000, dtype=np.float32).reshape(-1, 50), np.arange(100_000) % 2
    np.savez(tmp_path / "study.npz", a=a, b=a[::-1], y=y)
    steps = []
    data.read(tmp_path / "study.npz", on_step=steps.append)
    shares = [step.split() for step in steps if step.startswith("reading a: ")]
    assert [int(done) for _, _, done, *_ in shares] == sorted(
        int(done) for _, _, done, *_ in shares
    )
    assert len(shares) == 20  # a mebibyte each
    assert shares[-1][2:] == ["20", "of", "20", "MB"]
    rows = [step for step in steps if step.startswith("looking for copies in b: row ")]
    assert len(rows) == 5  # 2**20 values each
    assert rows[1] == "looking for copies in b: row 20,971 of 100,000"


def test_the_columns_of_a_frame_are_arrays(arrays):
    frame = pd.DataFrame({name: array.tolist() for name, array in arrays.items()})
    assert data.from_arrays(dict(frame.items())).fingerprint == data.from_arrays(arrays).fingerprint
    frame["a"] = [np.asarray(row) for row in frame["a"]]
    assert data.from_arrays(dict(frame.items())).fingerprint == data.from_arrays(arrays).fingerprint
    frame.at[7, "a"] = [1.0, 2.0]
    with pytest.raises(data.DataError, match="'a' holds Python objects"):
        data.from_arrays(dict(frame.items()))


def test_a_tensor_that_is_no_array_is_named_with_how_to_make_it_one(arrays):
    torch = pytest.importorskip("torch")
    a = torch.tensor(arrays["a"])
    for tensor in (a.bfloat16(), a.clone().requires_grad_()):
        with pytest.raises(data.DataError, match=r"Give a\.detach\(\)\.cpu\(\)\.float\(\)\.numpy"):
            data.from_arrays(arrays | {"a": tensor})
        data.from_arrays(arrays | {"a": tensor.detach().cpu().float().numpy()})
