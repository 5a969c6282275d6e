"""What comes in is kept by its content, and checked by this program's own code alone."""

import asyncio
import io
import resource
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import UploadFile

from tests.tuner.service.conftest import QUICK, arrays
from tuner.data import from_arrays
from tuner.errors import SubmissionError
from tuner.service.incoming.uploads import Checker, SentData, clear_incoming, is_under, received
from tuner.service.launcher import launcher
from tuner.settings import Settings


@pytest.fixture
def hostile_folder(tmp_path, monkeypatch):
    """A working directory whose files have the names of modules that the service loads."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in ("tuner", "numpy", "pydantic", "data", "service"):
        (folder / f"{name}.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.integration
@pytest.mark.usefixtures("hostile_folder")
def test_a_check_loads_nothing_from_the_working_directory(data):
    study = asyncio.run(Checker().look("check", SentData(str(data("x.npz")), QUICK, "x")))
    assert study["fingerprint"] == from_arrays(arrays(), name="x").fingerprint


@pytest.mark.integration
@pytest.mark.usefixtures("hostile_folder")
def test_a_driver_loads_nothing_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    settings = Settings()
    driver = launcher(settings)("s1")
    assert driver.wait(60) == 1
    assert "there is no submitted study s1" in (settings.folder / "logs" / "s1.log").read_text()


@pytest.mark.integration
def test_all_that_is_wrong_comes_with_the_error(data):
    wrong = QUICK | {"trials": 1, "trails": 2}
    with pytest.raises(SubmissionError) as caught:
        asyncio.run(Checker().look("check", SentData(str(data()), wrong, None)))
    assert caught.value.findings == [
        "trials: Input should be greater than or equal to 3",
        "trails: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://data/a.npz", True),
        ("s3://data/deep/a.npz", True),
        ("https://hooks.example/tuner/x", True),
        ("s3://data-of-others/a.npz", False),
        ("s3://data", False),
        ("s3://data/../secret/a.npz", False),
        ("s3://data/%2e%2e/secret", False),
        ("s3://data/%252e%252e/secret", False),
        ("s3://data/..\\secret", False),
        ("https://hooks.example.evil.com/tuner/", False),
        ("https://hooks.example@evil.com/tuner/", False),
        ("https://hooks.example/other", False),
    ],
)
def test_only_what_lies_under_a_prefix_is_allowed(uri: str, allowed: bool) -> None:
    assert is_under(uri, "s3://data, https://hooks.example/tuner/") is allowed
    assert not is_under(uri, "")


@pytest.mark.integration
def test_a_small_file_that_grows_is_bounded_in_memory(tmp_path):
    """One row of 60 million values, which compress to a kilobyte: 6 GB once it is read."""
    values = pa.array(np.zeros(60_000_000))
    row = pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)
    table = pa.table({"a": row, "b": pa.array([[1.0, 2.0]]), "y": pa.array([1])})
    path = tmp_path / "row.parquet"
    pq.write_table(table, path, compression="zstd")
    del values, row, table
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for task in ("check", "inspect"):
        with suppress(SubmissionError):
            asyncio.run(Checker().look(task, SentData(str(path), {}, "row")))
    grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before
    assert grown < 2 * 2**20  # KiB


@pytest.mark.integration
def test_what_a_killed_service_was_receiving_is_removed_and_what_another_is_stays(tmp_path):
    settings = Settings(home=tmp_path)
    left = settings.uploads / "incoming-left.npz"
    left.write_bytes(b"half")
    kept = settings.uploads / f"{'f' * 64}.npz"
    kept.write_bytes(b"whole")

    async def scene():
        sent = UploadFile(io.BytesIO(b"part"), filename="x.npz")
        async with received(sent, settings) as path:
            clear_incoming(settings)
            return path.read_bytes()

    assert asyncio.run(scene()) == b"part"
    assert list(settings.uploads.iterdir()) == [kept]
