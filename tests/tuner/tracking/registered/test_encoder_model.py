"""Encoders of every kind, written as MLflow models and used in a process without this project."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest

from tests.models.encoders.test_pair import OWN, with_kind, world
from tests.support.elsewhere import predict_elsewhere
from tuner.data import Split
from tuner.models.encoders.kinds import resolve
from tuner.models.export import portable_encoder
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train
from tuner.tracking.registered.encoder_model import example_rows, export_network, save_encoder

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]
KINDS = ("transformer", "cnn", "vit", "logmel-transformer", "logmel-cnn", f"{OWN}:Pooling")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model per kind with raw test rows beside it, and what training answered to them."""
    folders, expected = [], []
    for kind in KINDS:
        dataset = world(kind)
        data = TrainingData.of(dataset)
        test_rows = data.scaling.rows(dataset, Split.TEST)
        config = resolve(with_kind(kind), data.shapes, data.train.count)
        outcome = train(data, config, strength=0.5, seeds=[1], test=test_rows)
        expected.append(outcome.test_predictions["a"][0])
        folders.append(tmp_path_factory.mktemp("kind") / "model")
        encoder = portable_encoder(outcome, data, config, modality="a")
        logged = SimpleNamespace(artifact_location="x", source_run_id="1" * 32, model_id="m-1")
        network = folders[-1].with_name(f"{folders[-1].name}-network")
        export_network(network, encoder, example_rows(dataset, "a"), "a")
        save_encoder(folders[-1], network, encoder, dataset, "a", logged)
        rows = dataset.a.values[dataset.indices(Split.TEST)].copy()
        if dataset.a.mask is not None:
            rows[~dataset.a.mask[dataset.indices(Split.TEST)]] = np.nan
        np.save(folders[-1] / "rows.npy", rows)
    return dict(zip(KINDS, zip(folders, expected, strict=True), strict=True))


@pytest.fixture(scope="module")
def answers(models, tmp_path_factory):
    """What a fresh process answers, per kind."""
    folders = [str(folder) for folder, _ in models.values()]
    answers = predict_elsewhere(folders, tmp_path_factory.mktemp("elsewhere"))
    return dict(zip(KINDS, answers, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_process_predicts_what_training_did(models, answers, kind):
    answer, (_, expected) = answers[kind], models[kind]
    np.testing.assert_array_equal(answer["prediction"], expected)
    assert answer["embedding"].shape == (len(expected), 6)
    np.testing.assert_allclose(answer["probability"].sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_tell_of_the_machine_that_made_it(models, kind):
    folder = models[kind][0]
    with ZipFile(next(folder.rglob("*.pt2"))) as program:
        files = {name: program.read(name) for name in program.namelist()}
    written = [path for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".pyc"]
    files |= {str(path): path.read_bytes() for path in [*written, *folder.rglob("MLmodel")]}
    places = (tempfile.gettempdir(), sys.prefix, str(Path(__file__).parents[3]))
    for name, content in files.items():
        for place in places:
            assert place.encode() not in content, name
