"""Whether two data sets have rows in common, told by a few numbers that give no row away.

Of the hashes of all different rows the least are kept (bottom-k sketch; Cohen and Kaplan,
*Summarizing data using bottom-k sketches*, PODC 2007): the least of both together that either
has are a random sample of all rows of both, of which the share that both have is estimated.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from tuner.data import PairedDataset
from tuner.data.memory.blocks import row_blocks
from tuner.typing import Array

_KEPT = 64
_MATTERS = 0.05  # of the rows of the smaller


def sketch(dataset: PairedDataset) -> dict[str, tuple[int, ...]]:
    """Sketch the rows of each modality, labelled or not.

    Rows are compared as single-precision numbers, or as they are where they are none.
    """
    return {"a": _least(dataset.a.values), "b": _least(dataset.b.values)}


def have_common_rows(
    one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]
) -> bool:
    """Whether a modality of one has rows that a modality of the other has, more than a few."""
    return any(
        _overlap(mine, theirs) >= _MATTERS for mine in one.values() for theirs in other.values()
    )


def _least(values: Array) -> tuple[int, ...]:
    least: set[int] = set()
    for block in row_blocks(values):
        rows = values[block].reshape(-1, values[0].size)
        if rows.dtype.kind in "fiub":
            rows = rows.astype("<f4") + np.float32(0)  # -0.0 and 0.0 are the same value
        found = {
            int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=6).digest(), "big")
            for row in np.ascontiguousarray(rows)
        }
        least = set(sorted(least | found)[:_KEPT])
    return tuple(sorted(least))


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Estimate what share the smaller has in common with the larger.

    The least hashes of the smaller that are no larger than the largest that the other kept would
    all be there if it had them.
    """
    shares = []
    for mine, theirs in ((one, other), (other, one)):
        within = [each for each in mine if each <= theirs[-1]] if theirs else []
        if within:
            shares.append(len(set(within) & set(theirs)) / len(within))
    return max(shares, default=0.0)
