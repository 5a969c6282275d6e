"""Checks the arrays of a data set together, and puts them together as a `PairedDataset`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.data.dataset import Modality, PairedDataset
from tuner.data.memory.blocks import OnStep, row_blocks, silent
from tuner.data.options import DataOptions
from tuner.data.typing import Array, Arrays, Ints, Splits
from tuner.data.validation.division.copies import (
    Copies,
    find_copies,
    together,
    warn_of_copies,
)
from tuner.data.validation.division.given import check_given_split, read_split
from tuner.data.validation.division.groups import Groups, read_groups, warn_of_few_groups
from tuner.data.validation.division.made import completed, kept_together, make_split
from tuner.data.validation.findings import Findings, counted
from tuner.data.validation.fingerprint import fingerprint
from tuner.data.validation.labels.reading import Labels, read_labels
from tuner.data.validation.language.text import is_text, read_text
from tuner.data.validation.language.tokens import are_tokens, read_tokens
from tuner.data.validation.leakage import warn_of_leakage
from tuner.data.validation.numbers.features import read_modality
from tuner.data.validation.numbers.images import check_size, laid_out, warn_of_axes
from tuner.data.validation.numbers.masks import mask_of_lengths
from tuner.data.validation.roles import BY_FILE, Roles


def assemble(
    arrays: Arrays,
    *,
    roles: Roles,
    options: DataOptions,
    seed: int,
    name: str,
    findings: Findings,
    max_bytes: int,
    columns: Mapping[str, Sequence[str]],
    on_step: OnStep = silent,
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
        columns: What an array is stacked of, by its name: names of columns.
        on_step: Told what is being checked, in words.

    Raises:
        DataError: With everything that is wrong.
    """
    read = _checked(arrays, roles, options, seed, findings, max_bytes, on_step)
    given = roles.array("split", arrays) is not None
    _warn(read, given, options, findings)
    for side in (read.a, read.b):
        warn_of_leakage(side, read.labels, columns.get(side.name, ()), findings)
    return PairedDataset(
        name=name,
        a=read.a,
        b=read.b,
        y=read.labels.y,
        split=read.split,
        group=_units(read.groups, read.copies, options),
        copies=read.copies.either if read.copies.matter else None,
        task=read.labels.task,
        classes=read.labels.classes,
        fingerprint=_fingerprint(read, on_step),
        warnings=tuple(findings.warnings),
        has_own_split=given,
    )


def _fingerprint(read: "_Parts", on_step: OnStep) -> str:
    return fingerprint(
        a=read.a,
        b=read.b,
        labels=read.labels,
        split=read.given_split,
        groups=read.groups,
        on_step=on_step,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """What a data set is made of, each checked, and against the others."""

    a: Modality
    b: Modality
    labels: Labels
    groups: Groups | None
    copies: Copies
    split: Splits
    given_split: Splits | None


def _checked(
    arrays: Arrays,
    roles: Roles,
    options: DataOptions,
    seed: int,
    findings: Findings,
    max_bytes: int,
    on_step: OnStep,
) -> _Parts:
    """Check every array, and raise only when all that is wrong was found."""
    a, b = (_modality(side, arrays, roles, options, findings, max_bytes) for side in ("a", "b"))
    y, group, given = (roles.array(role, arrays) for role in ("y", "group", "split"))
    labels = None if y is None else read_labels(roles.name("y"), y, options, findings)
    groups = None if group is None else read_groups(roles.name("group"), group, findings)
    split = None if given is None else read_split(roles.name("split"), given, findings)
    if not _check_lengths(_with_a_value_a_row(arrays, roles), findings):
        findings.raise_errors()
    copies = find_copies(a, b, on_step) if a and b else None
    repeats = _repeats(copies, options)
    given_split = split
    if split is not None:
        if labels:
            array = None if roles.name("split") == BY_FILE else roles.name("split")
            split = completed(split, labels, groups, repeats, seed, findings, array=array)
        if split is not None:
            check_given_split(roles.name("split"), split, labels, groups, findings)
    elif given is None and labels and (groups or group is None):
        kept = None if repeats is None else kept_together(repeats, labels, groups)
        split = make_split(labels, groups, kept, seed, findings)
    findings.raise_errors()
    assert a and b and labels and copies and split is not None  # noqa: PT018  # else it raised
    return _Parts(
        a=a,
        b=b,
        labels=labels,
        groups=groups,
        copies=copies,
        split=split,
        given_split=given_split,
    )


def _warn(read: _Parts, given: bool, options: DataOptions, findings: Findings) -> None:
    """Note where rows, or the modalities, tell less than it seems."""
    a, b = read.a, read.b
    if a.values.shape == b.values.shape and _hold_the_same(a, b):
        findings.warn(
            f"arrays {a.name!r} and {b.name!r} hold the same values in every row, so there is "
            "nothing to align. Choose another with --b."
        )
    if read.groups is not None:
        warn_of_few_groups(read.split, read.labels, read.groups, findings)
    warn_of_copies(
        read.copies,
        a,
        b,
        read.split,
        read.labels.labelled,
        findings,
        handled=_handling_of_copies(given, options),
        apart=_why_apart(given, options),
    )


def _repeats(copies: Copies | None, options: DataOptions) -> Ints | None:
    """(rows,), equal for rows that are copies and stay together; None if there are none."""
    if copies is None or not copies.matter or options.keep_copies_apart:
        return None
    return copies.either


def _handling_of_copies(given: bool, options: DataOptions) -> str:
    """What is done about copies, in a sentence."""
    if options.keep_copies_apart:
        return "They count as rows of their own, as --keep-copies-apart asks."
    also = "" if given else ", and a split made here keeps them together where it can"
    return (
        f"Rows that are copies count as one where intervals are made{also}. If they are different "
        "samples whose values happen to be equal, use --keep-copies-apart."
    )


def _why_apart(given: bool, options: DataOptions) -> str:
    """What to do about copies that a split tears apart."""
    if given:
        return "Move them to one split, or leave the split out to have one made."
    if options.keep_copies_apart:
        return "Leave out --keep-copies-apart to have a split that keeps them together."
    return (
        "Too few samples are left of a class, or of all, for a split that keeps them together: add "
        "rows that are no copies."
    )


def _units(groups: Groups | None, copies: Copies, options: DataOptions) -> Ints | None:
    """(rows,), equal for rows that tell no more than one: of a group, or copies."""
    given = None if groups is None else groups.codes
    if not copies.matter or options.keep_copies_apart:
        return given
    return together(copies.either, given)


def _modality(
    side: str,
    arrays: Arrays,
    roles: Roles,
    options: DataOptions,
    findings: Findings,
    max_bytes: int,
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
    if mask is not None and are_tokens(values):
        return read_tokens(name, values, mask, findings, mask_name=mask_name, max_bytes=max_bytes)
    values = laid_out(name, values, options.layout(side), f"--{side}-layout", findings)
    check_size(name, values, options.size(side), f"--{side}-size", findings)
    modality = read_modality(name, values, mask, findings, mask_name=mask_name, max_bytes=max_bytes)
    if modality is not None and options.layout(side) == "nchw":
        warn_of_axes(modality, f"--{side}-layout", findings)
    return modality


def _hold_the_same(a: Modality, b: Modality) -> bool:
    return all(np.array_equal(a.values[r], b.values[r]) for r in row_blocks(a.values))


def _with_a_value_a_row(arrays: Arrays, roles: Roles) -> Arrays:
    """All but the masks, whose shape is compared with that of what they mask."""
    masks = {roles.name("a_mask"), roles.name("b_mask")}
    return {name: array for name, array in arrays.items() if name not in masks}


def _check_lengths(arrays: Mapping[str, Array], findings: Findings) -> bool:
    """Check that all arrays have the same number of rows."""
    lengths = {name: array.shape[0] for name, array in arrays.items() if array.ndim > 0}
    if len(set(lengths.values())) <= 1:
        return True
    each = ", ".join(f"{name!r} has {counted(rows, 'row')}" for name, rows in lengths.items())
    findings.error(
        f"lengths differ: {each}. Row i of every array has to be the same sample; "
        "drop or add rows until they match."
    )
    return False
