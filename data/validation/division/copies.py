"""Finds rows that repeat another row's A or B, which a split must not tear apart.

A score on a row whose copy was trained on tells of memory. Several captions of one image repeat the
image; a careless join or an augmentation repeats both.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from tuner.data.dataset import Modality, Split
from tuner.data.memory.blocks import OnStep, silent, told_blocks
from tuner.data.typing import Array, Ints, Mask, Splits
from tuner.data.validation.findings import Findings, counted

MATTER_FROM = 0.01  # share of rows: fewer move a score by less than its noise
_COMMON = (0.05, 10)  # a value in more than this share of rows, and this many, is no copy
_BY_CHANCE = 0.1  # of the equal pairs
_LEAKS = (  # scored rows, what they repeat, and what follows
    (Split.VALIDATION, Split.TRAIN, "scores on them tell of memory"),
    (Split.TEST, Split.TRAIN, "scores on them tell of memory"),
    (Split.TEST, Split.VALIDATION, "they confirm less than new rows would: λ is chosen on these"),
)
_ROWS = {Split.TRAIN: "training", Split.VALIDATION: "validation"}
_IN_CHAINS = (
    "Chains of them (a row shares A with one row and B with another) run through too much of the "
    "data to be kept together, so only rows that repeat both A and B of another are. Number what "
    "belongs together in an array 'group', or leave rows of these chains out."
)
_SAMPLE = (4096, 64)  # rows and values of each that tell what chance makes equal


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """Which rows are copies of each other.

    Attributes:
        a: (rows,) equal for rows whose A is equal, but for what is so by chance (a few coarse
            features are) or common to many rows (a blank image is).
        b: The same of B.
        either: (rows,) equal for rows that hang together by equal A or B, or where too many would,
            for rows that have both.
        in_chains: Whether too many hang together.
        common: By side, how many rows have one of its common values.
    """

    a: Ints
    b: Ints
    either: Ints
    in_chains: bool
    common: dict[str, int]

    @property
    def matter(self) -> bool:
        """Whether there are enough to make scores false."""
        return repeating(self.either) >= MATTER_FROM * len(self.either)


def find_copies(a: Modality, b: Modality, on_step: OnStep = silent) -> Copies:
    """Compare all rows, by a hash of their values as the program uses them.

    Args:
        a: The first modality.
        b: The second modality.
        on_step: Told how many rows are hashed.
    """
    common: dict[str, int] = {}
    codes = {}
    for name, side in (("a", a), ("b", b)):
        same = _numbered(_hashes(side, on_step))
        often = _in_too_many(same)
        if _is_by_chance(side, same):
            often[:] = True
        elif often.any():
            common[name] = int(often.sum())
        codes[name] = _numbered(np.where(often, len(same) + np.arange(len(same)), same))
    either = _connected(codes["a"], codes["b"])
    in_chains = bool(_in_too_many(either).any())
    if in_chains:
        either = _numbered(codes["a"] * len(either) + codes["b"])
    return Copies(a=codes["a"], b=codes["b"], either=either, in_chains=in_chains, common=common)


def repeating(codes: Ints) -> int:
    """Number of rows that repeat an earlier one."""
    return len(codes) - int(codes.max()) - 1


def together(copies: Ints, groups: Ints | None) -> Ints:
    """(rows,) equal for rows that are copies, or of one group."""
    return copies if groups is None else _connected(copies, groups)


def warn_of_copies(
    copies: Copies,
    a: Modality,
    b: Modality,
    split: Splits,
    labelled: Mask,
    findings: Findings,
    *,
    handled: str,
    apart: str,
) -> None:
    """Note how many rows are copies, and where scored rows repeat those trained or chosen on.

    Args:
        copies: Which rows are copies.
        a: The first modality.
        b: The second modality.
        split: (rows,), the values of `Split`.
        labelled: (rows,), True where a row has a label.
        findings: Where it is noted.
        handled: What is done about copies, in a sentence.
        apart: What to do about copies that the split tears apart.
    """
    sides = ((a, copies.a), (b, copies.b))
    for name, side in (("a", a), ("b", b)):
        _warn_of_common(side, copies.common.get(name, 0), findings)
    if max(repeating(codes) for _, codes in sides) < MATTER_FROM * len(split):
        return
    if copies.in_chains:
        handled, apart = _IN_CHAINS, ""
    counts = [
        f"{counted(number, 'row repeats', 'rows repeat')} {side.name!r} of an earlier row"
        for side, codes in sides
        if (number := repeating(codes))
    ]
    findings.warn(f"{' and '.join(counts)}, of {len(split):,} rows in all. {handled}")
    for part, earlier, why in _LEAKS:
        scored = (split == part) & labelled
        before = (split == earlier) & (labelled | (earlier == Split.TRAIN))
        repeats = [(side.name, scored & np.isin(codes, codes[before])) for side, codes in sides]
        seen = np.logical_or.reduce([rows for _, rows in repeats])
        if seen.any():
            names = " or ".join(repr(name) for name, rows in repeats if rows.any())
            findings.warn(
                f"{int(seen.sum()):,} of {int(scored.sum()):,} {part.name.lower()} rows "
                f"{'repeats' if seen.sum() == 1 else 'repeat'} {names} of {_ROWS[earlier]} rows "
                f"(first: row {int(seen.argmax())}, counting from 0), so {why}. {apart}".rstrip()
            )


def _warn_of_common(side: Modality, rows: int, findings: Findings) -> None:
    """Note values that too many rows share to be copies of one sample."""
    if rows:
        findings.warn(
            f"array {side.name!r} has values that stand in more than "
            f"{_most(len(side.values)):,} rows each ({rows:,} rows of {len(side.values):,}): they "
            "are taken for common values, as a blank image is, not for copies of one sample. If "
            "they are copies, number the samples in an array 'group'."
        )


def _hashes(side: Modality, on_step: OnStep) -> Ints:
    """(rows,): eight bytes of the BLAKE2b of each row; padding is a part of it."""
    hashes = bytearray()
    for rows in told_blocks(side.values, f"looking for copies in {side.name}", on_step):
        block: Array = np.ascontiguousarray(side.values[rows])
        if block.dtype.kind == "f":
            block = block + block.dtype.type(0)  # -0.0 and 0.0 are the same value
        parts = [block.reshape(len(block), -1).view(np.uint8)]
        if side.mask is not None:
            parts.append(np.packbits(side.mask[rows], axis=1))
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        content, size = whole.reshape(-1).data, whole.shape[1]
        for start in range(0, whole.size, size):
            hashes += hashlib.blake2b(content[start : start + size], digest_size=8).digest()
    return np.frombuffer(bytes(hashes), dtype=np.int64)


def _numbered(values: Ints) -> Ints:
    """Number distinct values from 0 on."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _most(rows: int) -> int:
    share, number = _COMMON
    return max(number, int(share * rows))


def _in_too_many(codes: Ints) -> Mask:
    """(rows,): whether a row has a value that is too common to make its rows copies."""
    return np.asarray((np.bincount(codes) > _most(len(codes)))[codes])


def _connected(one: Ints, other: Ints) -> Ints:
    """(rows,): equal for rows that are linked by chains of equal values of either."""
    first, second, rows = int(one.max()) + 1, int(other.max()) + 1, len(one)
    pairs = len(np.unique(one * second + other))
    if pairs == first:  # each value of `one` stands with a single one of `other`
        return other
    if pairs == second:
        return one
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    nodes = first + second
    links = coo_array((np.ones(rows, dtype=np.int8), (one, first + other)), shape=(nodes, nodes))
    return _numbered(connected_components(links, directed=False)[1][one].astype(np.int64))


def _is_by_chance(side: Modality, codes: Ints) -> bool:
    """Whether rows are equal about as often as they would be if their values were independent.

    Two rows agree in a value with the probability that two of the sample do, and in all of them
    with at most the product of these.
    """
    rows, (most_rows, most_values) = len(codes), _SAMPLE
    sizes = np.bincount(codes).astype(np.float64)
    equal = float((sizes * (sizes - 1)).sum()) / 2
    if equal == 0:
        return False
    some = np.unique(np.linspace(0, rows - 1, min(rows, most_rows)).astype(int))
    values = side.values[some].reshape(len(some), -1)
    values = values[:, np.unique(np.linspace(0, values.shape[1] - 1, most_values).astype(int))]
    agree = 1.0
    for value in values.T:
        counts = np.unique(value, return_counts=True)[1].astype(np.float64)
        agree *= float((counts * (counts - 1)).sum()) / (len(some) * (len(some) - 1))
    return agree * rows * (rows - 1) / 2 >= _BY_CHANCE * equal
