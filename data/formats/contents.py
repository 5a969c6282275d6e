"""What a file says of an array before it is read."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Contents:
    """One array of a file.

    Attributes:
        shape: As far as the file tells without being read: of a column the rows alone.
        kind: Type of its values, in the words of its format.
    """

    shape: tuple[int, ...]
    kind: str


def kind_of(dtype: np.dtype[Any]) -> str:
    """Name the type of an array's values: "float32", "text"."""
    if dtype.type is np.void and dtype.names is None:
        return "bfloat16" if dtype.itemsize == 2 else "raw bytes"
    return "text" if dtype.kind in "US" else dtype.newbyteorder("=").name
