"""Checks the mask of a padded sequence."""

import numpy as np

from tuner.data.memory.blocks import row_blocks
from tuner.data.typing import Array, Mask
from tuner.data.validation.findings import Findings, counted, rows_where
from tuner.data.validation.kinds import unusable_kind

_PADDED = 0.1  # share of rows


def mask_of_lengths(name: str, lengths: Array, array: Array, findings: Findings) -> Mask | None:
    """Make a mask of the number of real steps.

    Args:
        name: Name of the array of lengths.
        lengths: (rows,), whole numbers from 1 to the number of steps.
        array: (rows, time, features), what is masked.
        findings: Where faults are noted.

    Returns:
        (rows, time), True where a step is real; None if a fault was noted.
    """
    ids = array.ndim == 2 and array.dtype.kind in "iu"
    if array.ndim != 3 and not ids:
        return lengths  # that there are no steps to mask is said where masks are read
    rows, steps = array.shape[:2]
    if lengths.shape != (rows,) or lengths.dtype.kind not in "iuf":
        findings.error(
            f"array {name!r} of shape {lengths.shape} holds {lengths.dtype} values, where one "
            f"number of steps a row, ({rows:,},), is wanted."
        )
        return None
    if (bad := ~((lengths >= 1) & (lengths <= steps) & (lengths == np.rint(lengths)))).any():
        findings.error(
            f"array {name!r} holds other than whole numbers from 1 to {steps:,}, the steps that "
            f"there are, in {rows_where(bad)}. Correct them, or drop these rows from every array."
        )
        return None
    return np.asarray(np.arange(steps) < lengths[:, None])


def read_steps(
    name: str, array: Array, mask_name: str, mask: Array, findings: Findings
) -> Mask | None:
    """Check the form of a mask.

    Args:
        name: Name of the array that is masked.
        array: (rows, time) or (rows, time, features).
        mask_name: Name of the array of the mask.
        mask: (rows, time), 0 and 1 or booleans, true where a step is real.
        findings: Where faults are noted.

    Returns:
        (rows, time), True where a step is real; None if a fault was noted.
    """
    if mask.shape != array.shape[:2]:
        findings.error(
            f"array {mask_name!r} has shape {mask.shape}, where {array.shape[:2]}, the rows and "
            f"steps of {name!r}, is wanted.{_mend_of_shape(mask_name, mask, array)}"
        )
        return None
    if (holds := unusable_kind(mask, "biuf")) or not np.isin(mask, (0, 1)).all():
        what = holds or "values other than 0 and 1"
        findings.error(
            f"array {mask_name!r} holds {what}. Save it as booleans, True where a step is real."
        )
        return None
    return np.array(mask, dtype=np.bool_, order="C")


def _mend_of_shape(name: str, mask: Array, array: Array) -> str:
    if mask.shape == array.shape[:1]:
        return f" Numbers of real steps are chosen with --a-lengths {name} (or --b-lengths)."
    if mask.shape == (*array.shape[:2], 1):
        return f" Save {name}[:, :, 0]."
    return ""


def check_steps(mask_name: str, array: Array, steps: Mask, findings: Findings) -> None:
    """Check that a mask keeps the steps that hold something.

    Args:
        mask_name: Name of the array of the mask.
        array: (rows, time, features) numbers.
        steps: (rows, time), True where a step is meant to be real.
        findings: Where faults are noted.
    """
    kept_empty, kept_full, left_empty, left_full = _counts_of_steps(array, steps)
    if kept_empty > kept_full and left_full > left_empty:
        findings.error(
            f"array {mask_name!r} looks inverted: most steps that it keeps hold nothing but zeros "
            "or NaN, and most that it leaves out hold numbers. True has to mean a real step: save "
            f"{mask_name} == 0 in its place."
        )
    elif (bare := np.all(~steps, axis=1)).any():
        findings.error(
            f"array {mask_name!r} leaves no real step in {rows_where(bare)}. Drop these rows; or, "
            f"if it is true where a step is padding, save {mask_name} == 0 in its place."
        )
    elif not steps[:, 0].any():
        findings.warn(
            f"array {mask_name!r} leaves out the first step of every row. True has to mean a real "
            f"step: if it means padding, save {mask_name} == 0 in its place."
        )
    if left_empty and left_full and kept_full > kept_empty:
        findings.warn(
            f"array {mask_name!r} leaves out {counted(left_full, 'step')} that "
            f"{'holds' if left_full == 1 else 'hold'} numbers, beside {left_empty:,} that hold "
            "nothing but zeros or NaN. If all steps that hold numbers are real, correct it: a "
            "number of steps counts the last one, too."
        )


def warn_of_padding(name: str, values: Array, findings: Findings) -> None:
    """Name steps at an end that hold nothing but zeros, as padding does.

    Args:
        name: Name of the array.
        values: (rows, time, features), without a mask.
        findings: Where it is said.
    """
    if values.shape[1] < 2 or values.shape[2] < 2 or values.shape[1] == values.shape[2]:
        return  # a single feature may well be zero; square rows may be images
    padded = 0
    for rows in row_blocks(values):
        holds = np.any(values[rows] != 0, axis=2)
        padded += int((holds.any(axis=1) & ~(holds[:, 0] & holds[:, -1])).sum())
    if padded > _PADDED * len(values):
        findings.warn(
            f"array {name!r}: the first or last steps of {counted(padded, 'row')} of "
            f"{len(values):,} hold nothing but zeros, and count as real. If they are padding, save "
            f"({name} != 0).any(axis=2) as array '{name}_mask'."
        )


def _counts_of_steps(array: Array, steps: Mask) -> tuple[int, int, int, int]:
    """Numbers of steps: kept that hold nothing, and something; left out that do."""
    counts = np.zeros(4, dtype=np.int64)
    for rows in row_blocks(array):
        block = array[rows]
        holds = np.any((block != 0) & (block == block), axis=-1)  # NaN is not itself
        counts += np.bincount((2 * ~steps[rows] + holds).ravel(), minlength=4)
    kept_empty, kept_full, left_empty, left_full = counts.tolist()
    return kept_empty, kept_full, left_empty, left_full
