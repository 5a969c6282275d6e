"""Checks one modality: its values, and the mask of padded steps."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.dataset import Modality
from data.findings import Findings, counted, listing, rows_where

Array = npt.NDArray[Any]

_KINDS = {
    "U": "text; encode it as numbers",
    "S": "text; encode it as numbers",
    "c": "complex numbers; store their real and imaginary parts (or modulus and phase) as features",
    "O": "Python objects, which are never unpickled; save it as a plain array, with .astype(float)",
    "M": "dates; store them as numbers, for example with .astype('datetime64[s]').astype(float)",
    "m": "durations; store them as numbers, for example divided by numpy.timedelta64(1, 's')",
    "V": "records; store each of their fields as an array of its own",
}
_SHAPES = "(rows, features), (rows, time, features) or (rows, channels, height, width)"


def unusable_kind(array: Array, allowed: str) -> str | None:
    """Say in words what an array holds if its dtype kind is not in `allowed`."""
    if array.dtype.kind in allowed:
        return None
    return _KINDS.get(array.dtype.kind, f"values of type {array.dtype}; save it as numbers")


def read_modality(
    name: str, array: Array, mask: Array | None, findings: Findings
) -> Modality | None:
    """Check one modality.

    Args:
        name: Name of the array.
        array: Numbers of shape (rows, features), (rows, time, features) or
            (rows, channels, height, width).
        mask: (rows, time), true where a step is real; steps that are not may hold anything.
        findings: Where faults are noted.

    Returns:
        The modality, or None if a fault was noted.
    """
    before = len(findings.errors)
    _check_form(name, array, findings)
    steps = None if mask is None else _read_mask(name, array, mask, findings)
    if len(findings.errors) > before:
        return None
    values = _to_float32(array, steps)
    _check_finite(name, array, values, findings)
    if len(findings.errors) == before:
        _check_constant(name, values, steps, findings)
    if len(findings.errors) > before:
        return None
    return Modality(name=name, values=values, mask=steps)


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
    name: str, array: Array, mask: Array, findings: Findings
) -> npt.NDArray[np.bool_] | None:
    mask_name = f"{name}_mask"
    if array.ndim in (2, 4):
        findings.error(
            f"array {mask_name!r} masks padded steps, but {name!r} of shape {array.shape} has no "
            f"time axis. Remove it, or save {name!r} as (rows, time, features)."
        )
        return None
    if array.ndim != 3:
        return None
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
    steps = np.array(mask, dtype=np.bool_, order="C")
    if (bare := np.all(~steps, axis=1)).any():
        findings.error(
            f"array {mask_name!r} leaves no real step in {rows_where(bare)}. Drop these rows."
        )
    return steps


def _to_float32(array: Array, steps: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Copy to float32, C order; padded steps become 0, whatever they held."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported as infinite
        values = np.array(array, dtype=np.float32, order="C", subok=False)
    if steps is not None:
        values[~steps] = 0
    return values


def _check_finite(
    name: str, array: Array, values: npt.NDArray[np.float32], findings: Findings
) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    nan = int(np.isnan(values).sum())
    infinite = int((~finite).sum()) - nan
    parts = [f"{nan:,} NaN"] if nan else []
    if infinite:
        parts.append(counted(infinite, "infinite value"))
    rows = np.any(~finite.reshape(len(values), -1), axis=1)
    too_large = infinite and bool((np.isfinite(array) & np.isinf(values)).any())
    reason = " (numbers beyond 3.4e38 do not fit into float32)" if too_large else ""
    findings.error(
        f"array {name!r} holds {' and '.join(parts)}{reason} in {rows_where(rows)}. Fill them in, "
        "or drop these rows from every array."
    )


def _check_constant(
    name: str,
    values: npt.NDArray[np.float32],
    steps: npt.NDArray[np.bool_] | None,
    findings: Findings,
) -> None:
    """Look for features (image: channels) that have the same value everywhere."""
    observed = values if steps is None else values[steps]
    axis = 1 if values.ndim == 4 else observed.ndim - 1
    others = tuple(i for i in range(observed.ndim) if i != axis)
    constant = observed.min(axis=others) == observed.max(axis=others)
    if constant.all():
        findings.error(
            f"array {name!r} is constant: none of its features ever changes, so nothing can be "
            "learned from it. Check how it was made, or choose another array."
        )
    elif constant.any():
        what = "channel" if values.ndim == 4 else "feature"
        numbers = np.flatnonzero(constant).tolist()
        findings.warn(
            f"array {name!r} has {counted(len(numbers), f'constant {what}')} of {len(constant):,} "
            f"(number {listing(numbers)}, counting from 0), which carry no information. "
            "Consider leaving them out."
        )
