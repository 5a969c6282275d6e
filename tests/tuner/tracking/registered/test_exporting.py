"""A process that exports encoders: as this one would, and whatever becomes of it."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.encoders.test_pair import TINY
from tuner.data import from_arrays
from tuner.errors import EncoderNotKeptError
from tuner.execution.helper import HelperProcess, ProcessDiedError
from tuner.models.encoders.kinds import resolve
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train
from tuner.tracking.registered.encoder_model import example_rows
from tuner.tracking.registered.exporting import EncoderProcesses, Export, ExportProcess

pytestmark = pytest.mark.integration


class Branching(nn.Linear):
    """Goes by what its rows are once it is exported, where nothing can follow it."""

    def __init__(self, shape, embedding):
        super().__init__(shape[0], embedding)

    def forward(self, x):
        if torch.compiler.is_exporting() and x.sum() > 0:
            x = -x
        return super().forward(x)


class Ending(Branching):
    """Ends the process that exports it."""

    def forward(self, x):
        if torch.compiler.is_exporting():
            os._exit(3)
        return super().forward(x)


@pytest.fixture(scope="module")
def process():
    with ExportProcess() as process:
        yield process


@pytest.fixture
def export(tmp_path):
    """Trains an encoder of A of some kind; what is exported is where its rows are."""

    def export(kind="mlp", folder=tmp_path / "network"):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 120)
        a = (rng.normal(size=(120, 5)) + y[:, None]).astype(np.float32)
        dataset = from_arrays({"a": a, "b": a[:, :3].copy(), "y": y}, name="exported")
        data = TrainingData.of(dataset)
        asked = TINY.model_copy(update={"encoder_a": kind, "epochs": 2})
        config = resolve(asked, data.shapes, data.train.count)
        return Export(
            outcome=train(data, config, strength=0.5, seeds=[3, 4], test=data.validation),
            data=data,
            config=config,
            modality="a",
            example=example_rows(dataset, "a"),
            folder=folder,
        )

    return export


def test_another_process_exports_the_encoder_that_this_one_would(process, export):
    asked = export()
    rows = torch.randn(7, 5)
    network = torch.export.load(process.run(asked)).module()
    with torch.inference_mode():
        for theirs, ours in zip(network(rows), asked.encoder()(rows), strict=True):
            torch.testing.assert_close(theirs, ours)


def test_no_rows_but_the_example_reach_it(export, monkeypatch):
    questions = []
    process = ExportProcess()
    monkeypatch.setattr(process, "tell", questions.append)
    asked = export()
    with pytest.raises(ValueError, match="not enough values"):  # nobody wrote a program
        process.run(asked)
    (told,) = questions
    assert told.data.train.count == told.data.validation.count == 0
    assert told.data.shapes == asked.data.shapes
    for theirs, ours in zip(
        told.encoder().state_dict().values(), asked.encoder().state_dict().values(), strict=True
    ):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


def test_own_encoders_are_found_there_and_refused_in_a_sentence(process, export):
    with pytest.raises(EncoderNotKeptError, match=r"^The encoder of A .* torch\.export cannot"):
        process.run(export(f"{__name__}:Branching"))


def test_what_cannot_be_written_is_trouble_of_the_machine(process, export, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="taken"):
        process.run(export(folder=tmp_path / "taken" / "network"))


def test_what_cannot_be_built_again_is_told(process, export):
    asked = export()
    with pytest.raises(EncoderNotKeptError, match="cannot be built again from what was kept"):
        process.run(replace(asked, outcome=replace(asked.outcome, weights=None)))


def test_an_encoder_that_ends_the_process_costs_itself_alone(process, export, tmp_path):
    with pytest.raises(EncoderNotKeptError, match=r"ended before it was done \(exit code 3;"):
        process.run(export(f"{__name__}:Ending"))
    assert process.run(export(folder=tmp_path / "next")).is_file()


ECHO = "import json, sys\nfor line in sys.stdin: print(json.dumps(line.strip()), flush=True)"


def test_a_process_answers_one_question_after_another_and_is_started_anew():
    with HelperProcess(("-c", ECHO)) as process:
        process.start()
        first = process._process
        process.start()
        assert [process.ask(b"one\n"), process.ask(b"two\n")] == ["one", "two"]
        assert process._process is first
        first.kill()
        with pytest.raises(ProcessDiedError, match="exit code -9"):
            process.ask(b"three\n")
        assert process.ask(b"four\n") == "four"
        last = process._process
    assert last.returncode is not None


def test_what_a_process_does_is_not_waited_for_at_the_end():
    with HelperProcess(("-c", "import time; time.sleep(1000)")) as process:
        process.start()
        running = process._process
    assert running.returncode == -9


def test_processes_that_nobody_needed_never_ran():
    with EncoderProcesses() as processes:
        pass
    assert processes.exports._process is processes.networks._process is None
    with EncoderProcesses() as processes:
        processes.start()
        running = [processes.exports._process, processes.networks._process]
    assert [process.returncode for process in running] == [-9, -9]
