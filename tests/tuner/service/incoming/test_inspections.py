"""What is in a data set is told over REST before it is submitted, and nothing of it stays."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import numpy as np
import psutil
import pytest

from tests.support.servers import until
from tests.tuner.service.conftest import QUICK, arrays, refused
from tuner.data import read
from tuner.data.inspection import inspect
from tuner.errors import ServiceError
from tuner.pilot import pilot
from tuner.prediction.corpus import shipped
from tuner.prediction.prediction import predict
from tuner.reporting.prediction import prediction_words
from tuner.service.words import all_said, said
from tuner.settings import Settings
from tuner.study.spec import spec_from_options
from tuner.study.study import Study

pytestmark = pytest.mark.integration
DAYS = {"epochs": 1_000_000, "patience": 1_000_000, "hidden": 8}  # that a training takes


def test_a_prediction_is_what_the_command_tells(shared_service, tmp_path):
    """Of these pairs all are in the corpus' reach; a setting that is not is named as REST does."""
    rng = np.random.default_rng(2)
    latent = rng.normal(size=(900, 3))
    a, b = (latent @ rng.normal(size=(3, 12)) + rng.normal(size=(900, 12)) for _ in "ab")
    np.savez(tmp_path / "x.npz", a=a, b=b, y=latent.argmax(1))
    spec = spec_from_options({})
    expected = predict(Study.of(spec, read(tmp_path / "x.npz")), shipped())
    with shared_service.client() as client:
        told = client.predict(tmp_path / "x.npz")
        assert told.pop("words") == all_said(list(prediction_words(expected)), "rest")
        assert told == expected.model_dump(mode="json")
        assert set(told["targets"]) == {"a", "b", "joint"}
        outside = client.predict(tmp_path / "x.npz", max_lambda=9.0)
        assert outside["targets"] == {}
        assert outside["outside"] == ['"max_lambda": 9, where the corpus reaches to 4']
        assert "--" not in json.dumps(outside)
        np.savez(tmp_path / "bad.npz", **arrays() | {"a": np.full((150, 4), np.nan)})
        assert "nan" in refused(lambda: client.predict(tmp_path / "bad.npz"), 422).lower()
    assert list(shared_service.settings.uploads.iterdir()) == []


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


def test_a_plan_is_what_the_command_tells_and_nothing_of_it_stays(shared_service, tmp_path):
    path, options = tmp_path / "my pairs.npz", QUICK | {"smallest_gain": 1e-4}
    np.savez(path, **arrays())
    study = Study.of(spec_from_options(options), read(path, seed=0))
    here = pilot(study, Settings(home=tmp_path / "here")).model_dump(mode="json")
    with shared_service.client() as client:
        there = client.plan(path, **options, workers=3)
        assert list(client.list()) == []
    assert there.pop("workers") == 3
    cost, given, joint, _, _ = there.pop("words")
    assert cost.startswith("The study takes 12 trainings, about ")
    assert cost.split(" (one")[0].endswith("with 3 at a time")
    assert given == "With 2 confirming seeds and 22 labelled test rows, in 4 of 5 studies:"
    assert joint.startswith("Both (mean): a gain in accuracy of ")
    assert "--" not in joint
    for told in (here, there):
        assert told.pop("training_seconds") > 0
    del here["study"], there["study"]  # the service's has the name of the file
    assert there == here
    assert list(shared_service.settings.uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"halving": 2}, 'leave "ranks", "halving" and "nuisance" out'),
        ({"gpus": 1}, "gpus"),
        ({"a": "vision"}, "array 'vision' is missing"),
        ({"trails": 3}, "trails"),
    ],
)
def test_there_is_no_plan_of_what_a_pilot_cannot_train(shared_service, tmp_path, options, words):
    np.savez(tmp_path / "x.npz", **arrays())
    with shared_service.client() as client:
        assert words in refused(lambda: client.plan(tmp_path / "x.npz", **options), 422)


def test_a_pilot_that_takes_too_long_says_what_takes_less(shared_service, tmp_path, monkeypatch):
    monkeypatch.setattr("tuner.service.incoming.uploads._CHECK_SECONDS", 3.0)
    np.savez(tmp_path / "x.npz", **arrays())
    with shared_service.client() as client:
        told = refused(lambda: client.plan(tmp_path / "x.npz", **DAYS), 422)
    assert 'ask for fewer "epochs" or "replicates"' in told
    until(lambda: not pilots(psutil.Process()), 20.0)


def test_a_pilot_ends_with_the_connection_and_a_user_has_one(shared_service, tmp_path):
    """Whoever asked for it goes, and asks again."""
    np.savez(tmp_path / "x.npz", **arrays())
    form = {"data": {"spec": json.dumps(DAYS)}}
    form["files"] = {"file": ("x.npz", (tmp_path / "x.npz").read_bytes())}
    own = psutil.Process()
    with ThreadPoolExecutor(1) as pool, shared_service.http("grace") as http:
        asked = pool.submit(http.post, "/plans", **form, timeout=5)
        until(lambda: pilots(own))
        assert http.post("/plans", **form).status_code == 429
        with pytest.raises(httpx2.ReadTimeout):
            asked.result()
        until(lambda: not pilots(own), 20.0)
        with shared_service.client("ada") as client:
            assert client.plan(tmp_path / "x.npz", **QUICK)["trained"] == 6
    assert list(shared_service.settings.uploads.iterdir()) == []


def pilots(process):
    """Processes that train for a plan: alone of all they are nice."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [child] if child.nice() > process.nice() else []
    return found


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
