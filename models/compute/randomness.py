"""The generators that code may draw from without asking: torch's, NumPy's and Python's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all of them; afterwards those of the CPU are as they were before.

    Args:
        seed: From 0, below 2⁶³.
    """
    before = random_state()
    torch.manual_seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002  # others use it
    random.seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, Any]:
    """Return the state of those of the CPU, as plain numbers and tensors."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  # others use it
    return {
        "torch": torch.get_rng_state(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002  # others use it
    random.setstate(state["python"])


def random_streams(seed: int) -> tuple[Generator, Generator]:
    """Return a replicate's sources of initial weights and of batch order."""
    init, order = (
        torch.Generator().manual_seed(int(stream.generate_state(1, np.uint64)[0] >> 1))
        for stream in np.random.SeedSequence(seed).spawn(2)
    )
    return init, order
