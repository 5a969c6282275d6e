"""How many replicates share a stack, and where the chance of each comes from."""

import numpy as np
import torch
from torch import Generator

from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module

# On a CPU a stack pays while what one step touches stays in the caches: see `make bench`.
_CPU_STACK_ROWS = 4096


def stack_size(config: TrainingConfig, *, rows: int, replicates: int, device: torch.device) -> int:
    """Return how many replicates to train in one stack: a rule of shapes, never of a clock.

    A timed choice could differ between two runs, and with it the last digits of their results.
    A user's own encoder may hold what cannot be stacked, and on a CPU one larger than an mlp
    fills the core alone.
    """
    kinds = {config.encoder_a, config.encoder_b}
    if any(is_module(kind) for kind in kinds):
        return 1
    if device.type == "cpu" and not kinds <= {"mlp"}:
        return 1
    if device.type != "cpu":
        return replicates
    batch = min(config.batch_size, rows)
    return max(1, min(replicates, _CPU_STACK_ROWS // batch))


def random_streams(seed: int) -> tuple[Generator, Generator]:
    """Return a replicate's sources of initial weights and of batch order."""
    init, order = (
        torch.Generator().manual_seed(int(stream.generate_state(1, np.uint64)[0] >> 1))
        for stream in np.random.SeedSequence(seed).spawn(2)
    )
    return init, order
