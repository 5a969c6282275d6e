"""Encoders of every kind, written as MLflow models and used in a process without this project."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.models.encoders.test_pair import OWN, with_kind, world
from tests.support.elsewhere import predict_elsewhere
from tuner.data import Split
from tuner.models.encoders.kinds import resolve
from tuner.models.export import portable_encoder
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train
from tuner.tracking.encoder_model import export_network, save_encoder

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]
KINDS = ("transformer", "cnn", "vit", "logmel-transformer", "logmel-cnn", f"{OWN}:Pooling")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What a fresh process answers to raw test rows, and what training answered, per kind."""
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
        export_network(network, encoder, dataset, "a")
        save_encoder(folders[-1], network, encoder, dataset, "a", logged)
        rows = dataset.a.values[dataset.indices(Split.TEST)].copy()
        if dataset.a.mask is not None:
            rows[~dataset.a.mask[dataset.indices(Split.TEST)]] = np.nan
        np.save(folders[-1] / "rows.npy", rows)
    answers = predict_elsewhere(list(map(str, folders)), tmp_path_factory.mktemp("elsewhere"))
    return dict(zip(KINDS, zip(answers, expected, strict=True), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_process_predicts_what_training_did(answers, kind):
    answer, expected = answers[kind]
    np.testing.assert_array_equal(answer["prediction"], expected)
    assert answer["embedding"].shape == (len(expected), 6)
    np.testing.assert_allclose(answer["probability"].sum(1), 1, rtol=1e-5)
