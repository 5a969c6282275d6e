"""Checks a modality of ids of tokens: (rows, tokens) whole numbers with a mask."""

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import row_blocks
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Mask
from tuner.data.validation.findings import Findings, rows_where
from tuner.data.validation.numbers.masks import check_steps, read_steps

_MOST = 2**24  # of vocabularies there are; below it float32 holds every id


def are_tokens(array: Array) -> bool:
    """Whether an array that comes with a mask holds ids: other numbers have an axis of features."""
    return array.ndim == 2 and array.dtype.kind in "iu"


def read_tokens(
    name: str,
    array: Array,
    mask: Array,
    findings: Findings,
    *,
    mask_name: str,
    max_bytes: int,
) -> Modality | None:
    """Check ids of tokens.

    Args:
        name: Name of the array.
        array: (rows, tokens), whole numbers from 0; padding may be anything.
        mask: (rows, tokens), true where a token is real.
        findings: Where faults are noted.
        mask_name: Name of the array that the mask is from.
        max_bytes: Limit on its size as int32.

    Returns:
        The modality, or None if a fault was noted.
    """
    before = len(findings.errors)
    _check_form(name, array, findings, max_bytes)
    real = read_steps(name, array, mask_name, mask, findings)
    if real is None or len(findings.errors) > before:
        return None
    check_steps(mask_name, array[..., None], real, findings)
    _check_ids(name, array, real, findings)
    if len(findings.errors) > before:
        return None
    spool = Spool()
    for rows in row_blocks(array):
        spool.append(np.where(real[rows], array[rows], 0).astype(np.int32))
    return Modality(name=name, values=spool.array(np.int32, array.shape), mask=real)


def _check_form(name: str, array: Array, findings: Findings, max_bytes: int) -> None:
    if array.size == 0:
        findings.error(f"array {name!r} is empty: its shape is {array.shape}. Save it with values.")
    if 4 * array.size > max_bytes:
        findings.error(
            f"array {name!r} takes {4 * array.size:,} bytes as int32, over the limit of "
            f"{max_bytes:,}. Save less, or raise the limit (TUNER_MAX_DATA)."
        )
    if np.ma.is_masked(array):
        findings.error(f"array {name!r} has masked-out values. Fill them in or drop their rows.")


def _check_ids(name: str, array: Array, real: Mask, findings: Findings) -> None:
    wrong = np.any(real & ((array < 0) | (array >= _MOST)), axis=1)
    if wrong.any():
        findings.error(
            f"array {name!r} holds other than ids of tokens, whole numbers from 0 to "
            f"{_MOST - 1:,}, in {rows_where(wrong)}. Mask what is padding; measurements "
            "save as floats, (rows, time, features)."
        )
        return
    seen = array[real]
    if seen.size and seen.min() == seen.max():
        findings.error(
            f"array {name!r} is constant: all of its tokens are {seen[0]}, so nothing can be "
            "learned from it. Check how it was made, or choose another array."
        )
