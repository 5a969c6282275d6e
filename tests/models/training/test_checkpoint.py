"""A training that was killed goes on from its last epoch, and ends as if nothing had happened."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from tests.models.compute.test_ranks import data
from tests.support import networks
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.training.checkpoint import Checkpoint
from tuner.models.training.loop import _StackTraining, train

EPOCHS = 10
SEEDS = (3, 4, 5)


def training(
    place=None, *, stack=None, seeds=SEEDS, length=EPOCHS, patience=EPOCHS, every=0.0, encoder="mlp"
):
    prepare_process()
    found = data()
    config = TrainingConfig(
        epochs=length,
        batch_size=32,
        hidden=16,
        patience=patience,
        encoder_a=encoder,
        encoder_b="mlp",
    )
    checkpoint = None if place is None else Checkpoint(str(place), every=every)
    arguments = {"strength": 0.5, "seeds": seeds, "test": found.validation, "stack": stack}
    return train(found, config, **arguments, device="cpu", checkpoint=checkpoint)


def assert_same(one, other):
    assert one.steps == other.steps
    for modality in ("a", "b"):
        for kept in (modality, f"{modality}_by_accuracy"):
            for name, expected in one.weights[kept].items():
                np.testing.assert_array_equal(other.weights[kept][name], expected)
        np.testing.assert_array_equal(one.predictions[modality], other.predictions[modality])
        np.testing.assert_array_equal(one.best_epoch[modality], other.best_epoch[modality])
    for part, kept in vars(one.by_accuracy).items():
        for name, expected in kept.items():
            np.testing.assert_array_equal(getattr(other.by_accuracy, part)[name], expected)
    for name, expected in one.curves.items():
        np.testing.assert_array_equal(other.curves[name], expected)


@pytest.fixture
def epochs(monkeypatch):
    """Counts the epochs that are trained; it can be told to fail after some."""

    class Counter:
        done, fails_after = 0, None

    counter = Counter()
    train_epoch = _StackTraining._train_epoch

    def counted(self, *of):
        if counter.done == counter.fails_after:
            raise KeyboardInterrupt
        counter.done += 1
        return train_epoch(self, *of)

    monkeypatch.setattr(_StackTraining, "_train_epoch", counted)
    return counter


def assert_goes_on(folder, epochs, shares, **options):
    """Stop a training after shares of its epochs, and have it end as an undisturbed one."""
    whole = training(**options)
    needed, epochs.done = epochs.done, 0
    for share in shares:
        epochs.fails_after = int(share * needed)
        with pytest.raises(KeyboardInterrupt):
            training(folder / "kept", **options)
    epochs.fails_after = None
    resumed = training(folder / "kept", **options)
    assert epochs.done == needed
    assert_same(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize(("stack", "patience"), [(3, EPOCHS), (1, EPOCHS), (3, 2), (2, 3)])
def test_nothing_is_trained_twice_and_nothing_differs(tmp_path, epochs, stack, patience):
    assert_goes_on(tmp_path, epochs, (0.1, 0.5, 0.8), stack=stack, patience=patience)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [*networks.DETERMINISTIC, *networks.ALONE, *networks.RANDOM],
    ids=lambda network: network.__name__,
)
def test_own_networks_go_on_as_if_nothing_had_happened(tmp_path, epochs, network):
    encoder = f"{networks.__name__}:{network.__name__}"
    small = {"seeds": SEEDS[:2], "length": 6, "patience": 3}
    assert_goes_on(tmp_path, epochs, (0.3, 0.7), encoder=encoder, **small)


@pytest.mark.parametrize("place", ["file", "memory://checkpoints/one"])
def test_states_are_kept_in_any_store_and_removed(tmp_path, epochs, place):
    place = tmp_path / "kept" if place == "file" else place
    epochs.fails_after = 5
    with pytest.raises(KeyboardInterrupt):
        training(place)
    checkpoint = Checkpoint(str(place))
    assert checkpoint.load(0)["epoch"] == 5
    assert checkpoint.load(1) is None
    checkpoint.remove()
    assert checkpoint.load(0) is None
    checkpoint.remove()


def test_a_state_of_an_earlier_program_is_no_beginning(tmp_path, epochs):
    whole = training()
    Checkpoint(str(tmp_path / "kept")).save(0, {"epoch": 5, "best_loss": {}})
    epochs.done = 0
    assert_same(whole, training(tmp_path / "kept"))
    assert epochs.done == EPOCHS


def test_short_trainings_write_nothing(tmp_path):
    training(tmp_path / "kept", every=30.0)
    assert not (tmp_path / "kept").exists()


def trained_in_a_process(place, log):
    train_epoch = _StackTraining._train_epoch

    def logged(self, *of):
        found = train_epoch(self, *of)
        with log.open("a") as file:
            file.write("epoch\n")
        time.sleep(0.02)
        return found

    _StackTraining._train_epoch = logged
    outcome = training(place)
    np.savez(log.with_suffix(".npz"), **outcome.weights["a"])


@pytest.mark.integration
def test_a_process_killed_at_80_percent_repeats_one_epoch_at_most(tmp_path):
    log = tmp_path / "log"
    log.touch()
    context = multiprocessing.get_context("spawn")
    arguments = (tmp_path / "kept", log)

    def trained():
        return len(log.read_text().splitlines())

    first = context.Process(target=trained_in_a_process, args=arguments)
    first.start()
    while trained() < 0.8 * EPOCHS:
        assert first.is_alive()
        time.sleep(0.005)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second = context.Process(target=trained_in_a_process, args=arguments)
    second.start()
    second.join()
    assert trained() <= EPOCHS + 1
    whole = training()
    with np.load(log.with_suffix(".npz")) as kept:
        for name, expected in whole.weights["a"].items():
            np.testing.assert_array_equal(kept[name], expected)
