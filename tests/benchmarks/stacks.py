"""What a stack saves: CPU time of a replicate's step by the size of its stack, a minute.

Usage: python -m tests.benchmarks.stacks

Stacks of all sizes take turns, so that a machine that is busy slows all of them; it is CPU time,
in which a busy machine shows by a tenth or two even so. `tuner.models.training.stacks` rests on it.
"""

import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tuner.data import from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.compute.randomness import seeded
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import _StackTraining
from tuner.models.training.stacks import _flops
from tuner.study.spec import StudySpec
from tuner.study.study import Study

SIZES = (1, 2, 4, 6, 8, 16)
CASES = (  # features of A and of B, hidden width, pairs in a batch
    (76, 216, 128, 128),
    (512, 768, 128, 128),
    (512, 768, 128, 512),
    (512, 768, 256, 128),
    (512, 768, 512, 128),
    (2048, 2048, 512, 128),
)
ROUNDS, STEPS = 9, 16


def study_of(a: int, b: int, hidden: int, batch: int) -> Study:
    rng = np.random.default_rng(0)
    rows = 4000
    arrays = {
        "a": rng.standard_normal((rows, a), np.float32),
        "b": rng.standard_normal((rows, b), np.float32),
        "y": rng.integers(0, 10, rows),
    }
    training = TrainingConfig(hidden=hidden, batch_size=batch)
    return Study.of(StudySpec(training=training), from_arrays(arrays, name="noise", seed=0))


def seconds(study: Study) -> dict[int, float]:
    """Median CPU seconds of a replicate's step, by the size of its stack."""
    batch, taken = study.training.batch_size, {size: list[float]() for size in SIZES}
    order = torch.randperm(study.data.train.count)[:batch]
    with seeded(0):
        stacks = {
            size: _StackTraining(study.data, study.training, 1.0, range(size), torch.device("cpu"))
            for size in SIZES
        }
        for turn in range(ROUNDS):
            for size, stack in stacks.items():
                steps = max(1, STEPS // size)
                started = time.process_time()
                for _ in range(steps):
                    stack._step(order.expand(size, batch))
                if turn:  # the first makes what the others use
                    taken[size].append((time.process_time() - started) / steps / size)
    return {size: float(np.median(times)) for size, times in taken.items()}


def main() -> None:
    prepare_process()
    sizes = [f"{size} together" for size in SIZES]
    table = Table("features, width, batch", "GFLOP", *sizes, title="ms of the CPU")
    for case in CASES:
        study = study_of(*case)
        each = seconds(study)
        flops = _flops(study.training, study.training.batch_size, study.data.shapes)
        times = [f"{1e3 * each[size]:.2f}" for size in SIZES]
        a, b, hidden, batch = case
        table.add_row(f"{a} + {b}, {hidden}, {batch}", f"{flops / 1e9:.2f}", *times)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
