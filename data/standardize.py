"""Standardisation: zero mean and unit scale, fitted on training rows only."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tuner.data.memory.blocks import feature_blocks, row_blocks
from tuner.data.memory.spool import Spool, select
from tuner.data.typing import Array, Float32s, Floats, Ints, Mask

_EXACT = 2**24  # below it float32 holds every whole number


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardizer:
    """Maps each feature to (value - mean) / scale.

    The features are the last axis of (rows, features) and (rows, time, features), and the
    channels of (rows, channels, height, width).

    Attributes:
        mean: (features,), in the type of the values: float32 or float64.
        scale: (features,), float32, the population standard deviation; 1 where it is 0.
    """

    mean: Float32s | Floats
    scale: Float32s

    def __post_init__(self) -> None:
        self.mean.setflags(write=False)
        self.scale.setflags(write=False)

    @classmethod
    def identity(cls, features: int) -> "Standardizer":
        """Leave values as they are."""
        return cls(mean=np.zeros(features, np.float32), scale=np.ones(features, np.float32))

    @classmethod
    def fit(
        cls,
        values: Float32s | Floats,
        mask: Mask | None = None,
        index: Ints | None = None,
    ) -> "Standardizer":
        """Fit to training rows.

        Args:
            values: (rows, features), (rows, time, features) or
                (rows, channels, height, width), finite.
            mask: (rows, time), True where a step counts.
            index: Which rows are those of training; all if not given.

        Raises:
            ValueError: If there is nothing to fit to, or the shape is none of the above.
        """
        if values.ndim not in (2, 3, 4):
            raise ValueError(f"cannot standardise values of shape {values.shape}")
        count = sum(len(block) for block in feature_blocks(values, mask, index))
        if count == 0:
            raise ValueError("cannot fit a standardizer to no rows")
        blocks = partial(_in_float64, values, mask, index)
        mean = sum(block.sum(axis=0) for block in blocks()) / count
        # Two passes: the textbook difference of squares cancels where the mean is large.
        squares = sum(_squares(block, mean) for block in blocks())
        scale = np.sqrt(squares / count).astype(np.float32)
        return cls(mean=mean.astype(values.dtype), scale=np.where(scale > 0, scale, np.float32(1)))

    def __call__(
        self,
        values: Array,
        mask: Mask | None = None,
        index: Ints | None = None,
    ) -> Float32s:
        """Standardise values of the shape that it was fitted to, with any number of rows.

        Args:
            values: As in `fit`.
            mask: As in `fit`; steps that do not count become 0.
            index: Which rows; all if not given.
        """
        axes = (-1, 1, 1) if values.ndim == 4 else (-1,)
        mean, scale = self.mean.reshape(axes), self.scale.reshape(axes)
        count = len(values) if index is None else len(index)
        spool = Spool()
        for block in row_blocks(values, count):
            rows = block if index is None else index[block]
            exact = values[rows].astype(np.float64)
            exact -= mean  # in place: new memory costs as much as the arithmetic
            exact /= scale
            scaled = exact.astype(np.float32)
            if mask is not None:
                scaled[~mask[rows]] = 0
            spool.append(scaled)
        return spool.array(np.float32, (count, *values.shape[1:]))


def _in_float64(
    values: Float32s | Floats,
    mask: Mask | None,
    index: Ints | None,
) -> Iterator[Floats]:
    for block in feature_blocks(values, mask, index):
        yield block.astype(np.float64)


def _squares(block: Floats, mean: Floats) -> Floats:
    """(features,) sums of squared deviations of a block that is nobody else's."""
    block -= mean
    block *= block
    total: Floats = block.sum(axis=0)
    return total


def are_ids(values: Array) -> bool:
    """Whether all values are whole numbers from 0, as the ids of tokens are, that float32 holds."""
    return values.dtype.kind in "iu" or all(
        bool(np.all((block >= 0) & (block < _EXACT) & (block == np.floor(block))))
        for block in (values[rows] for rows in row_blocks(values))
    )


def whole_numbers(values: Array, index: Ints) -> Array:
    """Return rows as they are: ids and bytes of text in their own type, others in int64."""
    if values.dtype.kind in "iu":
        return select(values, index)
    spool = Spool()
    for block in row_blocks(values, len(index)):
        spool.append(values[index[block]].astype(np.int64))
    return spool.array(np.int64, (len(index), *values.shape[1:]))
