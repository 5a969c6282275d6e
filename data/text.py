"""Turns arrays of text or bytes into valid text."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.findings import Findings, rows_where

MAX_LETTERS = 1_000  # a label or group is a name; longer ones also cost memory in every row


def read_text(
    name: str, array: npt.NDArray[Any], findings: Findings
) -> npt.NDArray[np.str_] | None:
    """Check text.

    Args:
        name: Name of the array.
        array: (rows,), of dtype kind U, or S in UTF-8.
        findings: Where faults are noted.

    Returns:
        (rows,), or None if a fault was noted.
    """
    distinct, codes = np.unique(array, return_inverse=True)
    texts = [_valid(distinct, index) for index in range(len(distinct))]
    invalid = np.array([text is None for text in texts], dtype=np.bool_)
    if invalid.any():
        findings.error(
            f"array {name!r} holds text that is not valid Unicode (bytes: not UTF-8), or longer "
            f"than {MAX_LETTERS:,} letters, in {rows_where(invalid[codes])}. Correct these names."
        )
        return None
    return np.array([text or "" for text in texts], dtype=np.str_)[codes]


def _valid(distinct: npt.NDArray[Any], index: int) -> str | None:
    try:
        item = distinct[index]  # NumPy holds any 32 bits as a letter; Python does not
        text = item.decode("utf-8") if isinstance(item, bytes) else str(item)
        text.encode("utf-8")  # refuses surrogates, which no store downstream takes
    except ValueError:
        return None
    return text if len(text) <= MAX_LETTERS else None
