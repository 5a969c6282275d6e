"""Checks one modality: its values, and the mask of padded steps."""

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import feature_blocks, row_blocks
from tuner.data.memory.spool import Spool, is_spooled
from tuner.data.typing import Array, Floats, Ints, Mask
from tuner.data.validation.findings import Findings, counted, listing, rows_where
from tuner.data.validation.kinds import unusable_kind
from tuner.data.validation.numbers.extremes import warn_of_extremes
from tuner.data.validation.numbers.masks import check_steps, read_steps, warn_of_padding
from tuner.data.validation.numbers.precision import (
    from_bfloat16,
    from_small,
    is_raw_bfloat16,
    is_small,
    precision_of,
)

_SHAPES = "(rows, features), (rows, time, features) or (rows, channels, height, width)"


def read_modality(
    name: str,
    array: Array,
    mask: Array | None,
    findings: Findings,
    *,
    mask_name: str,
    max_bytes: int,
) -> Modality | None:
    """Check one modality.

    Args:
        name: Name of the array.
        array: Numbers of shape (rows, features), (rows, time, features) or
            (rows, channels, height, width). Two raw bytes a value are bfloat16.
        mask: (rows, time), true where a step is real; steps that are not may hold anything.
        findings: Where faults are noted.
        mask_name: Name of the array that the mask is from.
        max_bytes: Limit on its size as float32.

    Returns:
        The modality, or None if a fault was noted.
    """
    before = len(findings.errors)
    if is_raw_bfloat16(array):
        array = from_bfloat16(array)
    elif is_small(array):
        array = from_small(array)
    _check_form(name, array, findings)
    if 4 * array.size > max_bytes:
        findings.error(
            f"array {name!r} takes {4 * array.size:,} bytes as float32, over the limit of "
            f"{max_bytes:,}. Save less, or raise the limit (TUNER_MAX_DATA)."
        )
    steps = None if mask is None else _read_mask(name, array, mask_name, mask, findings)
    if len(findings.errors) > before:
        return None
    values = _converted(array, steps)
    _check_finite(name, array, values, findings)
    if len(findings.errors) > before:
        return None
    side = Modality(name=name, values=values, mask=steps)
    lows, highs = _ranges(side)
    _check_constant(side, lows == highs, findings)
    if len(findings.errors) > before:
        return None
    warn_of_extremes(side, lows, highs, findings)
    if values.ndim == 3 and steps is None:
        warn_of_padding(name, values, findings)
    return side


def _check_form(name: str, array: Array, findings: Findings) -> None:
    if holds := unusable_kind(array, "biuf"):
        findings.error(f"array {name!r} holds {holds}.")
    elif np.ma.is_masked(array):
        findings.error(f"array {name!r} has masked-out values. Fill them in or drop their rows.")
    if array.ndim == 1:
        findings.error(
            f"array {name!r} has shape {array.shape}, one value a row, where {_SHAPES} is wanted. "
            "For a single feature, save it as array.reshape(-1, 1)."
        )
    elif array.ndim not in (2, 3, 4):
        findings.error(
            f"array {name!r} has {counted(array.ndim, 'axis', 'axes')}, shape {array.shape}, where "
            f"{_SHAPES} is wanted. Reshape it."
        )
    elif array.size == 0:
        findings.error(f"array {name!r} is empty: its shape is {array.shape}. Save it with values.")


def _read_mask(
    name: str, array: Array, mask_name: str, mask: Array, findings: Findings
) -> Mask | None:
    if array.ndim in (2, 4):
        findings.error(
            f"array {mask_name!r} masks padded steps, but {name!r} of shape {array.shape} has no "
            f"time axis. Remove it, or save {name!r} as (rows, time, features), or as whole "
            "numbers, (rows, tokens), if it holds ids of tokens."
        )
        return None
    if array.ndim != 3:
        return None
    steps = read_steps(name, array, mask_name, mask, findings)
    if steps is not None and unusable_kind(array, "biuf") is None:
        check_steps(mask_name, array, steps, findings)
    return steps


def _converted(array: Array, steps: Mask | None) -> Array:
    """Copy to float32, or float64 where that is needed, C order; padded steps become 0.

    What was read from a file and is so already stays where it is: nobody else can change it.
    """
    dtype, spool = precision_of(array, steps), Spool()
    if steps is None and array.dtype == dtype and array.flags.c_contiguous and is_spooled(array):
        return array
    for rows in row_blocks(array):
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found infinite
            block = np.array(array[rows], dtype=dtype, order="C", subok=False)
        if steps is not None:
            block[~steps[rows]] = 0
        spool.append(block)
    return spool.array(dtype, array.shape)


def _check_finite(name: str, array: Array, values: Array, findings: Findings) -> None:
    nan = infinite = 0
    too_large = False
    bad = np.zeros(len(values), dtype=np.bool_)
    often = np.zeros(values.shape[_feature_axis(values)], dtype=np.int64)
    for rows in row_blocks(values):
        with np.errstate(over="ignore"):
            block = values[rows].astype(np.float32)
        finite = np.isfinite(block)
        if finite.all():
            continue
        is_nan = np.isnan(block)
        nan += int(is_nan.sum())
        infinite += int((~finite & ~is_nan).sum())
        too_large |= bool((np.isfinite(array[rows]) & np.isinf(block)).any())
        by_feature = _by_feature(~finite)
        bad[rows] = by_feature.any(axis=1)
        often += by_feature.sum(axis=0)
    if not bad.any():
        return
    parts = [f"{nan:,} NaN"] if nan else []
    if infinite:
        parts.append(counted(infinite, "infinite value"))
    reason = " (numbers beyond 3.4e38 do not fit into float32)" if too_large else ""
    findings.error(
        f"array {name!r} holds {' and '.join(parts)}{reason} in {rows_where(bad)}. "
        f"{_mend_of_features(name, values, often)}"
    )


def _mend_of_features(name: str, values: Array, often: Ints) -> str:
    """Say what to do about values that are not finite; `often` is the number of rows by feature."""
    fill = "Fill them in, or drop these rows from every array."
    if values.ndim == 3 and _are_whole_steps(values):
        return (
            "Steps hold numbers either in all features or in none: if these are padding, save "
            f"numpy.isfinite({name}).all(axis=2) as array '{name}_mask'. Else fill them in."
        )
    lost = np.flatnonzero(2 * often > len(values)).tolist()
    if not lost:
        return fill
    if len(lost) == len(often):
        return "No feature holds numbers in most rows: check how it was made, or choose another."
    axis = _feature_axis(values)
    what = "channel" if axis == 1 and values.ndim == 4 else "feature"
    each = [f"{number} ({counted(int(often[number]), 'row')})" for number in lost]
    are = (
        f"{what.capitalize()} {each[0]} is"
        if len(lost) == 1
        else f"{what.capitalize()}s {listing(each, show=str)} are"
    )
    rest = f" {fill.replace('them', 'the others')}" if often.sum() > often[lost].sum() else ""
    return (
        f"{are} lost (counting from 0): leave {'it' if len(lost) == 1 else 'them'} out, as "
        f"numpy.delete({name}, {lost}, axis={axis}).{rest}"
    )


def _are_whole_steps(values: Array) -> bool:
    """Whether what is not finite fills whole steps, and leaves every row some of them."""
    if values.shape[2] < 2:
        return False
    for rows in row_blocks(values):
        held = np.isfinite(values[rows])
        real: Mask = np.any(held, axis=2)
        if not real.any(axis=1).all() or np.any(np.all(held, axis=2) != real):
            return False
    return True


def _feature_axis(values: Array) -> int:
    return 1 if values.ndim in (2, 4) else 2


def _by_feature(flags: Array) -> Mask:
    """(rows, features): whether any step or pixel of a feature is flagged."""
    axis = _feature_axis(flags)
    others = tuple(each for each in range(1, flags.ndim) if each != axis)
    return np.asarray(flags.any(axis=others))


def _ranges(side: Modality) -> tuple[Floats, Floats]:
    """(features,): the least and the largest number of each feature (image: channel)."""
    ranges = [(b.min(0), b.max(0)) for b in feature_blocks(side.values, side.mask) if len(b)]
    lows, highs = zip(*ranges, strict=True)
    return np.min(lows, 0).astype(np.float64), np.max(highs, 0).astype(np.float64)


def _check_constant(side: Modality, constant: Mask, findings: Findings) -> None:
    """Name features (image: channels) that have the same value everywhere."""
    name = side.name
    if constant.all():
        findings.error(
            f"array {name!r} is constant: none of its features ever changes, so nothing can be "
            "learned from it. Check how it was made, or choose another array."
        )
    elif constant.any():
        what = "channel" if side.values.ndim == 4 else "feature"
        numbers = np.flatnonzero(constant).tolist()
        findings.warn(
            f"array {name!r} has {counted(len(numbers), f'constant {what}')} of {len(constant):,} "
            f"(number {listing(numbers)}, counting from 0), which carry no information. "
            "Consider leaving them out."
        )
