"""What every source of arrays gives and is told, whatever its format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tuner.data.dataset import Split
from tuner.data.formats.contents import Contents
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.options import DataOptions
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import Findings
from tuner.data.validation.roles import Roles


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What those who read a data set are told.

    Attributes:
        findings: Where faults are noted.
        options: How arrays are read.
        max_bytes: Limit on what is unpacked.
        on_step: Told what is being read, in words.
        parts: Which split each file holds; None where their names do not tell.
        folder: Where the paths of images that a table holds begin; None where they may not be
            followed.
    """

    findings: Findings
    options: DataOptions
    max_bytes: int
    on_step: OnStep = silent
    parts: tuple[Split, ...] | None = None
    folder: Path | None = None


class Source(Protocol):
    """Files that hold arrays by name."""

    def contents(self) -> Mapping[str, Contents]:
        """List every array without reading it, by name.

        Raises:
            DataError: If the files as a whole cannot be used.
        """

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name; what is wrong with one becomes a finding.

        Raises:
            DataError: If the files as a whole cannot be used.
        """


def read_named(
    roles: Roles,
    available: Mapping[str, object],
    read: Callable[[str], Array | None],
    reading: Reading,
) -> Arrays:
    """Read the arrays that roles name, and stack those that a pattern does.

    Args:
        roles: The arrays that are wanted.
        available: Names of those that there are.
        read: Reads one; None if it cannot be read and a fault was noted.
        reading: How they are read.
    """
    arrays: Arrays = {}
    for name in roles.present_in(available, reading.findings):
        reading.on_step(f"reading {name}")
        members = roles.members(name, available)
        parts = {member: part for member in members if (part := read(member)) is not None}
        if len(parts) < len(members):
            continue
        if members == [name]:
            arrays[name] = parts[name]
        elif (stacked := _stacked(name, parts, reading.findings)) is not None:
            arrays[name] = stacked
    return arrays


def _stacked(pattern: str, parts: Mapping[str, Array], findings: Findings) -> Array | None:
    """Stack arrays of one number a row to (rows, features)."""
    rows = len(next(iter(parts.values())))
    for name, part in parts.items():
        if part.shape != (rows,) or part.dtype.kind not in "biuf":
            findings.error(
                f"array {name!r}, one of {pattern!r}, has shape {part.shape} and type "
                f"{part.dtype}, where one number a row, ({rows:,},), is wanted. Choose a pattern "
                "that leaves it out."
            )
            return None
    return np.stack(list(parts.values()), axis=1)
