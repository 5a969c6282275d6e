"""Checks which rows belong together."""

from dataclasses import dataclass

import numpy as np

from tuner.data.dataset import Classes, Split
from tuner.data.typing import Array, Ints, Splits
from tuner.data.validation.findings import Findings, counted, listing, rows_where
from tuner.data.validation.kinds import unusable_kind
from tuner.data.validation.labels.reading import Labels, names_of
from tuner.data.validation.names import is_missing_name, warn_of_twins
from tuner.data.validation.text import read_text

FEW_GROUPS = 10  # fewer tell little of other groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Which rows belong together.

    Attributes:
        codes: (rows,), int64 indices into `names`.
        names: The groups as they were, sorted.
    """

    codes: Ints
    names: Classes


def read_groups(name: str, array: Array, findings: Findings) -> Groups | None:
    """Check the array of groups: (rows,), whole numbers or text."""
    holds = unusable_kind(array, "biufUS") or _broken_number(array)
    if holds:
        findings.error(f"array {name!r} holds {holds}.")
    if array.ndim != 1:
        findings.error(
            f"array {name!r} has shape {array.shape}, where one value a row, (rows,), is wanted."
            + (f" Save it as {name}[:, 0]." if array.shape[1:] == (1,) else "")
        )
    if holds or array.ndim != 1:
        return None
    values = read_text(name, array, findings) if array.dtype.kind in "US" else array
    if values is None:
        return None
    distinct, codes = np.unique(values, return_inverse=True)
    groups = Groups(codes=codes.astype(np.int64), names=names_of(distinct))
    _warn_of_names(name, groups, findings)
    return groups


def _warn_of_names(array: str, groups: Groups, findings: Findings) -> None:
    """Say what reads as "no group" and yet is one, and which groups may be the same."""
    rows = np.bincount(groups.codes)
    numbers = [name for name in groups.names if isinstance(name, int)]
    lone = numbers[0] if sum(number < 0 for number in numbers) == 1 else None
    suspects = [
        f"{name!r} ({counted(int(count), 'row')})"
        for name, count in zip(groups.names, rows, strict=True)
        if count > 1 and (is_missing_name(name) if isinstance(name, str) else name == lone)
    ]
    if suspects:
        findings.warn(
            f"array {array!r} holds {listing(suspects, show=str)}, which usually stands for no "
            "group, and here is one whose rows belong together. If it is none, give each of these "
            "rows a name or number of its own."
        )
    warn_of_twins(array, "groups", groups.names, rows, findings)


def _broken_number(array: Array) -> str | None:
    """Say what keeps numbers from being those of groups."""
    if array.dtype.kind != "f":
        return None
    if (missing := np.isnan(array)).any():
        return (
            f"no number in {rows_where(missing)}. Give each row that is in no group a number of "
            "its own, or drop these rows from every array"
        )
    if (infinite := np.isinf(array)).any():
        return f"infinite numbers in {rows_where(infinite)}; correct them"
    if (broken := array != np.rint(array)).any():
        return f"fractions in {rows_where(broken)}; save it as integers or text"
    return None


def warn_of_few_groups(split: Splits, labels: Labels, groups: Groups, findings: Findings) -> None:
    """Note where validation or test rows are of too few groups to tell much of others."""
    lost = {
        Split.VALIDATION: "the best λ may then be any",
        Split.TEST: "there is then no interval of the gain, and no verdict can be to align",
    }
    few = []
    for part, without in lost.items():
        held = np.unique(groups.codes[(split == part) & labels.labelled])
        if len(held) == 1:
            findings.warn(
                f"labelled {part.name.lower()} rows are all of one group "
                f"({groups.names[held[0]]!r}), which tells nothing of other groups: {without}. "
                f"Add groups, or give more of them to that split by an array 'split'."
            )
        elif len(held) < FEW_GROUPS:
            few.append(f"{part.name.lower()} rows are of {len(held)} groups")
    if few:
        findings.warn(
            f"labelled {' and '.join(few)}. Intervals are over groups, because rows of one group "
            f"are not independent, and with fewer than {FEW_GROUPS} they are wide. More groups "
            "narrow them; more rows of the same groups hardly do."
        )
