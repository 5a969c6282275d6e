"""How numbers are held: as float32, or as float64 where float32 would make one of two."""

import numpy as np
import numpy.typing as npt

from tuner.data.memory.blocks import feature_blocks, row_blocks
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Mask

_RESOLUTION = 2.0**-16  # of the range of a feature


def precision_of(array: Array, mask: Mask | None = None) -> npt.DTypeLike:
    """Return the type that numbers are held in.

    An offset eats the digits of float32: seconds since 1970 are rounded to two minutes. Where that
    is more than 1/65,536 of a feature's range (above 256 times the range, by and large), its
    modality is held in float64, and centred before it becomes float32.

    Args:
        array: Numbers (rows, features), (rows, time, features) or (rows, channels, height, width).
        mask: (rows, time), True where a step is real.
    """
    if np.can_cast(array.dtype, np.float32):
        return np.float32
    extremes = [_extremes(block) for block in feature_blocks(array, mask) if len(block)]
    if not extremes:
        return np.float32
    lows, highs, errors = (np.array(part) for part in zip(*extremes, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):  # infinities are refused later
        spans = np.fmax.reduce(highs) - np.fmin.reduce(lows)
        merged = (spans > 0) & (np.fmax.reduce(errors) > _RESOLUTION * spans)
    return np.float64 if merged.any() else np.float32


def _extremes(block: Array) -> tuple[Array, Array, Array]:
    """The least and the largest value of each feature, and by how much float32 rounds at most."""
    values = np.asarray(block, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(values.astype(np.float32) - values)
    error[~np.isfinite(error)] = 0  # is refused, in whatever type
    return np.fmin.reduce(values), np.fmax.reduce(values), np.fmax.reduce(error)


def is_raw_bfloat16(array: Array) -> bool:
    """Whether an array is what numpy.save writes of bfloat16: two bytes without a type."""
    return array.dtype.type is np.void and array.dtype.names is None and array.dtype.itemsize == 2


def is_small(array: Array) -> bool:
    """Whether an array is of a type of `ml_dtypes`: bfloat16, float8 and others."""
    return array.dtype.kind == "V" and array.dtype.type is not np.void


def from_small(array: Array) -> Array:
    """Turn a small type of `ml_dtypes` into float32, which holds all of its values."""
    spool = Spool()
    for rows in row_blocks(array):
        spool.append(np.asarray(array[rows]).astype(np.float32))
    return spool.array(np.float32, array.shape)


def from_bfloat16(array: Array) -> Array:
    """Turn raw bfloat16 into float32, of which it is the upper half."""
    spool = Spool()
    for rows in row_blocks(array):
        halves = np.ascontiguousarray(array[rows]).view(np.uint16).astype(np.uint32)
        spool.append((halves << 16).view(np.float32))
    return spool.array(np.float32, array.shape)
