"""Checks the arrays of a data set together, and puts them together as a `PairedDataset`."""

from tuner.data.dataset import Modality, PairedDataset
from tuner.data.options import DataOptions
from tuner.data.typing import Arrays, Splits
from tuner.data.validation.features import read_modality
from tuner.data.validation.findings import Findings
from tuner.data.validation.fingerprint import fingerprint
from tuner.data.validation.labels.reading import Labels, read_labels
from tuner.data.validation.language.text import is_text, read_text
from tuner.data.validation.language.tokens import are_tokens, read_tokens
from tuner.data.validation.masks import mask_of_lengths
from tuner.data.validation.roles import Roles
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
    options: DataOptions,
    seed: int,
    name: str,
    findings: Findings,
    max_bytes: int,
) -> PairedDataset:
    """Validate arrays and make a data set of them.

    Args:
        arrays: The wanted arrays by name; what could not be read is absent, and in `findings`.
        roles: Which array is what.
        options: How they are read.
        seed: Where a split comes from if none is given.
        name: Name of the data set.
        findings: What was found so far.
        max_bytes: Limit on the size of a modality as float32.

    Raises:
        DataError: With everything that is wrong.
    """
    a, b = (_modality(side, arrays, roles, findings, max_bytes) for side in ("a", "b"))
    y = roles.array("y", arrays)
    labels = None if y is None else read_labels(roles.name("y"), y, options, findings)
    groups = _groups(arrays, roles, findings)
    split = given = _given_split(arrays, roles, findings)
    if check_lengths(_with_a_value_a_row(arrays, roles), findings):
        split = _checked_split(given, labels, groups, arrays, roles, seed, findings)
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


def _modality(
    side: str, arrays: Arrays, roles: Roles, findings: Findings, max_bytes: int
) -> Modality | None:
    values = roles.array(side, arrays)
    if values is None:
        return None
    name = roles.name(side)
    mask, mask_name = roles.array(f"{side}_mask", arrays), roles.name(f"{side}_mask")
    lengths, of_lengths = roles.array(f"{side}_lengths", arrays), roles.name(f"{side}_lengths")
    if lengths is not None:
        mask, mask_name = mask_of_lengths(of_lengths, lengths, values, findings), of_lengths
    if is_text(values):
        for unused in {mask_name, of_lengths} & arrays.keys():
            findings.warn(f"array {unused!r} is not used: {name!r} is text, which needs no mask.")
        return read_text(name, values, findings, max_bytes=max_bytes)
    read = read_tokens if mask is not None and are_tokens(values) else read_modality
    return read(name, values, mask, findings, mask_name=mask_name, max_bytes=max_bytes)


def _groups(arrays: Arrays, roles: Roles, findings: Findings) -> Groups | None:
    group = roles.array("group", arrays)
    return None if group is None else read_groups(roles.name("group"), group, findings)


def _given_split(arrays: Arrays, roles: Roles, findings: Findings) -> Splits | None:
    split = roles.array("split", arrays)
    return None if split is None else read_split(roles.name("split"), split, findings)


def _with_a_value_a_row(arrays: Arrays, roles: Roles) -> Arrays:
    """All but the masks, whose shape is compared with that of what they mask."""
    masks = {roles.name("a_mask"), roles.name("b_mask")}
    return {name: array for name, array in arrays.items() if name not in masks}


def _checked_split(
    given: Splits | None,
    labels: Labels | None,
    groups: Groups | None,
    arrays: Arrays,
    roles: Roles,
    seed: int,
    findings: Findings,
) -> Splits | None:
    """Return the split that is given, or else one that is made here."""
    if roles.array("split", arrays) is None:
        unread = groups is None and roles.array("group", arrays) is not None
        return None if labels is None or unread else make_split(labels, groups, seed, findings)
    if given is not None:
        check_given_split(roles.name("split"), given, labels, groups, findings)
    return given
