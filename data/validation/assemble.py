"""Checks the arrays of a data set together, and puts them together as a `PairedDataset`."""

from collections.abc import Sequence

from tuner.data.dataset import Modality, PairedDataset
from tuner.data.typing import Arrays, Splits
from tuner.data.validation.features import read_modality
from tuner.data.validation.findings import Findings
from tuner.data.validation.fingerprint import fingerprint
from tuner.data.validation.labels.reading import Labels, read_labels
from tuner.data.validation.labels.task import TaskChoice
from tuner.data.validation.roles import GROUP, SPLIT, Roles
from tuner.data.validation.rows import (
    Groups,
    check_given_split,
    check_lengths,
    make_split,
    read_groups,
    read_split,
    warn_of_few_groups,
)


def assemble(
    arrays: Arrays,
    *,
    roles: Roles,
    task: TaskChoice,
    seed: int,
    name: str,
    findings: Findings,
    max_bytes: int,
    missing: Sequence[str] = (),
) -> PairedDataset:
    """Validate arrays and make a data set of them.

    Args:
        arrays: The wanted arrays by name; what could not be read is absent, and in `findings`.
        roles: Which array is what.
        task: What the labels ask for.
        seed: Where a split comes from if none is given.
        name: Name of the data set.
        findings: What was found so far.
        max_bytes: Limit on the size of a modality as float32.
        missing: What marks a missing label; by the rule if empty.

    Raises:
        DataError: With everything that is wrong.
    """
    a, b = (_modality(role, arrays, findings, max_bytes) for role in (roles.a, roles.b))
    y = arrays.get(roles.y)
    labels = None if y is None else read_labels(roles.y, y, task, findings, missing=missing)
    optional = _optional(arrays, roles)
    groups = read_groups(optional[GROUP], findings) if GROUP in optional else None
    split = given = read_split(optional[SPLIT], findings) if SPLIT in optional else None
    if check_lengths(optional | {k: arrays[k] for k in roles.required if k in arrays}, findings):
        split = _checked_split(given, labels, groups, optional, seed, findings)
    findings.raise_errors()
    assert a and b and labels and split is not None  # noqa: PT018  # else the line above raised
    if groups is not None:
        warn_of_few_groups(split, labels, groups, findings)
    return PairedDataset(
        name=name,
        a=a,
        b=b,
        y=labels.y,
        split=split,
        group=None if groups is None else groups.codes,
        task=labels.task,
        classes=labels.classes,
        fingerprint=fingerprint(a=a, b=b, labels=labels, split=given, groups=groups),
        warnings=tuple(findings.warnings),
    )


def _optional(arrays: Arrays, roles: Roles) -> Arrays:
    """Split and groups, unless the user chose their arrays as a modality or label."""
    names = (name for name in (SPLIT, GROUP) if name not in roles.required)
    return {name: arrays[name] for name in names if name in arrays}


def _modality(name: str, arrays: Arrays, findings: Findings, max_bytes: int) -> Modality | None:
    if name not in arrays:
        return None
    mask = arrays.get(f"{name}_mask")
    return read_modality(name, arrays[name], mask, findings, max_bytes=max_bytes)


def _checked_split(
    given: Splits | None,
    labels: Labels | None,
    groups: Groups | None,
    optional: Arrays,
    seed: int,
    findings: Findings,
) -> Splits | None:
    """Return the split that is given, or else one that is made here."""
    if SPLIT not in optional:
        return _made_split(labels, groups, GROUP in optional, seed, findings)
    if given is not None:
        check_given_split(given, labels, groups, findings)
    return given


def _made_split(
    labels: Labels | None, groups: Groups | None, wants_groups: bool, seed: int, findings: Findings
) -> Splits | None:
    if labels is None or (wants_groups and groups is None):
        return None
    return make_split(labels, groups, seed, findings)
