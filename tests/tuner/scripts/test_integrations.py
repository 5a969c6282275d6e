"""Reports from training loops of others: what they call, in the order in which they call it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import ScriptError
from tuner.scripts.integrations.batches import woven
from tuner.scripts.integrations.lightning import LightningReports, tuner_callback
from tuner.scripts.integrations.transformers import TransformersReports, report_from
from tuner.scripts.scores import read_scores
from tuner.scripts.trial import Trial

VALIDATION, TEST = np.arange(10) % 2, np.arange(6) % 3


@given(rows=st.integers(1, 40), processes=st.integers(1, 5))
def test_rows_that_were_dealt_to_processes_come_in_their_order(rows, processes):
    """As `torch.utils.data.DistributedSampler` deals them: in turn, some twice at the end."""
    whole = np.arange(rows)
    dealt = np.resize(whole, -(-rows // processes) * processes)
    parts = [{"acc": dealt[process::processes]} for process in range(processes)]
    assert np.array_equal(woven(parts, rows)["acc"], whole)


def test_rows_with_ids_need_no_order():
    parts = [
        {"acc": np.array([5.0, 1.0]), "row_id": np.array([5, 1])},
        {"acc": np.array([3.0, 1.0, 0.0]), "row_id": np.array([3, 1, 0])},
    ]
    joined = woven(parts, None)
    assert joined["row_id"].tolist() == joined["acc"].tolist() == [0, 1, 3, 5]
    with pytest.raises(ScriptError, match="tell row_id, too"):
        woven([{"acc": part["acc"]} for part in parts], None)


def batches(scores):
    return [{"acc": scores[:4], "logits": None}, {"acc": scores[4:], "logits": None}]


def fit(callback, *, sanity_checking=False, scores=VALIDATION):
    """Call what Lightning's loops call."""
    trainer = SimpleNamespace(
        sanity_checking=sanity_checking,
        val_dataloaders=SimpleNamespace(dataset=VALIDATION),
        test_dataloaders=[SimpleNamespace(dataset=TEST)],
        callback_metrics={"val_loss": np.float32(0.5)},
    )
    callback.on_validation_epoch_start(trainer, None)
    for number, outputs in enumerate(batches(scores)):
        callback.on_validation_batch_end(trainer, None, outputs, None, number)
    callback.on_validation_batch_end(trainer, None, {}, None, 0, 1)  # of another loader
    callback.on_validation_end(trainer, None)
    return trainer


@pytest.mark.parametrize("confirming", [False, True])
def test_the_last_validation_of_a_lightning_trainer_is_reported(tmp_path, confirming):
    trial = Trial(strength=0.1, seed=1, confirming=confirming, folder=tmp_path)
    callback = LightningReports(trial, ("acc",))
    fit(callback, sanity_checking=True)
    assert not any(tmp_path.iterdir())
    fit(callback, scores=1 - VALIDATION)
    trainer = fit(callback)
    callback.on_test_epoch_start(trainer, None)
    for number, outputs in enumerate(batches(TEST)):
        callback.on_test_batch_end(trainer, None, outputs, None, number)
    callback.on_test_end(trainer, None)
    validation, test = read_scores(tmp_path, confirming=confirming)
    assert np.array_equal(validation.scores["acc"], VALIDATION)
    assert (test is not None) == confirming
    if test is not None:
        assert np.array_equal(test.scores["acc"], TEST)
    assert (tmp_path / "epochs.jsonl").read_text() == '{"val_loss": 0.5}\n' * 2


def test_a_step_that_returns_no_scores_is_told_what_to_return(tmp_path):
    callback = LightningReports(Trial(strength=0.1, seed=1, folder=tmp_path), ("f1",))
    with pytest.raises(ScriptError, match="validation_step has to return a dictionary with 'f1'"):
        fit(callback)


def test_lightning_is_never_imported_by_this_package(monkeypatch):
    for package in ("lightning.pytorch", "pytorch_lightning"):  # as by MLflow
        monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(ScriptError, match=r"import lightning\.pytorch before"):
        tuner_callback("acc")


class Trainer:
    """What `transformers.Trainer` does with its callbacks and with what computes its metrics."""

    compute_metrics = None

    def __init__(self):
        from transformers.trainer_callback import CallbackHandler

        self.handler = CallbackHandler([], None, None, None, None)
        self.add_callback = self.handler.add_callback

    def evaluate(self, rows, prefix="eval"):
        metrics = self.compute_metrics(rows) if self.compute_metrics else {}
        named = {f"{prefix}_{name}": value for name, value in metrics.items()}
        self.handler.on_evaluate(None, None, SimpleNamespace(should_evaluate=True), named)
        return metrics

    def predict(self, rows):
        metrics = self.compute_metrics(rows)
        self.handler.on_predict(None, None, None, metrics)


@pytest.mark.slow  # it imports transformers
@pytest.mark.filterwarnings("ignore")
def test_the_last_evaluation_of_a_hugging_face_trainer_is_reported(tmp_path, monkeypatch):
    import transformers

    assert transformers.TrainerCallback
    trainer = Trainer()
    report_from(trainer, acc=lambda rows: rows)
    assert trainer.compute_metrics is None  # outside of a study
    trial = Trial(strength=0.1, seed=1, confirming=True, folder=tmp_path)
    for name, value in trial.to_environment().items():
        monkeypatch.setenv(name, value)
    trainer.compute_metrics = lambda rows: {"sum": int(rows.sum())}
    report_from(trainer, acc=lambda rows: rows)
    trainer.evaluate(1 - VALIDATION)
    assert trainer.evaluate(VALIDATION) == {"sum": 5}
    trainer.predict(TEST)
    validation, test = read_scores(tmp_path, confirming=True)
    assert np.array_equal(validation.scores["acc"], VALIDATION)
    assert np.array_equal(test.scores["acc"], TEST)
    trainer.evaluate(TEST[::-1], prefix="test")
    assert np.array_equal(read_scores(tmp_path, confirming=True)[1].scores["acc"], TEST[::-1])
    assert (tmp_path / "epochs.jsonl").read_text() == '{"eval_sum": 5.0}\n' * 2


def test_test_rows_are_left_outside_of_confirmations(tmp_path):
    trial = Trial(strength=0.1, seed=1, folder=tmp_path)
    reports = TransformersReports(trial, {"acc": lambda rows: rows}, None)
    reports.compute_metrics(VALIDATION)
    reports.evaluated({})
    reports.compute_metrics(TEST)
    reports.predicted({})
    assert np.array_equal(read_scores(tmp_path, confirming=False)[0].scores["acc"], VALIDATION)
