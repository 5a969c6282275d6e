"""What is in a data set is told over REST before it is submitted, and nothing of it stays."""

import errno
import json

import numpy as np
import pytest

from tests.tuner.service.conftest import arrays
from tuner.data.inspection import inspect
from tuner.errors import ServiceError
from tuner.service.words import all_said, said

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("change", "options", "fields", "words"),
    [
        ({}, {"seed": 3}, [], "rest"),
        ({"who": np.arange(150) // 3, "note": np.full(150, "x")}, {"group": "who"}, [], "page"),
        ({"a": np.full((150, 4), np.nan)}, {}, ["a"], "rest"),
        ({}, {"a": "vision", "trials": 9}, ["a"], "page"),
        ({"group": np.arange(150) // 3}, {"split": "z"}, ["split"], "rest"),
    ],
    ids=["good", "groups", "faulty", "missing", "no split"],
)
def test_it_is_what_the_command_tells(shared_service, tmp_path, change, options, fields, words):
    """But for the names of options, which are those of who asks."""
    service, path = shared_service, tmp_path / "my pairs.npz"
    np.savez(path, **arrays() | change)
    here = inspect(path, **{name: value for name, value in options.items() if name != "trials"})
    expected = json.loads(json.dumps(here.as_dict())) | {"source": "my pairs.npz"}
    for part in ("errors", "warnings"):
        expected[part] = all_said(expected[part], words)
    expected["reading"] = {part: said(text, words) for part, text in expected["reading"].items()}
    with service.client() as client:
        told = client._send_data(f"/inspections?words={words}", path, options, {})
    findings, cost = told.pop("findings"), told.pop("cost")
    assert told == expected
    assert "--" not in json.dumps(told)
    errors = [each for each in findings if each["severity"] == "error"]
    assert [each["field"] for each in errors] == fields
    assert [each["text"] for each in findings] == told["errors"] + told["warnings"]
    assert (cost is None) == (not told["valid"])
    if cost is not None:
        trainings = 8 * 4 + 2 * 16
        assert (cost["trainings"], cost["workers"] > 0) == (trainings, True)
        assert cost["steps"] == trainings * 100 * 1
        assert 20 < cost["seconds"] < 600
    assert list(service.settings.uploads.iterdir()) == []
    with service.client() as client:
        assert list(client.list()) == []


def test_what_no_study_can_be_made_of_is_said_beside_its_option(shared_service, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays())
    with shared_service.client() as client:
        told = client.inspect(tmp_path / "x.npz", metric="r2")
        (finding,) = told["findings"]
        assert (finding["field"], finding["severity"]) == ("metric", "error")
        assert told["errors"] == [finding["text"]]
        assert (told["valid"], told["cost"]) == (False, None)


def test_examples_are_inspected_and_other_places_are_not(shared_service):
    with shared_service.client() as client:
        assert client.inspect("mfeat")["reading"]["A"] == "fou: 2,000 rows of 76 features"
        for data, options, words in (
            ("/nowhere/passwd", {}, "this service reads"),
            ("mfeat", {"trails": 3}, "trails"),
            ("mfeat", {"missing": 3}, "missing"),
        ):
            with pytest.raises(ServiceError) as caught:
                client.inspect(data, **options)
            assert caught.value.status == 422
            assert words in str(caught.value)


@pytest.mark.parametrize("where", ["starlette.datastructures.UploadFile", "anyio.AsyncFile"])
def test_a_full_disk_is_said_and_nothing_of_the_file_stays(
    shared_service, tmp_path, monkeypatch, where
):
    """While the body is received, and while it is put where uploads are."""

    async def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    np.savez(tmp_path / "x.npz", **arrays())
    monkeypatch.setattr(f"{where}.write", full)
    with shared_service.http() as http:
        files = {"file": ("x.npz", (tmp_path / "x.npz").read_bytes())}
        for path in ("/inspections", "/studies"):
            answer = http.post(path, files=files)
            assert answer.status_code == 507
            assert "no room left" in answer.json()["detail"]
            assert "/" not in answer.json()["detail"]
    assert list(shared_service.settings.uploads.iterdir()) == []
