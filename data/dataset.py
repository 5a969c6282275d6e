"""What a data set is to the rest of the program: a frozen, validated value."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import numpy as np

from tuner.data.typing import Array, Ints, Mask, Splits

Task = Literal["classification", "regression"]
Classes = tuple[str, ...] | tuple[int, ...]
Holds = Literal["numbers", "text", "tokens"]


class Split(IntEnum):
    """The part of a study that a row serves."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Modality:
    """One view of every row.

    Attributes:
        name: Name of the array in its source, for example "fou".
        values: C-contiguous and read-only; padded steps are 0. Numbers: float32, or float64
            where float32 would make one of two values, finite: (rows, features),
            (rows, time, features) or (rows, channels, height, width). Text: its UTF-8 bytes,
            uint8 (rows, bytes). Ids of tokens: int32 (rows, tokens).
        mask: (rows, time), True where a step, byte or token is real; None where nothing is
            padded. Text and ids of tokens have one.
    """

    name: str
    values: Array
    mask: Mask | None = None

    def __post_init__(self) -> None:
        _freeze(self.values, self.mask)

    @property
    def holds(self) -> Holds:
        """What the values are, as their type tells."""
        kinds: dict[str, Holds] = {"u": "text", "i": "tokens"}
        return kinds.get(self.values.dtype.kind, "numbers")

    def texts(self, index: Ints | None = None) -> list[str]:
        """Return rows of text as they were written; all if no index is given.

        Raises:
            ValueError: If this is no text.
        """
        if self.holds != "text" or self.mask is None:
            raise ValueError(f"modality {self.name!r} holds {self.holds}, no text")
        rows = range(len(self.values)) if index is None else index.tolist()
        return [self.values[row][self.mask[row]].tobytes().decode() for row in rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedDataset:
    """Rows seen through two modalities, some or all of them labelled, split three ways.

    Made by `read` and `from_arrays`, which validate; all arrays are read-only.

    Attributes:
        name: Lower-case letters and digits of any script, "-" and "_".
        a: The first modality.
        b: The second modality, row by row the partner of the first.
        y: (rows,). Classification: int64 indices into `classes`, -1 without a label.
            Regression: float32, or float64 where float32 would make one of two values, NaN
            without a label.
        split: (rows,), int8, the values of `Split`.
        has_own_split: Whether the split came with the data, and was not made here.
        group: (rows,), int64, equal for rows that tell no more than one, being of one group or
            copies of each other; None where every row counts.
        copies: (rows,), int64, equal for rows that repeat A or B of each other; None where hardly
            any does.
        task: What `y` asks for.
        classes: The labels as they were, sorted; None in regression.
        fingerprint: 64 hexadecimal digits that depend on the content alone.
        warnings: What the owner of the data should know.
    """

    name: str
    a: Modality
    b: Modality
    y: Array
    split: Splits
    group: Ints | None
    copies: Ints | None = None
    task: Task
    classes: Classes | None
    fingerprint: str
    warnings: tuple[str, ...]
    has_own_split: bool = False

    def __post_init__(self) -> None:
        _freeze(self.y, self.split, self.group, self.copies)

    @property
    def rows(self) -> int:
        """Number of pairs, labelled or not."""
        return len(self.y)

    @property
    def labelled(self) -> Mask:
        """(rows,), True where there is a label."""
        missing = np.isnan(self.y) if self.task == "regression" else self.y < 0
        return np.logical_not(missing)

    def indices(self, split: Split, *, labelled_only: bool = False) -> Ints:
        """Return the row numbers of one split, ascending."""
        chosen = self.split == split
        return np.flatnonzero(chosen & self.labelled if labelled_only else chosen)

    def taken(self, rows: Ints) -> "PairedDataset":
        """Return these rows alone, in memory; the fingerprint and warnings are those of all."""
        a, b = (
            replace(side, values=side.values[rows], mask=_of_rows(side.mask, rows))
            for side in (self.a, self.b)
        )
        return replace(
            self,
            a=a,
            b=b,
            y=self.y[rows],
            split=self.split[rows],
            group=_of_rows(self.group, rows),
            copies=_of_rows(self.copies, rows),
        )


def _of_rows(array: Array | None, rows: Ints) -> Array | None:
    return None if array is None else array[rows]


def _freeze(*arrays: Array | None) -> None:
    for array in arrays:
        if array is not None:
            array.setflags(write=False)
