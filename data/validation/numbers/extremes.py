"""What is doubtful in numbers: lone ones far from all others, and marks of missing values."""

from collections.abc import Iterator

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import feature_blocks
from tuner.data.typing import Array, Floats, Ints
from tuner.data.validation.findings import Findings, counted, listing

SENTINELS = (-1, -9, -99, -100, -999, -9999, 99, 255, 999, 9999, 99999)  # "missing" or "ignore"
_MARKS = SENTINELS[2:]  # -1 and -9 are ordinary features
_LOOKED_AT = (4096, 2**22)  # rows, evenly spread, and values: enough for quantiles
_FAR = 1e3  # times the range of nine tenths of the numbers


def stands_apart(value: float, distinct: Array) -> bool:
    """Whether a value is the only one below 0, or farther from the others than these are."""
    numbers = distinct.astype(np.float64)  # half precision holds no 99,999
    others = numbers[np.isfinite(numbers) & (numbers != value)]
    if len(others) < 2 or len(others) == len(distinct):
        return False
    if value < 0 <= others.min():
        return True
    return bool(np.abs(others - value).min() > np.ptp(others))


def some_rows(rows: int, size: int = 1) -> Ints:
    """Return evenly spread numbers of rows of `size` values each; all if they are few."""
    wanted = max(2, min(rows, _LOOKED_AT[0], _LOOKED_AT[1] // size))
    return np.unique(np.linspace(0, rows - 1, wanted).astype(np.int64))


def warn_of_far_targets(name: str, targets: Floats, findings: Findings) -> None:
    """Name a target that is far from all others; `targets` is (rows,), NaN without a label."""
    known = targets[~np.isnan(targets), None].astype(np.float64)
    for _, extreme, others in _far_from(known, known.min(0), known.max(0)):
        findings.warn(
            f"array {name!r} holds {extreme:g} in row {int(np.argmax(targets == extreme))} "
            f"(counting from 0), far from the others ({others}), which such a scale hardly tells "
            "apart. Correct it, mark it as missing (NaN), or take logarithms."
        )


def warn_of_extremes(side: Modality, lows: Floats, highs: Floats, findings: Findings) -> None:
    """Name features whose scale a lone number decides, and those that hold marks.

    Args:
        side: The modality.
        lows: (features,), the least numbers of real steps.
        highs: (features,), the largest.
        findings: Where it is said.
    """
    sample = _by_feature(side)
    what = "channel" if side.values.ndim == 4 else "feature"
    far = [
        f"{number} ({extreme:g}, {others})"
        for number, extreme, others in _far_from(sample, lows, highs)
    ]
    if far:
        findings.warn(
            f"array {side.name!r} has {counted(len(far), what)} (counting from 0) with a number "
            f"far from the others, which such a scale hardly tells apart: "
            f"{listing(far, show=str)}. Correct or clip such numbers."
        )
    if marked := [
        f"{number} ({mark:g}, {share:.0%})" for number, mark, share in _marks(sample, lows, highs)
    ]:
        findings.warn(
            f"array {side.name!r} has {counted(len(marked), what)} (counting from 0) with a number "
            "that usually stands for a missing one, and here counts as a number like others: "
            f"{listing(marked, show=str)}. If it is missing, fill it in, as by the median."
        )


def _by_feature(side: Modality) -> Floats:
    """(numbers, features): of real steps, or pixels, of evenly spread rows."""
    rows = some_rows(len(side.values), side.values[:1].size)
    values = np.asarray(side.values[rows], dtype=np.float64)
    mask = None if side.mask is None else side.mask[rows]
    return np.concatenate(list(feature_blocks(values, mask)))


def _far_from(sample: Floats, lows: Floats, highs: Floats) -> Iterator[tuple[int, float, str]]:
    """Yield the features whose extreme is far from most numbers, with it and the range of these."""
    first, last = np.quantile(sample, (0.05, 0.95), axis=0)
    below, above = first - lows, highs - last
    far = (np.maximum(below, above) > _FAR * (last - first)) & (last > first)
    for number in np.flatnonzero(far).tolist():
        extreme = lows[number] if below[number] > above[number] else highs[number]
        yield (
            number,
            float(extreme),
            f"nine in ten from {first[number]:.4g} to {last[number]:.4g}",
        )


def _marks(sample: Floats, lows: Floats, highs: Floats) -> Iterator[tuple[int, float, float]]:
    """Yield the features that hold a mark, with it and its share."""
    for number in np.flatnonzero(np.isin(lows, _MARKS) | np.isin(highs, _MARKS)).tolist():
        distinct, counts = np.unique(sample[:, number], return_counts=True)
        for mark, count in zip(distinct, counts, strict=True):
            if mark in _MARKS and count > 1 and stands_apart(mark, distinct):
                yield number, float(mark), float(count / len(sample))
