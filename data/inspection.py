"""What is in a data set's file, how it is read, and what is doubtful of it."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.data.dataset import Modality, PairedDataset, Split
from tuner.data.errors import DataError
from tuner.data.formats.arrays.npz import MAX_BYTES
from tuner.data.formats.contents import Contents
from tuner.data.formats.files import open_data
from tuner.data.formats.reach import Reach
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.naming import names_of
from tuner.data.options import DataOptions
from tuner.data.readers import find, read_file
from tuner.data.standardize import are_ids
from tuner.data.validation.division.splits import RATIO
from tuner.data.validation.findings import Findings, counted, listing
from tuner.data.validation.roles import Roles

_SHOWN = 12  # classes, the largest first


@dataclass(frozen=True, kw_only=True)
class ArrayUse:
    """One array of the file, and what it is taken for.

    Attributes:
        name: Its name.
        shape: As far as the file tells, rows first.
        kind: Type of its values.
        use: What it is taken for, in words; None if it is not used.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    use: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """A data set before anything is done with it.

    Attributes:
        source: Where it is.
        arrays: Everything that is in it.
        dataset: As it is read; None if it cannot be.
        errors: Why it cannot be, each with what to do about it.
        warnings: What its owner should know.
        roles: Which array is what.
    """

    source: str
    arrays: tuple[ArrayUse, ...]
    dataset: PairedDataset | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    roles: Roles

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of the arrays that are not used."""
        return tuple(array.name for array in self.arrays if array.use is None)

    def field(self, finding: str) -> str | None:
        """Return the option that a finding is about, if it is about one: `a`, `split`, `task`.

        That is the role of the first array that it names, or else the first option.
        """
        for name in re.findall(r"\barrays? '((?:[^'\\]|\\.)*)'", finding):
            role = next((role for role, array in self.roles.names.items() if array == name), None)
            if role is not None:
                return role
        option = re.search(r"--([a-z][a-z-]*)", finding)
        return None if option is None else option[1].replace("-", "_")

    @property
    def reading(self) -> dict[str, str]:
        """How the data set is read, in words; empty if it cannot be."""
        dataset = self.dataset
        if dataset is None:
            return {}
        by_use = {array.use: array.name for array in self.arrays}
        plain, other = names_of(dataset.name, dataset.fingerprint)
        return {
            "A": f"{dataset.a.name}: {modality_in_words(dataset.a)}",
            "B": f"{dataset.b.name}: {modality_in_words(dataset.b)}",
            "task": task_in_words(dataset),
            "label": label_in_words(dataset),
            "split": split_in_words(dataset, given=by_use.get("split")),
            "groups": _groups_in_words(dataset, given="groups" in by_use),
            "name": f"{plain}: of the experiment that shows its runs; its models are "
            f"{plain}-a-encoder and {plain}-b-encoder ({other} where other data are called so)",
            "fingerprint": dataset.fingerprint,
        }

    def as_dict(self) -> dict[str, object]:
        """Return all of it as what JSON can hold."""
        return {
            "source": self.source,
            "valid": self.dataset is not None,
            "rows": None if self.dataset is None else self.dataset.rows,
            "arrays": [asdict(array) for array in self.arrays],
            "unused": self.unused,
            "reading": self.reading,
            "errors": self.errors,
            "warnings": self.warnings,
        }


def inspect(
    source: str | os.PathLike[str],
    *,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    alone: bool = False,
    reach: Reach | None = None,
    on_step: OnStep = silent,
    **options: Any,
) -> Inspection:
    """Read a data set as `tuner.data.read` does, and say what was read and what was not.

    The arguments are those of `read`. What is wrong is in the answer, not raised.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
    """
    how = DataOptions(**options)
    location, roles, how = find(source, how)
    findings = Findings(os.fspath(source))
    contents: Mapping[str, Contents] = {}
    dataset: PairedDataset | None = None
    try:
        with open_data(
            location,
            findings,
            options=how,
            max_bytes=max_bytes,
            alone=alone,
            reach=reach,
            on_step=on_step,
        ) as file:
            contents = file.contents()
            roles = roles.among(contents)
            dataset = read_file(file, roles, how, seed=seed, on_step=on_step)
    except DataError as error:  # not all that is raised was noted before
        whose = "" if error.source == findings.source else f"{error.source}: "
        for fault in error.findings:
            if fault not in findings.errors:
                findings.error(f"{whose}{fault}")
    return Inspection(
        source=os.fspath(source),
        arrays=_uses(contents, roles),
        dataset=dataset,
        errors=tuple(findings.errors),
        warnings=tuple(findings.warnings),
        roles=roles,
    )


def _uses(contents: Mapping[str, Contents], roles: Roles) -> tuple[ArrayUse, ...]:
    """List arrays with their use; those that a pattern stacks are one."""
    stacked = {
        name: members
        for name in roles.uses
        if (members := roles.members(name, contents)) and members != [name]
    }
    pattern_of = {member: name for name, members in stacked.items() for member in members}
    uses: dict[str, ArrayUse] = {}
    for array, held in contents.items():
        name = pattern_of.get(array, array)
        shape, kinds = held.shape, [held.kind]
        if name != array:
            shape = (*shape, len(stacked[name]))
            kinds = sorted({contents[member].kind for member in stacked[name]})
        use = ArrayUse(name=name, shape=shape, kind=listing(kinds, show=str), use=roles.use(name))
        uses.setdefault(name, use)
    return tuple(uses.values())


def modality_in_words(side: Modality) -> str:
    """Say how a modality is read: "1,797 images of 1 × 8 × 8, channels × height × width"."""
    rows, *shape = side.values.shape
    if side.mask is not None:
        real = side.mask.sum(1)
        least, most = int(real.min()), int(real.max())
    if side.holds == "text":
        return f"{counted(rows, 'text')} of {_from_to(least, most, 'byte')}"
    if side.holds == "tokens":
        return f"{counted(rows, 'row')} of {_from_to(least, most, 'token')}, given by their ids"
    whole = ", whole numbers (ids, where the encoder embeds them)" if _may_be_ids(side) else ""
    if len(shape) == 1:
        return f"{counted(rows, 'row')} of {counted(shape[0], 'feature')}{whole}"
    if len(shape) == 3:
        return (
            f"{counted(rows, 'image')} of {' × '.join(map(str, shape))}, channels × height × width"
        )
    steps = counted(shape[0], "step")
    if side.mask is not None:
        steps = f"{_from_to(least, most, 'step')}, padded to {shape[0]:,},"
    return f"{counted(rows, 'sequence')} of {steps} of {counted(shape[1], 'feature')}{whole}"


def _may_be_ids(side: Modality) -> bool:
    """Whether numbers could be ids of tokens: whole ones from 0, more than yes and no."""
    return side.values.ndim < 4 and float(side.values.max()) > 1 and are_ids(side.values)


def _from_to(least: int, most: int, noun: str) -> str:
    """Write a range with its noun: "2 to 6 steps", "3 rows"."""
    return f"{least:,} to {counted(most, noun)}" if least < most else counted(most, noun)


def task_in_words(dataset: PairedDataset) -> str:
    """Say what the labels are read as, and the option for the other reading where there is one."""
    known = dataset.y[dataset.labelled]
    if dataset.classes is None:
        read, other = "numbers to predict", "classification"
        possible = bool(np.all(known == np.rint(known)))
    else:
        read, other = "classes", "regression"
        possible = not isinstance(dataset.classes[0], str)
    return f"{dataset.task}: the labels are read as {read}" + (
        f" (else: --task {other})" if possible else ""
    )


def label_in_words(dataset: PairedDataset) -> str:
    """Say what is to be predicted: the classes with their counts, or the range of values."""
    known = dataset.y[dataset.labelled]
    without = dataset.rows - len(known)
    ends = f"; {counted(without, 'row')} without a label" if without else "; every row has a label"
    if dataset.classes is None:
        low, middle, high = np.quantile(known.astype(np.float64), (0, 0.5, 1))
        size = max(abs(low), abs(high)) / (high - low)  # an offset takes digits of its own
        digits = min(17, 6 + max(0, int(np.log10(size))))
        words = (f"{value:.{digits}g}" for value in (low, high, middle))
        return "numbers from {} to {}, median {}".format(*words) + ends
    counts = np.bincount(known, minlength=len(dataset.classes))
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    shown = ", ".join(
        f"{dataset.classes[code]} ({counted(int(counts[code]), 'row')}, "
        f"{counts[code] / len(known):.0%})"
        for code in order
    )
    more = f", and {len(counts) - _SHOWN:,} more" if len(counts) > _SHOWN else ""
    return f"{counted(len(counts), 'class', 'classes')}: {shown}{more}{ends}"


def split_in_words(dataset: PairedDataset, *, given: str | None) -> str:
    """Say how rows are divided, and by whom: the array of that name, or the program."""
    sizes = ", ".join(f"{len(dataset.indices(split)):,} {split.name.lower()}" for split in Split)
    if given is not None:
        return f"as the array {given!r} says: {sizes}"
    kind = "stratified"
    if dataset.group is not None:
        kind = "whole groups" if dataset.copies is None else _of_copies(dataset)
    return f"made here from the seed, {'/'.join(map(str, RATIO))} %, {kind}: {sizes}"


def _of_copies(dataset: PairedDataset) -> str:
    """Say whether a split keeps copies together."""
    assert dataset.copies is not None
    parts = np.unique(np.stack([dataset.copies, dataset.split.astype(np.int64)], axis=1), axis=0)
    torn = len(parts) > len(np.unique(dataset.copies))
    return "some copies torn apart" if torn else "copies together"


def _groups_in_words(dataset: PairedDataset, *, given: bool) -> str:
    if dataset.group is None:
        return "none: each row is independent of the others"
    sizes = np.bincount(dataset.group)
    each = f"{counted(len(sizes), 'group')} of {_from_to(sizes.min(), sizes.max(), 'row')}"
    if dataset.copies is None:
        return f"{each}, each in one split"
    together = " or belong together" if given else ""
    return f"{each}, which are copies of each other{together} and count as one"
