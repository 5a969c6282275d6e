"""Data sets on an S3-speaking server, for services and drivers on many machines."""

import pickle

import numpy as np
import pytest
import torch

from tests.tuner.service.conftest import QUICK, Service, arrays
from tests.tuner.storage.test_studies import trial
from tuner.data import read
from tuner.models.training.checkpoint import Checkpoint
from tuner.service.processes.driver import _answering
from tuner.settings import Settings
from tuner.storage.weights import WeightFiles, WeightStore
from tuner.study.spec import spec_from_options
from tuner.study.study import read_dataset

pytestmark = pytest.mark.integration


def keys(s3):
    return [each["Key"] for each in s3.list_objects_v2(Bucket="shared").get("Contents", [])]


def test_what_is_submitted_is_kept_in_a_store_that_all_reach(s3, tmp_path, data):
    service = Service(Settings(home=tmp_path / "home", tuner_uploads="s3://shared/uploads/"))
    try:
        with service.client() as client:
            study = client.submit(data(), **QUICK)
            assert keys(s3) == [f"uploads/{study['fingerprint']}.npz"]
            assert list(service.settings.uploads.iterdir()) == []
            row = service.store.get(study["study"])
            again = read_dataset(spec_from_options(QUICK), row.source, row.name)
            assert again.fingerprint == study["fingerprint"]
            answering = _answering(row, service.settings, service.store)
            reads = answering.keywords["read"]  # on any machine
            assert pickle.loads(pickle.dumps(reads))().fingerprint == study["fingerprint"]
            client.delete(study["id"])
            assert keys(s3) == []
    finally:
        service.stop()


def test_a_folder_may_be_shared_instead(tmp_path, data):
    shared = tmp_path / "shared"
    service = Service(Settings(home=tmp_path / "home", tuner_uploads=str(shared)))
    try:
        with service.client() as client:
            study = client.submit(data(), **QUICK)
            (kept,) = shared.iterdir()
            assert service.store.get(study["study"]).source == str(kept)
    finally:
        service.stop()


def test_checkpoints_are_kept_there_too(s3):
    checkpoint = Checkpoint("s3://shared/checkpoints/s1/search-0")
    assert checkpoint.load(0) is None
    checkpoint.save(0, {"epoch": 1})
    checkpoint.save(0, {"epoch": 2, "values": torch.arange(3)})
    assert keys(s3) == ["checkpoints/s1/search-0/part-0.pt"]
    state = checkpoint.load(0)
    assert (state["epoch"], state["values"].tolist()) == (2, [0, 1, 2])
    checkpoint.remove()
    assert keys(s3) == []


def test_weights_are_kept_there_until_their_study_is_deleted(s3, tmp_path, data):
    checkpoints = "s3://shared/checkpoints"
    service = Service(Settings(home=tmp_path / "home", tuner_checkpoints=checkpoints))
    try:
        weights = WeightStore(service.database, service.settings.weights)
        with service.client() as client:
            submitted = client.submit(data(), **QUICK)
            study = submitted["study"]
            kept = weights.keep(study, trial(0, phase="confirm"))
            service.store.record(study, weights.keep(study, trial(0, phase="confirm")))
            assert keys(s3) == [f"checkpoints/weights/{kept.weights.digests['a']}"]
            loaded = WeightFiles(service.settings.weights).load(kept, "b")
            np.testing.assert_equal(loaded, trial(0, phase="confirm").outcome.weights["b"])
            client.delete(submitted["id"])
            assert keys(s3) == []
    finally:
        service.stop()


def test_a_service_reads_data_from_where_it_may(s3, tmp_path, data, monkeypatch):
    monkeypatch.setenv("TUNER_ALLOWED_SOURCES", "s3://shared/sets")  # for what checks it
    s3.upload_file(str(data("pairs.npz")), "shared", "sets/pairs.npz")
    assert read("s3://shared/sets/pairs.npz").rows == len(arrays()["y"])
    service = Service(Settings(home=tmp_path / "home", allowed_sources="s3://shared/sets"))
    try:
        with service.client() as client:
            assert client.submit("s3://shared/sets/pairs.npz", **QUICK)["name"] == "pairs"
    finally:
        service.stop()
