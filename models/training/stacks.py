"""How the replicates of a trial are divided: rules of shapes, never of a clock or of workers.

A timed choice could differ between two runs, and with it the last digits of their results: those of
a replicate depend on how many share its stack. Loads without torch.
"""

import math
from itertools import pairwise

from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module
from tuner.models.typing import Shape

# On a CPU a stack pays while what one step touches stays in the caches: see `make bench`.
_CPU_STACK_ROWS = 4096
# Floating-point operations of a stack's step, beside which what it takes besides is little: where
# it has them, a replicate takes 5 to 11 % more CPU time than in a stack of 16; where it is of two,
# however heavy, too. Measured by `python -m tests.benchmarks.stacks`: see its results.
_STACK_FLOPS = 1e9
_FEWEST_STACKED = 2
# Of a part of a trial, at least: 8 s of a core. In shorter trials nobody waits for long.
_PART_FLOPS = 5e11


def stack_size(
    config: TrainingConfig,
    *,
    rows: int,
    shapes: tuple[Shape, Shape],
    replicates: int,
    on_cpu: bool,
) -> int:
    """Return how many replicates to train in one stack.

    A user's own encoder may hold what cannot be stacked, and on a CPU one larger than an mlp
    fills the core alone.

    Args:
        config: How they are trained.
        rows: Training rows.
        shapes: Shape of one row of A and of B.
        replicates: Of the whole trial.
        on_cpu: Whether they are trained on a CPU.
    """
    size = part_size(config, replicates, rows=rows, shapes=shapes, on_cpu=on_cpu)
    if on_cpu and size > 1:
        return min(size, _most_in_a_stack(config, rows))
    return size


def part_size(
    config: TrainingConfig,
    replicates: int,
    *,
    rows: int,
    shapes: tuple[Shape, Shape],
    on_cpu: bool,
) -> int:
    """Return how many replicates of a trial make a part of it, which a worker may train alone.

    They are whole stacks: of a long trial as few as cost little more than all would in one; of
    another, or where a GPU takes them together, all.

    Args:
        config: As of `stack_size`.
        replicates: As of `stack_size`.
        rows: As of `stack_size`.
        shapes: As of `stack_size`.
        on_cpu: As of `stack_size`.
    """
    kinds = {config.encoder_a, config.encoder_b}
    if any(is_module(kind) for kind in kinds):
        return 1
    if not on_cpu:
        return replicates
    if not kinds <= {"mlp"}:
        return 1
    flops = _flops(config, min(config.batch_size, rows), shapes)
    epochs = min(config.epochs, config.patience + 1)  # at least, unless a loss is no number
    parts = int(replicates * epochs * config.steps_of(rows) * flops / _PART_FLOPS)
    if parts < 2:
        return replicates
    most = _most_in_a_stack(config, rows)
    enough = max(_FEWEST_STACKED, math.ceil(_STACK_FLOPS / flops))
    fewest = max(min(enough, most), math.ceil(replicates / parts))
    alike = math.ceil(replicates / math.ceil(replicates / fewest))
    return alike if alike <= most else math.ceil(alike / most) * most


def _most_in_a_stack(config: TrainingConfig, rows: int) -> int:
    return max(1, _CPU_STACK_ROWS // min(config.batch_size, rows))


def _flops(config: TrainingConfig, batch: int, shapes: tuple[Shape, Shape]) -> float:
    """Floating-point operations of the products of a step of one replicate, both encoders mlps.

    Forward, and twice as many backward, but that data have no gradient. The head of the task, which
    is small, is left out.
    """
    hidden, width = (config.hidden,) * config.depth, config.projection_width
    heads = {"mlp": (width, width), "linear": (width,), "none": ()}[config.projection]
    total = 3.0 * batch * (heads[-1] if heads else config.embedding)  # of InfoNCE
    for features in map(math.prod, shapes):
        products = pairwise((features, *hidden, config.embedding, *heads))
        total += 3 * sum(inputs * outputs for inputs, outputs in products)
        total -= features * config.hidden
    return 2.0 * batch * total
