"""What to see the day there is a GPU, in under ten minutes on one.

Usage: python -m tests.benchmarks.gpu [NAME ...]; a NAME is the beginning of a check's.

Every check prints a line: PASS; FAIL, what is wrong; SLOW, what is right and should be faster;
SKIP, what needs a GPU, or a second one, where there is none. It ends with 1 if one failed. What
needs no GPU is checked without one, too. Nothing is left behind.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from unittest import mock

import numpy as np
import torch

from tests.benchmarks.plain_loop import steps_per_second
from tuner.data import from_arrays, read
from tuner.errors import SpecError
from tuner.models import alignment
from tuner.models.compute.device import (
    deterministic,
    memory_size,
    mixed_precision,
    prepare_process,
)
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import TrainingData
from tuner.models.training import loop, tensors
from tuner.models.training.checkpoint import Checkpoint
from tuner.models.training.loop import train
from tuner.models.training.telling import Teller

SECONDS = 570.0  # after which no check begins
BATCH = 128
SMALL = TrainingConfig(
    encoder_a="mlp", encoder_b="mlp", epochs=6, patience=99, batch_size=BATCH, precision="float32"
)
KINDS = {
    "mlp": ((76,), (64,)),
    "transformer": ((32, 16), (24, 12)),
    "cnn": ((3, 32, 32), (1, 28, 28)),
    "vit": ((3, 32, 32), (3, 32, 32)),
    "logmel-transformer": ((4000, 1), (3000, 1)),
    "logmel-cnn": ((4000, 1), (3000, 1)),
    "tokens": ((12,), (8,)),  # ids
    "text": ((12,), (8,)),  # words
}
STUDY = ("--trials", "4", "--replicates", "2", "--confirm-replicates", "2", "--epochs", "3")

State = Literal["PASS", "FAIL", "SLOW", "SKIP"]


class Unmet(Exception):  # noqa: N818  # no error: what a check says when it does not pass
    """Why a check did not pass, and how it is to be called."""

    def __init__(self, state: State, words: str) -> None:
        super().__init__(state, words)
        self.state, self.words = state, words


@dataclass
class Report:
    """The checks that were made, as they are printed."""

    wanted: tuple[str, ...]
    started: float = field(default_factory=time.perf_counter)
    states: list[State] = field(default_factory=list)

    def run(self, name: str, check: Callable[[], str]) -> None:
        """Make a check and print its line; whatever it raises is a finding."""
        if self.wanted and not name.startswith(self.wanted):
            return
        state, words = "SKIP", "no time is left for it"
        if self._passed() < SECONDS:
            state, words = _made(check)
        self.states.append(state)
        print(f"{self._passed():5.0f} s  {state}  {name}: {words}", flush=True)

    def _passed(self) -> float:
        return time.perf_counter() - self.started


def _made(check: Callable[[], str]) -> tuple[State, str]:
    try:
        return "PASS", check()
    except Unmet as unmet:
        return unmet.state, unmet.words
    except Exception as error:  # noqa: BLE001  # a check that breaks is a finding
        first = (str(error).strip().splitlines() or [""])[0]
        return "FAIL", f"{type(error).__name__}: {first[:300]}"
    finally:
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def main() -> None:
    prepare_process()
    report = Report(tuple(sys.argv[1:]))
    for name, check in CHECKS.items():
        report.run(name, check)
    counts = {state: report.states.count(state) for state in ("PASS", "FAIL", "SLOW", "SKIP")}
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    sys.exit(counts["FAIL"] > 0)


# Where training is


def device() -> torch.device:
    """The GPU, or the CPU for what can be checked on any device."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def needs_gpu() -> None:
    if not torch.cuda.is_available():
        raise Unmet("SKIP", "needs a GPU")


def world(kind: str = "mlp", rows: int = 1200) -> TrainingData:
    """Two views of ten classes, in noise, for a kind of encoder."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, rows)

    def side(shape: tuple[int, ...]) -> np.ndarray:
        if kind in ("tokens", "text"):
            ids = y[:, None] * 5 + rng.integers(0, 20, (rows, *shape))
            return ids if kind == "tokens" else np.array([" ".join(map(str, row)) for row in ids])
        centres = rng.normal(size=(10, *shape))
        return (0.5 * centres[y] + rng.normal(size=(rows, *shape))).astype(np.float32)

    a, b = map(side, KINDS[kind])
    dataset = from_arrays({"a": a, "b": b, "y": y}, name="w")
    return TrainingData.of(dataset, ids=(kind == "tokens", kind == "tokens"))


def trained(
    data: TrainingData, config: TrainingConfig, replicates: int, where: str | None = None, **options
) -> TrainingOutcome:
    where = where or device().type
    seeds = range(1, 1 + replicates)
    return train(
        data, config, strength=1.0, seeds=seeds, test=data.validation, device=where, **options
    )


def difference(one: TrainingOutcome, other: TrainingOutcome) -> float:
    """Between the curves of losses, at most."""
    losses = [name for name in one.curves if "loss" in name]
    return float(max(np.nanmax(np.abs(one.curves[n] - other.curves[n])) for n in losses))


def same_bits(one: TrainingOutcome, other: TrainingOutcome) -> bool:
    one, other = (replace(each, seconds=0.0, environment={}) for each in (one, other))
    return one.to_bytes() == other.to_bytes()


def close(one: TrainingOutcome, other: TrainingOutcome, most: float) -> str:
    found = difference(one, other)
    if found > most:
        raise Unmet("FAIL", f"losses differ by up to {found:.1e}, more than {most:.0e}")
    return f"losses differ by {found:.1e} at most"


def of_kind(kind: str) -> tuple[TrainingData, TrainingConfig]:
    """Rows and configuration of a kind of encoder: few where there is no GPU."""
    epochs, rows = (2, 1200) if device().type == "cuda" else (1, 300)
    update = {"encoder_a": kind, "encoder_b": kind, "epochs": epochs, "precision": "auto"}
    return world(kind, rows), SMALL.model_copy(update=update)


# The checks


def what_there_is() -> str:
    needs_gpu()
    card = torch.cuda.get_device_properties(0)
    return (
        f"{torch.cuda.device_count()} × {card.name}, {card.total_memory / 2**30:.0f} GiB, compute "
        f"{card.major}.{card.minor}; torch {torch.__version__}, CUDA {torch.version.cuda}"
    )


def no_context_without_gpus() -> str:
    code = (
        "import torch; from tuner.models.compute.device import given_device;"
        "assert given_device(0).type == 'cpu'; assert not torch.cuda.is_available();"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return "with gpus = 0 a process sees no GPU and makes no CUDA context"


def wanted_gpu_is_there_or_an_error() -> str:
    code = "from tuner.models.compute.device import given_device; print(given_device(0.5))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    words = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    if torch.cuda.is_available() and words == "cuda":
        return "with gpus = 0.5 a process trains on its part of the GPU"
    if not torch.cuda.is_available() and DeviceError.__name__ in words and "torch" in words:
        return f"without a GPU gpus = 0.5 ends so: {words.partition(': ')[2]}"
    raise Unmet("FAIL", words)


def precision() -> str:
    needs_gpu()
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    used = mixed_precision(torch.device("cuda"), "auto")._enabled
    if used != native:
        raise Unmet("FAIL", f"bfloat16 is native: {native}, and used: {used}")
    return f"auto is {'bfloat16' if used else 'float32'}, which the hardware has"


def cpu_and_gpu() -> str:
    needs_gpu()
    data = TrainingData.of(read("mfeat"))
    return close(trained(data, SMALL, 4, "cpu"), trained(data, SMALL, 4), 5e-3)


def scores_in_bfloat16() -> str:
    data = TrainingData.of(read("mfeat"))
    y = data.validation.labelled().target
    half = "auto" if torch.cuda.is_available() else "bfloat16"
    scores = []
    for asked in ("float32", half):
        outcome = trained(data, SMALL.model_copy(update={"precision": asked}), 4)
        scores.append(np.mean([(outcome.predictions[m] == y).mean() for m in "ab"]))
    words = f"accuracy {scores[0]:.3f} in float32, {scores[1]:.3f} in {half}"
    if abs(scores[0] - scores[1]) > 0.02:
        raise Unmet("FAIL", words)
    return words


def repeatable(kind: str) -> Callable[[], str]:
    def check() -> str:
        data, config = of_kind(kind)
        one, other = (trained(data, config, 2) for _ in range(2))
        said = one.environment["deterministic"]
        if same_bits(one, other):
            return f"the same bits twice; the outcome says: {said}"
        if said == "yes":
            raise Unmet("FAIL", "other bits the second time, and the outcome says nothing of it")
        raise Unmet("SLOW", f"other bits the second time, as the outcome says: {said}")

    return check


def step_time() -> str:
    """Model-steps a second: of stacks, of a plain loop, and what the card could do."""
    on_gpu = device().type == "cuda"
    data = world(rows=4096 if on_gpu else 1024)
    config = SMALL.model_copy(update={"precision": "auto"})
    trained(data, config, 1)  # what the first one loads
    counts = (1, 4, 12, 48) if on_gpu else (1, 4, 12)
    rates = {replicates: _rate(data, config, replicates) for replicates in counts}
    plain = steps_per_second(data, config, seconds=1.0)
    words = ", ".join(f"{rate:.0f} in stacks of {k}" for k, rate in rates.items())
    words += f"; a plain loop on one CPU thread {plain:.0f}"
    limit = _limit(data, config)
    if limit is not None:
        words += f"; {limit:.0f} if the card multiplied all the time"
    if on_gpu and rates[48] < 4 * rates[1]:
        raise Unmet(
            "SLOW", f"model-steps/s: {words}: a step is bound by launches, and stacks hide it not"
        )
    return f"model-steps/s: {words}"


def _rate(data: TrainingData, config: TrainingConfig, replicates: int) -> float:
    """Model-steps a second of epochs alone: what comes before and after them is in both."""
    short, long = (
        trained(data, config.model_copy(update={"epochs": epochs}), replicates, stack=replicates)
        for epochs in (2, 22)
    )
    return (long.steps - short.steps) / max(long.seconds - short.seconds, 1e-9)


def _limit(data: TrainingData, config: TrainingConfig) -> float | None:
    """Model-steps a second if a card did nothing but products, at the rate that it reaches."""
    if device().type != "cuda":
        return None
    dtype = torch.bfloat16 if mixed_precision(device(), "auto")._enabled else torch.float32
    x = torch.randn(4096, 4096, device="cuda", dtype=dtype)
    seconds = _seconds(lambda: x @ x, 20)
    rate = 2 * 4096**3 / seconds
    width, batch = config.hidden, config.batch_size
    inside = (config.depth - 1) * width**2 + width * config.embedding
    weights = sum(shape[0] * width + inside for shape in data.shapes)
    operations = 6 * batch * weights + 8 * batch**2 * config.projection_width
    return float(rate / operations)


def _seconds(work: Callable[[], object], times: int) -> float:
    for _ in range(3):
        work()
    _wait()
    started = time.perf_counter()
    for _ in range(times):
        work()
    _wait()
    return (time.perf_counter() - started) / times


def _wait() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()


def launches() -> str:
    """What the host does for a step, as torch's profiler sees it."""
    from torch.profiler import ProfilerActivity, profile

    data = world()
    stack = loop._StackTraining(data, SMALL, 1.0, (1, 2, 3, 4), device())
    order = torch.arange(BATCH, device=device()).expand(4, -1)
    stack._pair.train()
    stack._step(order)
    activities = [ProfilerActivity.CPU]
    if device().type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    steps = 20
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            stack._step(order)
        _wait()
    events = profiler.key_averages()

    def count(*names: str) -> float:
        return sum(e.count for e in events if any(name in e.key for name in names)) / steps

    host = sum(event.self_cpu_time_total for event in events) / steps / 1e3
    if device().type == "cpu":
        return f"a step is {count('aten::'):.0f} operations, {host:.2f} ms, as profiled on a CPU"
    busy = sum(event.self_device_time_total for event in events) / steps / 1e3
    words = (
        f"a step is {count('cudaLaunchKernel', 'cuLaunchKernel'):.0f} launches, "
        f"{count('cudaMemcpyAsync'):.1f} copies and {count('cudaStreamSynchronize'):.1f} waits; "
        f"the card works {busy:.2f} ms of the host's {host:.2f}"
    )
    if count("cudaStreamSynchronize") > 1 or busy < host / 4:
        raise Unmet("SLOW", words)
    return words


def replayed(kind: str) -> Callable[[], str]:
    """Steps that are replayed train the same; whether they are, and what it gains."""

    def check() -> str:
        needs_gpu()
        data, config = of_kind(kind)
        each, rates = [], []
        for able in (loop.recorder, lambda _: None):
            with mock.patch.object(loop, "recorder", able):
                each.append(trained(data, config, 2, stack=2))
                rates.append(_rate(data, config, 2))
        words = f"{rates[0]:.0f} model-steps/s replayed, {rates[1]:.0f} launched one by one"
        if not same_bits(*each):
            words += f"; {close(*each, 5e-3 if config.precision == 'float32' else 0.05)}"
        said = each[0].environment["graphs"]
        if said != "yes":
            raise Unmet("SLOW", f"not replayed, {said}; {words}")
        if rates[0] < rates[1]:
            raise Unmet("SLOW", words)
        return words

    return check


def no_waits_in_a_step() -> str:
    needs_gpu()
    stack = loop._StackTraining(world(), SMALL, 1.0, (1, 2), device())
    stack._pair.train()
    order = torch.arange(BATCH, device=device()).expand(2, -1)
    stack._step(order)
    torch.cuda.set_sync_debug_mode("error")
    try:
        stack._step(order)
    except RuntimeError as error:
        raise Unmet("SLOW", f"a step waits for the card: {str(error)[:150]}") from error
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "no step waits for the card"


def stacks(kind: str) -> Callable[[], str]:
    def check() -> str:
        data, config = of_kind(kind)
        one, three = trained(data, config, 3, stack=1), trained(data, config, 3, stack=3)
        most = 5e-3 if config.precision == "float32" or device().type == "cpu" else 0.05
        words = close(one, three, most)
        rates = [outcome.steps / outcome.seconds for outcome in (one, three)]
        words += f"; {rates[0]:.3g} model-steps/s one by one, {rates[1]:.3g} in a stack of three"
        if device().type == "cuda" and rates[1] < rates[0]:
            raise Unmet("SLOW", words)
        return words

    return check


def stack_fits() -> str:
    """A stack that is too large for the card is not even tried."""
    needs_gpu()
    torch.cuda.set_per_process_memory_fraction(0.05)
    try:
        data, config = of_kind("vit")
        config = config.model_copy(update={"hidden": 256, "depth": 4, "epochs": 1})
        tried = []
        whole = loop.in_portions

        def noted(work, portion, *rest):
            tried.append(portion.replicates)
            return whole(work, portion, *rest)

        with mock.patch.object(loop, "in_portions", noted):
            outcome = trained(data, config, 48)
        size = memory_size(torch.device("cuda")) or 0
        peak = torch.cuda.max_memory_allocated()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    words = (
        f"stacks of {tried[0]} for {len(outcome.seeds)} replicates take {peak / size:.0%} of "
        f"{size >> 20} MiB"
    )
    if peak > size:
        raise Unmet("FAIL", words)
    return words


def out_of_memory() -> str:
    """A stack that is asked for and does not fit is halved, to the same outcome."""
    data = world()
    expected = trained(data, SMALL, 4, stack=1)
    with _little_memory():
        found = trained(data, SMALL, 4, stack=4)
    return f"where 4 replicates did not fit: {close(expected, found, 5e-3)}"


@contextlib.contextmanager
def _little_memory():
    """Have a stack of more than one run out of memory; on a GPU by a real allocation."""
    whole = loop._StackTraining._step

    def step(stack, order):
        if len(order) > 1 and device().type == "cuda":
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        if len(order) > 1:
            raise torch.OutOfMemoryError("planted: out of memory")
        return whole(stack, order)

    with mock.patch.object(loop._StackTraining, "_step", step):
        yield


def parts_of_a_batch() -> str:
    """One replicate in the memory of a part of its batch learns the same."""
    data = world()
    whole = trained(data, SMALL, 1)
    with deterministic(device()):
        parts = loop._StackTraining(
            data, SMALL, 1.0, (1,), device(), data.validation, null_seed=1, rows=24
        ).run(Teller(ended=0, stacked=1, epochs=SMALL.epochs, patience=SMALL.patience))
    return close(whole, parts, 5e-3)


def alignment_in_strips() -> str:
    """A batch whose similarities do not fit."""
    rows, width = (65_536, 512) if device().type == "cuda" else (9_000, 32)
    a, b = (
        torch.nn.functional.normalize(torch.randn(1, rows, width, device=device()), dim=-1)
        for _ in range(2)
    )
    a.requires_grad_()
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    loss = alignment.symmetric_info_nce(a, b, temperature=0.1)
    loss.sum().backward()
    _wait()
    words = f"{rows:,} rows of {width} in {time.perf_counter() - started:.2f} s"
    if device().type == "cuda":
        extra = (torch.cuda.max_memory_allocated() - before) / 2**30
        words += f", {extra:.2f} GiB"
        if extra > 2:
            raise Unmet("FAIL", words)
    return words


def rows_beside_the_card() -> str:
    data, config = of_kind("cnn")
    on = trained(data, config, 2)
    with mock.patch.object(tensors, "place_of_rows", return_value=torch.device("cpu")):
        off = trained(data, config, 2)
    words = f"{close(on, off, 5e-3)}; {off.seconds / on.seconds:.1f} times as long as on the device"
    if off.seconds > 1.5 * on.seconds:
        raise Unmet("SLOW", words)
    return words


def four_on_one_card() -> str:
    needs_gpu()

    def rate(processes: int) -> float:
        command = [sys.executable, "-c", "from tests.benchmarks.gpu import quarter; quarter()"]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        return sum(float(process.communicate()[0]) for process in running)

    one, four = rate(1), rate(4)
    words = f"model-steps/s: {one:.0f} of one process, {four:.0f} of four with a quarter each"
    if four < 1.5 * one:
        raise Unmet("SLOW", f"{words}; NVIDIA's MPS lets them work at a time")
    return words


def quarter() -> None:
    """One of four processes on a card: prints its model-steps a second."""
    from tuner.models.compute.device import given_device

    prepare_process()
    given_device(0.25)
    data = world(rows=4096)
    trained(data, SMALL, 4)
    outcome = trained(data, SMALL.model_copy(update={"epochs": 30}), 4)
    print(outcome.steps / outcome.seconds)


def resumed() -> str:
    """A training that was stopped goes on, to the same bits as one that was not."""
    data = world()

    class Stopped(Exception):  # noqa: N818
        pass

    class Once(Checkpoint):
        def save(self, part, state):
            super().save(part, state)
            if state["epoch"] == 3:
                raise Stopped

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Stopped):
            trained(data, SMALL, 3, stack=3, checkpoint=Once(folder, every=0.0))
        rest = trained(data, SMALL, 3, stack=3, checkpoint=Checkpoint(folder, every=1e9))
    if not same_bits(trained(data, SMALL, 3, stack=3), rest):
        raise Unmet("FAIL", "what went on from a checkpoint ended otherwise")
    return "what went on from its third epoch has the same bits"


def ranks_sharing_a_card() -> str:
    from tuner.execution.room import check_sharing
    from tuner.study.spec import StudySpec

    try:
        check_sharing(StudySpec(ranks=2, gpus=0.5))
    except SpecError as error:
        return f"refused: {error}"
    raise Unmet("FAIL", "two ranks may share a card, which NCCL refuses")


def ranks() -> str:
    if torch.cuda.device_count() < 2:
        raise Unmet("SKIP", "needs two GPUs")
    return command("--ranks", "2", "--gpus", "1")


def command_on_the_cpu() -> str:
    return command()


def command_on_the_gpu() -> str:
    needs_gpu()
    return command("--gpus", "0.5")


def command(*flags: str) -> str:
    """Run a study, and see that it was trained where it had to be."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tuner", "run", "mfeat", *STUDY, "--json", *flags],
            env=os.environ | {"TUNER_HOME": home},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        raise Unmet("FAIL", (done.stderr.strip().splitlines() or ["no word"])[-1])
    where = json.loads(done.stdout)["environments"]
    expected = "cuda" if "--gpus" in flags else "cpu"
    if [each["device"] for each in where] != [expected]:
        raise Unmet("FAIL", f"trained on {where}, not on {expected} alone")
    return f"all trained on {where[0]}"


CHECKS: dict[str, Callable[[], str]] = {
    "there is a GPU": what_there_is,
    "device: none is given": no_context_without_gpus,
    "device: one is wanted": wanted_gpu_is_there_or_an_error,
    "device: precision": precision,
    "answers: CPU and GPU": cpu_and_gpu,
    "answers: bfloat16": scores_in_bfloat16,
    **{f"determinism: {kind}": repeatable(kind) for kind in KINDS},
    "speed: steps": step_time,
    "speed: launches": launches,
    "speed: waits": no_waits_in_a_step,
    **{f"replayed: {kind}": replayed(kind) for kind in KINDS},
    **{f"stacks: {kind}": stacks(kind) for kind in KINDS},
    "memory: a stack that fits": stack_fits,
    "memory: a stack that does not": out_of_memory,
    "memory: parts of a batch": parts_of_a_batch,
    "memory: alignment of a large batch": alignment_in_strips,
    "memory: rows beside the card": rows_beside_the_card,
    "a part of a card": four_on_one_card,
    "checkpoint": resumed,
    "ranks: on one card": ranks_sharing_a_card,
    "ranks: on two": ranks,
    "command: on the CPU": command_on_the_cpu,
    "command: on a GPU": command_on_the_gpu,
}

if __name__ == "__main__":
    main()
