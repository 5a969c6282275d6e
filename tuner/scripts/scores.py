"""The file of scores that a training writes: what may be in it, and reading it without trust.

`scores.npz` holds an array of one score per validation row a target, called as the target, and in
confirmations `NAME_test`; `row_id` and `row_id_test` tell which rows these are, `group` and
`group_test` which of them belong together. A target that is known as a mean alone is that number,
with the number of its rows as `NAME_rows`.
"""

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.data.errors import DataError
from tuner.data.validation.findings import listing, rows_where
from tuner.errors import ScriptError
from tuner.typing import Array, Floats

FILE = "scores.npz"
MAX_BYTES = 2**30  # of the file
ROW_ID, GROUP, TEST, ROWS = "row_id", "group", "_test", "_rows"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.@-]{0,63}")
_UNNAMED = re.compile(r"arr_\d+")
_KINDS = {"c": "complex numbers", "U": "texts", "S": "bytes", "M": "dates", "m": "durations"}


@dataclass(frozen=True, kw_only=True, eq=False)
class RowScores:
    """The scores of one set of rows, checked.

    Attributes:
        scores: By target: (rows,), finite; or (1,) of a target in `counts`.
        row_ids: (rows,), unique and sorted; None if none were told.
        counts: Of how many rows a target's one number is the mean.
        groups: (rows,) equal for rows that belong together; None if all are independent.
    """

    scores: dict[str, Floats]
    row_ids: Array | None
    counts: dict[str, int]
    groups: Array | None = None

    def rows(self, target: str) -> int:
        """Return of how many rows a target is known."""
        return self.counts.get(target) or len(self.scores[target])

    @property
    def words(self) -> str:
        """Which rows these are, in words that are the same for the same rows alone."""
        counts = {name: self.rows(name) for name in sorted(self.scores)}
        words = f"{max(counts.values()):,} rows"
        if len(set(counts.values())) > 1:
            words += f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"
        if self.row_ids is not None:
            words += f" of ids {_digest(self.row_ids)}"
        if self.groups is not None:
            words += f" in {len(np.unique(self.groups)):,} groups {_digest(self.groups)}"
        return words


def read_scores(
    folder: Path, *, confirming: bool, max_bytes: int = MAX_BYTES
) -> tuple[RowScores, RowScores | None]:
    """Read what a training wrote: of validation rows, and in confirmations of test rows.

    Raises:
        ScriptError: If that is not all there, or cannot be used.
    """
    path = folder / FILE
    arrays = _arrays(path, max_bytes)
    try:
        return checked_scores(arrays, confirming=confirming)
    except ScriptError as error:
        raise ScriptError(f"{path}: {error}") from None


def checked_scores(
    arrays: Mapping[str, Array], *, confirming: bool
) -> tuple[RowScores, RowScores | None]:
    """Check what a training reported: of validation rows, and in confirmations of test rows.

    Args:
        arrays: By name, as in the file.
        confirming: Whether it was a confirmation.

    Raises:
        ScriptError: If that is not all there, or cannot be used.
    """
    test = {name: array for name, array in arrays.items() if name.endswith(TEST)}
    scores = checked_rows({n: array for n, array in arrays.items() if n not in test})
    if not confirming:
        _refuse(test)
    return scores, _test_scores(test, scores) if confirming else None


def checked_rows(arrays: Mapping[str, Array], suffix: str = "") -> RowScores:
    """Check the scores of one set of rows, and sort them by the ids of rows.

    Args:
        arrays: By name, as in the file.
        suffix: What the names end with: `_test` or nothing.

    Raises:
        ScriptError: If they cannot be used.
    """
    end = len(suffix)
    named = {name[: len(name) - end]: array for name, array in arrays.items()}
    ids, groups = named.pop(ROW_ID, None), named.pop(GROUP, None)
    counts = {n: named.pop(n + ROWS) for n in list(named) if n + ROWS in named}
    if stray := [name + suffix for name in named if name.endswith(ROWS)]:
        raise ScriptError(f"{listing(stray)} is of no target: save its mean beside it")
    if not named:
        raise ScriptError("it holds no target: save one score per row, as acc=correct")
    scores = {
        name: _checked(name + suffix, array, is_mean=name in counts)
        for name, array in named.items()
    }
    by_row = sorted(scores.keys() - counts.keys())
    if groups is not None:
        _check_groups(groups, GROUP + suffix, [name + suffix for name in counts])
        for name in by_row:
            _check_length(name + suffix, len(scores[name]), len(groups), GROUP + suffix)
    order = None if ids is None else _order(ids, ROW_ID + suffix)
    if order is not None:
        for name in by_row:
            _check_length(name + suffix, len(scores[name]), len(order), ROW_ID + suffix)
            scores[name] = scores[name][order]
    return RowScores(
        scores=scores,
        row_ids=None if ids is None else ids[order],
        counts={name: _count(name + ROWS + suffix, count) for name, count in counts.items()},
        groups=groups if order is None or groups is None else groups[order],
    )


def _arrays(path: Path, max_bytes: int) -> dict[str, Array]:
    """Read the file; a pipe or a device in its place would not end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ScriptError(_nothing_words(path)) from None
    except OSError as error:
        raise ScriptError(f"{path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ScriptError(f"{path} is no file. Write it with numpy.savez")
    if status.st_size > max_bytes:
        raise ScriptError(
            f"{path} has {status.st_size:,} bytes, of {max_bytes:,} that are allowed. Save one "
            "number per row, and nothing but scores"
        )
    from tuner.data.formats.arrays.npz import read_npz  # a training that reports reads nothing

    try:
        return read_npz(path)
    except DataError as error:
        raise ScriptError(str(error).splitlines()[0].rstrip(".")) from None


def _nothing_words(path: Path) -> str:
    mend = (
        "call trial.report(acc=correct) at its end, or tuner.report(acc=correct), or write "
        f"{FILE} into the folder of {{out}} (in the environment: TUNER_OUT) with one score per "
        "validation row"
    )
    if not path.parent.is_dir():
        return f"its folder {path.parent} is gone, and what it reported with it: leave it there"
    others = sorted(child.name for child in path.parent.iterdir())
    there = f" (there is {listing(others, 3)} in {path.parent})" if others else ""
    return f"it ended well and reported nothing{there}: {mend}"


def _refuse(test: Mapping[str, Array]) -> None:
    if test:
        raise ScriptError(
            f"{listing(list(test))} came with a training of the search: test rows count in "
            "confirmations alone. Report them only where `trial.confirming` is true (in the "
            "environment: where TUNER_CONFIRMING is 1)"
        )


def _test_scores(arrays: Mapping[str, Array], validation: RowScores) -> RowScores:
    missing = [n + TEST for n in validation.scores if n + TEST not in arrays]
    if missing:
        raise ScriptError(
            f"{listing(missing)} is missing, and this training is a confirmation. Report test "
            "rows where `trial.confirming` is true: trial.report_test(acc=correct_test), or "
            f"{missing[0]} in {FILE}"
        )
    rows = checked_rows(arrays, TEST)
    if extra := [name + TEST for name in rows.scores.keys() - validation.scores.keys()]:
        raise ScriptError(f"{listing(sorted(extra))} has no scores of validation rows beside it")
    for name, ours, theirs in (
        (ROW_ID, rows.row_ids, validation.row_ids),
        (GROUP, rows.groups, validation.groups),
    ):
        if (ours is None) != (theirs is None):
            raise ScriptError(f"{name} and {name}{TEST} come together. Report both, or none")
    return rows


def _checked(name: str, array: Array, *, is_mean: bool) -> Floats:
    """Return scores as they are computed with: (rows,), or (1,) of a mean."""
    if _UNNAMED.fullmatch(name):
        raise ScriptError(
            f"{name!r} is how numpy.savez calls an array without a name. Save it by the name of "
            "its target: numpy.savez(path, acc=correct)"
        )
    if not _NAME.fullmatch(name):
        raise ScriptError(
            f"{name[:80]!r} is no name of a target. Begin with a letter; letters, digits and "
            "_ . @ - may follow, 64 in all"
        )
    if array.dtype.kind not in "biuf":
        kind = _KINDS.get(array.dtype.kind, str(array.dtype))
        raise ScriptError(
            f"array {name!r} holds {kind}. Save numbers, one score per row, and nothing that is no "
            "score"
        )
    if is_mean:
        if array.size != 1:
            raise ScriptError(
                f"array {name!r} of shape {array.shape} comes with a number of rows, which is for "
                "one number, the mean of them. Leave the number of rows out (rows=…, or "
                f"{name}{ROWS} in {FILE})"
            )
    else:
        _check_rows(name, array)
    scores = np.array(array, dtype=float).reshape(-1)
    if not np.isfinite(scores).all():
        bad = ~np.isfinite(scores)
        raise ScriptError(
            f"array {name!r} is not finite in {rows_where(bad)}. If the training diverged, let it "
            "raise an error; a row without a score has to be given one, such as 0"
        )
    return scores


def _check_rows(name: str, array: Array) -> None:
    if array.size == 0:
        raise ScriptError(f"array {name!r} is empty. Save one score per row")
    if array.size == 1:
        raise ScriptError(
            f"{name!r} is one number. Report one score per row, which tells how sure it is; or say "
            f"of how many rows it is the mean: trial.report(acc=.9, rows=500), or "
            f"{name}{ROWS}=500 in {FILE}"
        )
    if array.ndim != 1:
        raise ScriptError(
            f"array {name!r} has shape {array.shape}. One score per row is wanted, (rows,): take "
            "the mean over the other axes, or join batches by numpy.concatenate"
        )


def _check_names(names: Array, name: str) -> None:
    if names.dtype.kind not in "iuUS" or names.ndim != 1:
        raise ScriptError(
            f"array {name!r} is {names.dtype} of shape {names.shape}. One whole number or text per "
            "row is wanted"
        )


def _check_groups(groups: Array, name: str, means: list[str]) -> None:
    _check_names(groups, name)
    if means:
        raise ScriptError(
            f"{listing(means)} came as a mean, of which {name!r} cannot tell how it varies between "
            f"groups. Report one score per row, or leave {name} out"
        )
    if len(np.unique(groups)) < 2:
        raise ScriptError(
            f"array {name!r} has all rows in one group, which tells nothing of others. Leave it "
            "out, or tell rows apart"
        )


def _digest(names: Array) -> str:
    return hashlib.sha256("\n".join(map(str, names.tolist())).encode()).hexdigest()[:8]


def _order(ids: Array, name: str) -> Array:
    """Return the order that sorts the ids of rows."""
    _check_names(ids, name)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if repeated := sorted({value.item() for value in ordered[1:][ordered[1:] == ordered[:-1]]}):
        raise ScriptError(
            f"array {name!r} has {listing(repeated, 3)} more than once. Report each row once: "
            "samplers of several processes repeat rows to fill the last batch"
        )
    return order


def _check_length(name: str, rows: int, wanted: int, ids: str) -> None:
    if rows != wanted:
        raise ScriptError(f"array {name!r} has {rows:,} rows and {ids!r} has {wanted:,}")


def _count(name: str, array: Array) -> int:
    if array.size != 1 or array.dtype.kind not in "iu" or array.item() < 1:
        raise ScriptError(f"{name!r} has to be one whole number from 1: how many rows there were")
    return int(array.item())
