"""Standardisation: zero mean and unit scale, fitted on training rows only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_VALUES = 2**20  # values held in float64 at a time, so that large modalities need no copy


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardizer:
    """Maps each feature to (value - mean) / scale.

    The features are the last axis of (rows, features) and (rows, time, features), and the
    channels of (rows, channels, height, width).

    Attributes:
        mean: (features,), float32.
        scale: (features,), float32, the population standard deviation; 1 where it is 0.
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        self.mean.setflags(write=False)
        self.scale.setflags(write=False)

    @classmethod
    def fit(
        cls, values: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None
    ) -> "Standardizer":
        """Fit to training rows.

        Args:
            values: (rows, features), (rows, time, features) or
                (rows, channels, height, width), finite.
            mask: (rows, time), True where a step counts.

        Raises:
            ValueError: If there is nothing to fit to, or the shape is none of the above.
        """
        if values.ndim not in (2, 3, 4):
            raise ValueError(f"cannot standardise values of shape {values.shape}")
        count = sum(len(block) for block in _observations(values, mask))
        if count == 0:
            raise ValueError("cannot fit a standardizer to no rows")
        mean = sum(block.sum(axis=0) for block in _observations(values, mask)) / count
        # Two passes: the textbook difference of squares cancels where the mean is large.
        squares = sum(((block - mean) ** 2).sum(axis=0) for block in _observations(values, mask))
        scale = np.sqrt(squares / count).astype(np.float32)
        return cls(mean=mean.astype(np.float32), scale=np.where(scale > 0, scale, np.float32(1)))

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Standardise values of the shape that it was fitted to, with any number of rows."""
        axes = (-1, 1, 1) if values.ndim == 4 else (-1,)
        mean, scale = self.mean.reshape(axes), self.scale.reshape(axes)
        result = np.empty(values.shape, dtype=np.float32)
        for rows in _row_blocks(values):
            result[rows] = (values[rows].astype(np.float64) - mean) / scale
        return result


def _observations(
    values: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield blocks of (observations, features) in float64."""
    for rows in _row_blocks(values):
        block = values[rows].astype(np.float64)
        if mask is not None:
            block = block[mask[rows]]
        if values.ndim == 4:
            block = np.moveaxis(block, 1, -1)
        yield block.reshape(-1, block.shape[-1])


def _row_blocks(values: npt.NDArray[Any]) -> Iterator[slice]:
    rows = max(1, BLOCK_VALUES // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
