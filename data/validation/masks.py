"""Checks the mask of a padded sequence."""

import numpy as np

from tuner.data.memory.blocks import row_blocks
from tuner.data.typing import Array, Mask
from tuner.data.validation.findings import Findings, rows_where
from tuner.data.validation.kinds import unusable_kind


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
    if array.ndim < 2:
        return None  # what is wrong with it is said elsewhere
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
            f"steps of {name!r}, is wanted."
        )
        return None
    if (holds := unusable_kind(mask, "biuf")) or not np.isin(mask, (0, 1)).all():
        what = holds or "values other than 0 and 1"
        findings.error(
            f"array {mask_name!r} holds {what}. Save it as booleans, True where a step is real."
        )
        return None
    return np.array(mask, dtype=np.bool_, order="C")


def check_steps(mask_name: str, array: Array, steps: Mask, findings: Findings) -> None:
    """Check that a mask keeps the steps that hold something.

    Args:
        mask_name: Name of the array of the mask.
        array: (rows, time, features) numbers.
        steps: (rows, time), True where a step is meant to be real.
        findings: Where faults are noted.
    """
    if _is_inverted(array, steps):
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


def _is_inverted(array: Array, steps: Mask) -> bool:
    kept = empty = full = 0
    for rows in row_blocks(array):
        real, block = steps[rows], array[rows]
        holds = np.any((block != 0) & (block == block), axis=-1)  # NaN is not itself
        kept += int(real.sum())
        empty += int((real & ~holds).sum())
        full += int((~real & holds).sum())
    return 2 * empty > kept and 2 * full > steps.size - kept > 0
