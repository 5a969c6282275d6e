"""Where memory runs out less is trained at a time, with the same results."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.training.test_loop import CONFIG, world
from tests.support import networks
from tuner.models.compute import device as devices
from tuner.models.compute.device import is_out_of_memory, prepare_process
from tuner.models.compute.ranks import Ranks
from tuner.models.encoders.pair import Branch, EncoderPair
from tuner.models.errors import DeviceError, NoMemoryError
from tuner.models.training import memory
from tuner.models.training.checkpoint import Checkpoint
from tuner.models.training.kept import BestWeights
from tuner.models.training.loop import _StackTraining, train
from tuner.models.training.memory import Portion, attempt, in_portions, replicates_that_fit
from tuner.models.training.objective import Objective
from tuner.models.training.optimizer import StackedAdamW
from tuner.models.training.telling import Teller
from tuner.models.training.tensors import RowTensors

pytestmark = pytest.mark.slow  # trains, many times over

CPU = torch.device("cpu")
SEEDS = (4, 5, 6, 7, 8)
SHORT = CONFIG.model_copy(update={"epochs": 2})
# Where memory can run out, and how many replicates it is then asked for.
PLACES = {
    "stack building": (
        EncoderPair,
        "__init__",
        lambda pair, shapes, outputs, config, g, **_: len(g),
    ),
    "rows": (RowTensors, "take", lambda rows, index, replicates: replicates),
    "forward": (Branch, "forward", lambda branch, x, real=None: len(x)),
    "alignment": (Branch, "project", lambda branch, embedding: len(embedding)),
    "backward": (Objective, "backward", lambda objective, batch, *_, **__: len(batch.a)),
    "optimizer": (StackedAdamW, "step", lambda optimizer: len(optimizer._parameters[0])),
    "evaluation": (_StackTraining, "_validated", lambda training: len(training._active)),
    "predictions": (_StackTraining, "_predict", lambda training, rows: len(training._seeds)),
    "export": (BestWeights, "of_replicate", lambda kept, _: len(kept.tensors["head.weight"])),
}


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    prepare_process()
    yield
    torch.set_default_dtype(torch.float32)


def trained(data=None, config=CONFIG, seeds=SEEDS, **options):
    data = data or world()
    return train(data, config, strength=0.8, seeds=seeds, test=data.validation, **options)


def out_of_memory_beyond(monkeypatch, place, replicates, error=torch.OutOfMemoryError):
    """Have memory run out where more replicates are asked for; return what was asked for."""
    holder, name, count = PLACES[place]
    whole, asked = getattr(holder, name), []

    def bounded(*given, **named):
        asked.append(count(*given, **named))
        if asked[-1] > replicates:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(*given, **named)

    monkeypatch.setattr(holder, name, bounded)
    return asked


def assert_same_bytes(one, other):
    one, other = (replace(each, seconds=0.0) for each in (one, other))
    assert one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize(("place", "fits"), [*((place, 2) for place in PLACES), ("forward", 1)])
def test_smaller_stacks_are_trained_where_memory_runs_out(monkeypatch, place, fits):
    expected = trained(config=SHORT, stack=fits)
    asked = out_of_memory_beyond(monkeypatch, place, fits)
    assert_same_bytes(trained(config=SHORT, stack=5), expected)
    assert max(asked) == 5
    assert [size for size in asked if size > fits] == ([5] if fits == 2 else [5, 2])


def test_search_and_confirmation_are_trained_in_the_same_memory(monkeypatch):
    """Of 16 replicates no more are asked for than there is room for, as of 4."""
    out_of_memory_beyond(monkeypatch, "forward", 3)
    for seeds in (range(4), range(16)):
        assert trained(config=SHORT, seeds=seeds, stack=16).seeds.tolist() == list(seeds)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error, lacks):
    assert is_out_of_memory(error) == lacks


def test_other_errors_are_raised(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Objective, "backward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        trained()


def test_a_gpu_that_is_lost_is_an_error_of_the_device():
    def lost():
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")

    with pytest.raises(DeviceError, match=r"unspecified launch failure.*nvidia-smi"):
        attempt(lost, CPU)


def test_what_did_not_fit_is_given_back_before_less_is_tried():
    held = []

    class Large:
        pass

    def work(first, portion):
        if held:
            gc.collect()
            assert held[0]() is None
            return portion.replicates
        large = Large()
        large.itself = large
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert in_portions(work, Portion(replicates=4), 4, 128, CPU) == [2, 2]


@pytest.mark.parametrize(
    ("task", "strength", "rows"),
    [("classification", 0.8, 1), ("classification", 0.0, 5), ("regression", 0.8, 5)],
)
def test_a_part_of_a_batch_at_a_time_gives_the_same(task, strength, rows):
    data = world(task, unlabelled=0.5)
    options = {"strength": strength, "seeds": [3], "test": data.validation}
    whole = train(data, CONFIG, **options)
    place = torch.device("cpu")
    parts = _StackTraining(
        data, CONFIG, strength, [3], place, data.validation, null_seed=3, rows=rows
    )
    outcome = parts.run(Teller(ended=0, stacked=1, epochs=CONFIG.epochs, patience=CONFIG.patience))
    for name, curve in whole.curves.items():
        np.testing.assert_allclose(outcome.curves[name], curve, rtol=1e-8, atol=1e-10)
    for modality in "ab":
        np.testing.assert_allclose(
            outcome.predictions[modality], whole.predictions[modality], rtol=1e-5
        )
        for name, values in whole.weights[modality].items():
            np.testing.assert_allclose(outcome.weights[modality][name], values, atol=1e-9)
    for name, values in whole.similarity.items():
        np.testing.assert_allclose(outcome.similarity[name], values, atol=1e-9)


def test_one_replicate_that_does_not_fit_gets_less_of_its_batch(monkeypatch):
    whole, sizes = Branch.forward, []

    def bounded(branch, x, real=None):
        sizes.append(x.shape[:2].numel())
        if sizes[-1] > 6:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(branch, x, real)

    expected = trained(seeds=SEEDS[:2])
    monkeypatch.setattr(Branch, "forward", bounded)
    outcome = trained(seeds=SEEDS[:2], stack=2)
    assert max(sizes[-50:]) == 4  # of 16
    for name, curve in expected.curves.items():
        np.testing.assert_allclose(outcome.curves[name], curve, rtol=1e-8, equal_nan=True)


def test_both_passes_of_a_part_draw_the_same():
    """Dropout: the projections that are aligned are those that gradients go through."""
    torch.manual_seed(0)
    data = world()
    training = _StackTraining(data, CONFIG, 0.8, [3], CPU, rows=5)
    drawn, whole = [], training._objective.apply

    def noisy(modality, rows, **options):
        drawn.append(float(torch.rand(())))
        return whole(modality, rows, **options)

    training._objective.apply = noisy
    training._pair.train()
    training._step(torch.arange(16)[None])
    assert drawn[: len(drawn) // 2] == drawn[len(drawn) // 2 :]
    assert len(set(drawn)) == len(drawn) // 2 == 2 * 4


def test_an_own_encoder_sees_its_batch_as_a_whole(monkeypatch):
    config = CONFIG.model_copy(update={"encoder_a": f"{networks.__name__}:Mlp", "epochs": 1})
    whole, sizes = Branch.forward, []

    def bounded(branch, x, real=None):
        sizes.append(x.shape[1])
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(branch, x, real)

    monkeypatch.setattr(Branch, "forward", bounded)
    torch.set_default_dtype(torch.float32)
    with pytest.raises(NoMemoryError, match=r"your own .* smaller --batch-size"):
        trained(config=config, seeds=[1])
    assert set(sizes) == {16}


def test_what_never_fits_fails_the_trial_with_a_mend(monkeypatch):
    out_of_memory_beyond(monkeypatch, "optimizer", 0)
    with pytest.raises(NoMemoryError, match=r"single row .*--hidden.*--batch-size.*--gpus 1"):
        trained()


def test_a_rank_cannot_train_less_alone(monkeypatch):
    monkeypatch.setattr(memory, "Ranks", lambda: ranks)
    ranks = Ranks()
    ranks.count = 2
    with pytest.raises(NoMemoryError, match="train together"):
        Portion(replicates=4).halved(128)


def test_a_rank_without_memory_for_a_rehearsal_does_not_keep_the_others_waiting(monkeypatch):
    ranks = Ranks()
    ranks.count = 2
    monkeypatch.setattr(memory, "Ranks", lambda: ranks)
    monkeypatch.setattr(memory, "memory_size", lambda device: 1000)
    monkeypatch.setattr(memory, "peak_memory", lambda device, work: work())

    def rehearse():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(NoMemoryError, match="train together"):
        replicates_that_fit(4, rehearse, CPU)


def test_a_state_of_a_larger_stack_is_no_beginning_of_a_smaller_one(monkeypatch, tmp_path):
    expected = trained(stack=2)
    out_of_memory_beyond(monkeypatch, "predictions", 2)  # after all epochs were trained
    outcome = trained(stack=5, checkpoint=Checkpoint(str(tmp_path / "kept"), every=0.0))
    assert_same_bytes(outcome, expected)


@pytest.mark.parametrize(
    ("size", "peak", "shared", "expected"),
    [
        (1000, 90, 10, 9),  # (.8 · 1000 - 10) // (90 - 10)
        (1000, 10, 10, 16),  # what takes nothing is no bound
        (1000, 990, 10, 1),
        (1000, 990, 900, 1),  # memory that is short already is for `in_portions` to find out
        (None, 990, 900, 16),
    ],
)
def test_a_stack_is_as_large_as_a_gpus_memory_allows(monkeypatch, size, peak, shared, expected):
    monkeypatch.setattr(memory, "memory_size", lambda device: size)

    def measured(device, work):
        work()
        return peak

    monkeypatch.setattr(memory, "peak_memory", measured)
    assert replicates_that_fit(16, lambda: shared, CPU) == expected


def test_a_rehearsal_changes_nothing(monkeypatch):
    """It is one step of one replicate, of which nothing is left."""
    steps = []
    expected = trained(stack=2)
    monkeypatch.setattr(memory, "memory_size", lambda device: 10**6)
    whole = Objective.backward
    monkeypatch.setattr(
        Objective, "backward", lambda *given, **n: steps.append(given[1]) or whole(*given, **n)
    )

    def measured(device, work):
        work()
        assert [len(batch.a) for batch in steps] == [1]
        return 300_000

    monkeypatch.setattr(memory, "peak_memory", measured)
    assert_same_bytes(trained(), expected)


def test_a_cpu_has_no_bound_and_a_gpu_its_part(monkeypatch):
    assert devices.memory_size(CPU) is None

    class Card:
        total_memory = 1000

    parts = {0: 0.25, 1: 0.5}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda number: parts[number])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Card)
    assert devices.memory_size(torch.device("cuda", 0)) == 250
    assert devices.memory_size(torch.device("cuda")) == 500
