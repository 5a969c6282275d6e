"""What a training says of itself while it goes on."""

import numpy as np
import pytest

from tests.support import worlds
from tuner.models.config import TrainingConfig
from tuner.models.rows import TrainingData
from tuner.models.training import telling
from tuner.models.training.loop import train
from tuner.models.training.telling import Advance, Teller, told_to

CONFIG = TrainingConfig(
    encoder_a="mlp", encoder_b="mlp", hidden=4, embedding=3, batch_size=32, epochs=3, patience=2
)
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def data():
    return TrainingData.of(worlds.null(0, rows=200))


def heard(data, **options):
    said = []
    with told_to(said.append):
        outcome = train(data, CONFIG, strength=0.5, seeds=SEEDS, **options)
    return said, outcome


def test_every_step_of_every_stack_is_told_and_changes_nothing(data, monkeypatch):
    monkeypatch.setattr(telling, "PAUSE", 0.0)
    said, outcome = heard(data, stack=2)
    an_epoch = data.train.count // CONFIG.batch_size
    epochs = [epoch + step / an_epoch for epoch in range(3) for step in range(an_epoch)]
    expected = [
        Advance(ended=ended, stacked=stacked, epoch=epoch, epochs=3, patience=2)
        for ended, stacked in ((0, 2), (2, 1))
        for epoch in epochs
    ]
    assert said == expected
    silent = train(data, CONFIG, strength=0.5, seeds=SEEDS, stack=2)
    for side in "ab":
        np.testing.assert_array_equal(outcome.predictions[side], silent.predictions[side])


def test_it_is_told_at_once_and_then_once_a_second(data, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    said, _ = heard(data, stack=3)
    assert [one.epoch for one in said] == [0.0]  # the clock stands still
    said = []
    with told_to(said.append):
        teller = Teller(ended=0, stacked=1, epochs=9, patience=9)
    for epoch in range(9):
        teller.at(epoch)
        now[0] += 0.4
    assert [one.epoch for one in said] == [0, 3, 6]


def test_nobody_hears_of_what_is_trained_after_the_block(data):
    said, _ = heard(data)
    count = len(said)
    train(data, CONFIG, strength=0.5, seeds=SEEDS)
    assert len(said) == count > 0
