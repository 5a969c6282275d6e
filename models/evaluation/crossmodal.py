"""What encoders of two modalities do together: find each other's rows, and each other's classes.

Both are measured where the alignment loss works, on L2-normalised projections (Radford et al.,
arXiv 2103.00020, sections 3.1 and 3.1.4), by cosine.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from tuner.models.typing import Floats, Ints

RECALLS = (1, 5, 10)
_GALLERY = 1000  # rows that a partner is looked for among, at most: as COCO's "1K" protocol has it
_ROUNDING = 1e-6  # of a cosine in single precision

FUSED = "fused"
ZERO_SHOT: Mapping[str, str] = {"a": "zero_shot_a", "b": "zero_shot_b"}
RECALL_NAMES: Mapping[str, tuple[str, int]] = {
    f"recall_at_{k}_{one}_to_{other}": (one, k)
    for one, other in (("a", "b"), ("b", "a"))
    for k in RECALLS
}


def galleries(rows: int) -> Iterator[Ints]:
    """Deal rows into galleries of alike size, of 1,000 at most: which rows each holds."""
    count = max(-(-rows // _GALLERY), 1)
    for number in range(count):
        yield np.arange(number, rows, count)


def gallery_size(rows: int) -> int:
    """How many rows the largest gallery of so many rows holds."""
    return max(map(len, galleries(rows)))


def recalls(a: Floats, b: Floats) -> dict[str, Floats]:
    """Look for the partner of each row among the rows of the other modality.

    Recall@k of a row is 1 where its partner is among the k that are most alike, else 0. Of rows
    that are as alike as the partner each may stand before it: the row has the share of their
    orders that put it among the k. So a modality that is embedded in one point has k / rows.

    Args:
        a: (replicates, rows, width), of length 1.
        b: The same of the partners, in the same order.

    Returns:
        By `RECALL_NAMES`, (replicates, rows).
    """
    ranks = [_ranks(one @ other.T) for one, other in zip(a, b, strict=True)]
    return {
        name: np.array([_share_among(k, *by_side[side]) for by_side in ranks], dtype=np.float32)
        for name, (side, k) in RECALL_NAMES.items()
    }


def _ranks(alike: Floats) -> dict[str, tuple[Ints, Ints]]:
    """Per side that asks, how many are more alike than the partner, and how many as much."""
    partner = np.diagonal(alike)
    found = {}
    for side, seen in (("a", alike), ("b", alike.T)):
        above = seen - partner[:, None]
        ahead = np.count_nonzero(above > _ROUNDING, axis=1)
        found[side] = (ahead, np.count_nonzero(above >= -_ROUNDING, axis=1) - ahead)
    return found


def _share_among(k: int, ahead: Ints, equal: Ints) -> Floats:
    share: Floats = np.clip((k - ahead) / equal, 0, 1)
    return share


def prototypes(sums: Floats) -> Floats:
    """Return the direction of the mean of each class, 0 where it has none.

    Args:
        sums: (replicates, classes, width), of the rows of each class.
    """
    length = np.linalg.norm(sums, axis=-1, keepdims=True)
    directions: Floats = np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)
    return directions


def nearest_class(queries: Floats, classes: Floats) -> Ints:
    """Return the class whose prototype is most alike; the first of equals.

    With prototypes of the other modality it is classification without a label of one's own, as
    CLIP's by the mean embedding of several texts of a class.

    Args:
        queries: (replicates, rows, width).
        classes: (replicates, classes, width), 0 for a class that is not known.

    Returns:
        (replicates, rows) class codes.
    """
    alike = queries @ np.swapaxes(classes, 1, 2)
    known = np.any(classes != 0, axis=-1)[:, None]
    codes: Ints = np.where(known, alike, -np.inf).argmax(-1).astype(np.int32)
    return codes
