"""Processes that train together do what one does on the same batches."""

import multiprocessing
from datetime import timedelta

import numpy as np
import pytest
import torch

from tests.support.servers import free_port
from tuner.data import from_arrays
from tuner.models import alignment
from tuner.models.compute import ranks
from tuner.models.compute.device import prepare_process
from tuner.models.compute.ranks import Ranks
from tuner.models.config import TrainingConfig
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

SEEDS = (3, 4)
CASES = (
    (2, "classification", 0.7, "whole"),
    (3, "classification", 0.7, "whole"),  # 25 rows do not divide by 2 or by 3
    (2, "regression", 2.0, "whole"),
    (2, "classification", 0.0, "whole"),
    (2, "classification", 0.7, "strips"),  # of the alignment loss
    (3, "classification", 0.7, "strips"),
)


def data(task="classification", rows=150):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(rows, 3)).astype(np.float32)
    y = latent.argmax(1) if task == "classification" else latent[:, 0].copy()
    y[rng.random(rows) < 0.3] = -1 if task == "classification" else np.nan  # unlabelled
    images = np.repeat(latent[::3], 3, axis=0)  # of three rows each, no negatives of each other
    arrays = {"a": images @ rng.normal(size=(3, 6)), "b": latent @ rng.normal(size=(3, 5)), "y": y}
    return TrainingData.of(from_arrays(arrays, name="together"))


def outcome(task, strength, dtype=torch.float64):
    prepare_process()
    torch.set_default_dtype(dtype)
    config = TrainingConfig(
        encoder_a="mlp", encoder_b="mlp", epochs=6, batch_size=25, hidden=16, patience=2
    )
    found = data(task)
    return train(found, config, strength=strength, seeds=SEEDS, test=found.validation, device="cpu")


def rank(own, ports, answers):
    """Train every case that has a rank of that number, each in a group of its own."""
    for case, port in zip(CASES, ports, strict=True):
        count, task, strength, loss = case
        if own >= count:
            continue
        if loss == "strips":  # of two rows
            alignment._MATRIX_BYTES, alignment._STRIP_BYTES = 0, 2 * len(SEEDS) * 25 * 8
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"tcp://127.0.0.1:{port}",
            rank=own,
            world_size=count,
            timeout=timedelta(seconds=60),
        )
        try:
            answers.put((case, own, outcome(task, strength)))
        finally:
            torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together():
    """What each rank of each case came to: outcomes by case and rank."""
    ports = [free_port() for _ in CASES]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    most = max(count for count, *_ in CASES)
    processes = [context.Process(target=rank, args=(own, ports, answers)) for own in range(most)]
    for process in processes:
        process.start()
    outcomes = {}
    for _ in range(sum(count for count, *_ in CASES)):
        case, own, answer = answers.get(timeout=120)
        outcomes[case, own] = answer
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return outcomes


@pytest.mark.integration
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_parameters_are_those_of_one_process(case, together):
    count, task, strength, _ = case
    before = torch.get_default_dtype()
    try:
        alone = outcome(task, strength)
    finally:
        torch.set_default_dtype(before)
    ranks = [together[case, own] for own in range(count)]
    assert alone.steps == ranks[0].steps
    for modality in ("a", "b"):
        for name, expected in alone.weights[modality].items():
            np.testing.assert_allclose(ranks[0].weights[modality][name], expected, rtol=1e-7)
            for other in ranks[1:]:  # exactly: else they would drift apart
                np.testing.assert_array_equal(
                    other.weights[modality][name], ranks[0].weights[modality][name]
                )
    for name, curve in alone.curves.items():
        np.testing.assert_allclose(ranks[0].curves[name], curve, rtol=1e-8)
    assert (alone.best_epoch["a"] == ranks[-1].best_epoch["a"]).all()


def test_alone_there_is_one_rank():
    ranks = Ranks()
    values = torch.ones(2, 4, 3, requires_grad=True)
    assert (ranks.count, ranks.own, ranks.share(7)) == (1, 0, slice(0, 7))
    assert ranks.gather(values, 4) is values
    assert ranks.sum(values) is values
    assert ranks.agree(values) is values


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_shares_are_a_partition(count):
    for batch in (1, 7, 25):
        ranks = [Ranks() for _ in range(count)]
        for own, each in enumerate(ranks):
            each.count, each.own = count, own
        rows = [row for each in ranks for row in range(batch)[each.share(batch)]]
        assert rows == list(range(batch))


def test_gradients_are_added_up_in_buckets_of_one_type(monkeypatch):
    """In their order, each in one bucket; one that is larger than a bucket has one of its own."""
    monkeypatch.setattr(ranks, "_BUCKET", 100)
    kinds = [(5, "f4"), (15, "f4"), (10, "f4"), (3, "f8"), (40, "f8"), (1, "f4")]
    tensors = [torch.from_numpy(np.arange(n).astype(kind)) for n, kind in kinds]
    buckets = list(ranks._buckets(tensors))
    assert [len(bucket) for bucket in buckets] == [2, 1, 1, 1, 1]
    assert [id(each) for bucket in buckets for each in bucket] == [id(each) for each in tensors]
    assert list(ranks._buckets([])) == []


def test_the_sum_of_each_gradient_is_its_own(monkeypatch):
    """A group of three in which all have the same gradients."""
    asked = []

    def all_reduce(values):
        asked.append(values.numel())
        values *= 3

    monkeypatch.setattr(ranks.distributed, "all_reduce", all_reduce)
    group = Ranks.alone()
    group.count = 3
    shapes = ((2, 3), (4,), (2, 1, 2))
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in (*shapes, (7,))]
    for number, parameter in enumerate(parameters[:-1]):
        parameter.grad = torch.full(parameter.shape, number + 1.0)
    group.sum_gradients(parameters)
    assert asked == [14]
    assert [each.grad.unique().tolist() for each in parameters[:-1]] == [[3.0], [6.0], [9.0]]
    assert parameters[-1].grad is None
