"""Turns arrays of text or bytes into valid text."""

import numpy as np
import numpy.typing as npt

from tuner.data.typing import Array, Mask
from tuner.data.validation.findings import Findings, rows_where

MAX_LETTERS = 1_000  # a label or group is a name; longer ones also cost memory in every row


def read_text(name: str, array: Array, findings: Findings) -> npt.NDArray[np.str_] | None:
    """Check text.

    Args:
        name: Name of the array.
        array: (rows,), of dtype kind U, or S in UTF-8.
        findings: Where faults are noted.

    Returns:
        (rows,), or None if a fault was noted.
    """
    distinct, codes = np.unique(array, return_inverse=True)
    texts: list[str | None]
    if array.dtype.kind == "U":
        texts = [None if bad else str(distinct[i]) for i, bad in enumerate(is_invalid(distinct))]
    else:
        texts = [_decode(item) for item in distinct.tolist()]
    refused = np.array([text is None or len(text) > MAX_LETTERS for text in texts], dtype=np.bool_)
    if refused.any():
        findings.error(
            f"array {name!r} holds text that is not valid Unicode (bytes: not UTF-8), or longer "
            f"than {MAX_LETTERS:,} letters, in {rows_where(refused[codes])}. Correct these names."
        )
        return None
    return np.array([text or "" for text in texts], dtype=np.str_)[codes]


def is_invalid(distinct: npt.NDArray[np.str_]) -> Mask:
    """Find what Python cannot make a str of (NumPy takes any 32 bits), or no store can encode."""
    native = np.ascontiguousarray(distinct, dtype=distinct.dtype.newbyteorder("="))
    letters = native.view(np.uint32).reshape(len(distinct), -1)
    surrogate = (letters >= 0xD800) & (letters <= 0xDFFF)
    return np.asarray(np.any((letters > 0x10FFFF) | surrogate, axis=1))


def _decode(item: bytes) -> str | None:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError:
        return None
