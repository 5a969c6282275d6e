"""Networks that do not stand for themselves are refused, with a sentence; those that do pass."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from tests.tuner.conftest import make_study
from tuner.errors import EncoderNotKeptError
from tuner.models.export import portable_encoder
from tuner.tracking.registered.encoder_model import example_rows, export_network
from tuner.tracking.registered.verification import NetworkProcess, verify_network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]


class Wrapped(nn.Module):
    """A trained encoder, of which one thing is changed."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.padded = False


class OfItsBatch(Wrapped):
    def forward(self, x):
        return self.encoder(x - x.mean(0))


class Dropping(Wrapped):
    def forward(self, x):
        return self.encoder(nn.functional.dropout(x, 0.5, training=True))


class Branching(Wrapped):
    def forward(self, x):
        return self.encoder(x if x.sum() > 0 else -x)


@pytest.fixture(params=["classification", "regression"])
def trained(request):
    """A study, the outcome of a confirmation, and the encoder of A of it."""
    small = request.getfixturevalue(request.param)
    outcome = small.finished[-1].outcome
    config = small.finished[-1].request.training(small.study.training)
    encoder = portable_encoder(outcome, small.study.data, config, modality="a")
    return small.study.dataset, outcome, encoder


@pytest.fixture(scope="module")
def process():
    with NetworkProcess() as process:
        yield process


@pytest.fixture
def verify(process, tmp_path):
    def verify(dataset, outcome, encoder):
        network = export_network(tmp_path / "network", encoder, example_rows(dataset, "a"), "a")
        verify_network(network, dataset, outcome, "a", process)

    return verify


def test_what_was_trained_passes(trained, verify):
    verify(*trained)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_was_trained_in_bfloat16_passes(task, verify):
    small = make_study(task, settings=(("precision", "bfloat16"),))
    confirmed = small.finished[-1]
    config = confirmed.request.training(small.study.training)
    assert config.precision == "bfloat16"
    encoder = portable_encoder(confirmed.outcome, small.study.data, config, modality="a")
    verify(small.study.dataset, confirmed.outcome, encoder)


@pytest.mark.parametrize("change", [OfItsBatch, Dropping])
def test_what_answers_otherwise_is_refused(trained, verify, change):
    dataset, outcome, encoder = trained
    with pytest.raises(EncoderNotKeptError, match=r"^The encoder of A is not registered: "):
        verify(dataset, outcome, change(encoder))


def test_other_weights_are_refused(trained, verify):
    dataset, outcome, encoder = trained
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(-1)
    with pytest.raises(EncoderNotKeptError, match="otherwise than in training"):
        verify(dataset, outcome, encoder)


def test_a_row_that_is_answered_otherwise_alone_is_refused(trained, verify):
    """Measured predictions are those of the changed network here: only the batch tells."""
    dataset, outcome, encoder = trained
    changed = OfItsBatch(encoder)
    rows = dataset.indices(2, labelled_only=True)
    with torch.no_grad():
        answers = changed(torch.from_numpy(dataset.a.values[rows].copy()))[1].numpy()
    codes = answers.argmax(-1) if dataset.classes is not None else answers
    predictions = {side: p.copy() for side, p in outcome.test_predictions.items()}
    predictions["a"][outcome.best_replicate("a")] = codes
    with pytest.raises(EncoderNotKeptError, match="answers a row alone otherwise"):
        verify(dataset, dataclasses.replace(outcome, test_predictions=predictions), changed)


def test_what_cannot_be_traced_is_refused(trained, tmp_path):
    dataset, _, encoder = trained
    with pytest.raises(EncoderNotKeptError, match=r"torch\.export cannot trace its network"):
        export_network(tmp_path / "network", Branching(encoder), example_rows(dataset, "a"), "a")


def test_a_file_that_is_no_network_is_refused(trained, process, tmp_path):
    dataset, outcome, _ = trained
    (tmp_path / "model.pt2").write_bytes(b"nothing")
    with pytest.raises(EncoderNotKeptError, match=r"cannot be used in another process: [\w.]+: "):
        verify_network(tmp_path / "model.pt2", dataset, outcome, "a", process)


def test_a_process_that_died_costs_one_network_and_the_next_has_another(trained, process, tmp_path):
    dataset, outcome, encoder = trained
    network = export_network(tmp_path / "network", encoder, example_rows(dataset, "a"), "a")
    verify_network(network, dataset, outcome, "a", process)
    process._process.kill()
    with pytest.raises(EncoderNotKeptError, match="cannot be used in another process: exit code"):
        verify_network(network, dataset, outcome, "a", process)
    verify_network(network, dataset, outcome, "a", process)


def test_padded_steps_are_given_as_nan():
    from tuner.data import from_arrays
    from tuner.tracking.registered.verification import raw_rows

    rng = np.random.default_rng(0)
    a, mask = rng.normal(size=(60, 3, 2)), np.ones((60, 3), bool)
    mask[:, 2] = False
    y = np.arange(60) % 2
    dataset = from_arrays({"a": a, "a_mask": mask, "b": rng.normal(size=(60, 2)), "y": y})
    rows = raw_rows(dataset, "a", np.array([4, 7]))
    np.testing.assert_array_equal(rows[:, :2], a[[4, 7], :2].astype("f4"))
    assert np.isnan(rows[:, 2]).all()
