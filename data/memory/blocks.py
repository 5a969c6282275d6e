"""Takes arrays a block of rows at a time, so that what is large is never copied whole."""

from collections.abc import Callable, Iterator

import numpy as np

from tuner.data.typing import Array, Ints, Mask

BLOCK_VALUES = 2**20  # of a block

OnStep = Callable[[str], None]


def silent(step: str) -> None:
    """Tell nobody."""


def row_blocks(array: Array, rows: int | None = None) -> Iterator[slice]:
    """Yield slices of rows, in order, of about `BLOCK_VALUES` values each.

    Args:
        array: (rows, ...).
        rows: How many there are, if not those of the array but of an index into it.
    """
    step = max(1, BLOCK_VALUES // max(1, array[:1].size))
    for start in range(0, len(array) if rows is None else rows, step):
        yield slice(start, start + step)


def told_blocks(array: Array, step: str, on_step: OnStep) -> Iterator[slice]:
    """Yield what `row_blocks` does, telling before each how many rows of the step are done."""
    for rows in row_blocks(array):
        on_step(f"{step}: row {rows.start:,} of {len(array):,}")
        yield rows


def feature_blocks(
    values: Array,
    mask: Mask | None = None,
    index: Ints | None = None,
) -> Iterator[Array]:
    """Yield blocks (feature_blocks, features) of a modality: its rows, real steps or pixels.

    Args:
        values: (rows, features), (rows, time, features) or (rows, channels, height, width).
        mask: (rows, time), True where a step is real.
        index: Which rows; all if not given.
    """
    for block in row_blocks(values, None if index is None else len(index)):
        rows = block if index is None else index[block]
        seen = values[rows] if mask is None else values[rows][mask[rows]]
        if values.ndim == 4:
            seen = np.moveaxis(seen, 1, -1)
        yield seen.reshape(-1, seen.shape[-1])
