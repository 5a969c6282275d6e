"""What a training reported, as it is told over a network: numbers alone, and none is trusted."""

import io
import math
import shutil
import tempfile
from pathlib import Path
from typing import IO, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tuner.data.errors import DataError
from tuner.errors import ScriptError
from tuner.scripts.reported import Reported, reported_of
from tuner.scripts.scores import FILE, GROUP, ROW_ID, ROWS, TEST, RowScores, checked_scores
from tuner.typing import Array, Floats

_MOST_NAMES = 1000
_MOST_LETTERS = 2**25  # each takes four bytes, and all texts as much room as the longest
_LONGEST = 4096
_OF_DATA = ", or raise the limit (TUNER_MAX_DATA)"  # which is for data sets, not for scores
_MOST_UNPACKED = 2**27  # bytes of an archive of scores


class Told(BaseModel):
    """What a training reported."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scores: Annotated[
        dict[str, Any],
        Field(
            max_length=_MOST_NAMES,
            description="what a training writes into scores.npz, as lists: one score per row as "
            "NAME and in confirmations NAME_test; row_id and row_id_test, group and group_test if "
            "need be; a mean is one number, with its rows as NAME_rows",
        ),
    ]
    curves: Annotated[
        dict[str, list[float | None]],
        Field(max_length=_MOST_NAMES, description="a number per epoch, for curves"),
    ] = {}
    seconds: Annotated[float, Field(ge=0, description="that the training took")] = 0.0
    saved: Annotated[
        str | None, Field(max_length=_LONGEST, description="path that it saved its model in")
    ] = None

    @classmethod
    def of(cls, reported: Reported) -> Self:
        """Write down what a training reported; what is read of it is the same, bit by bit."""
        scores = _listed(reported.validation, "")
        if reported.test is not None:
            scores |= _listed(reported.test, TEST)
        curves = {
            name: [value if math.isfinite(value) else None for value in values.tolist()]
            for name, values in reported.curves.items()
        }
        saved = None if reported.saved is None else str(reported.saved)
        return cls(scores=scores, curves=curves, seconds=reported.seconds, saved=saved)

    @property
    def numbers(self) -> int:
        """How many numbers, or texts, the scores are."""
        return sum(len(v) if isinstance(v, list) else 1 for v in self.scores.values())

    def archive(self) -> bytes:
        """Write the scores as an archive that `read_archive` reads."""
        arrays = {name: _array(name, values) for name, values in self.scores.items()}
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        return content.getvalue()

    def reported(self, *, confirming: bool) -> Reported:
        """Return what the training reported, checked.

        Args:
            confirming: Whether it was a confirmation.

        Raises:
            ScriptError: If it cannot be used.
        """
        arrays = {name: _array(name, values) for name, values in self.scores.items()}
        validation, test = checked_scores(arrays, confirming=confirming)
        curves = {name: _curve(values) for name, values in self.curves.items()}
        saved = None if self.saved is None else Path(self.saved)
        return reported_of(validation, test, curves=curves, seconds=self.seconds, saved=saved)


def read_archive(
    file: IO[bytes],
    *,
    confirming: bool,
    curves: dict[str, list[float | None]],
    seconds: float,
    saved: str | None,
) -> Reported:
    """Read what a training reported from an archive as `scores.npz` is; nothing is unpickled.

    Args:
        file: The archive.
        confirming: Whether it was a confirmation.
        curves: As of `Told`, like the others.
        seconds: The same.
        saved: The same.

    Raises:
        ScriptError: If it cannot be used, or unpacked it has more than 128 MiB.
    """
    from tuner.data.formats.arrays.npz import read_npz

    with tempfile.NamedTemporaryFile(suffix=".npz") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        try:
            arrays = read_npz(Path(copy.name), max_bytes=_MOST_UNPACKED)
        except DataError as error:
            reason = str(error).splitlines()[0].replace(copy.name, FILE)
            raise ScriptError(reason.replace(_OF_DATA, "")) from None
    validation, test = checked_scores(arrays, confirming=confirming)
    told = {name: _curve(values) for name, values in curves.items()}
    where = None if saved is None else Path(saved)
    return reported_of(validation, test, curves=told, seconds=seconds, saved=where)


def _listed(rows: RowScores, end: str) -> dict[str, Any]:
    listed: dict[str, Any] = {name + end: scores.tolist() for name, scores in rows.scores.items()}
    listed |= {name + ROWS + end: count for name, count in rows.counts.items()}
    for name, names in ((ROW_ID, rows.row_ids), (GROUP, rows.groups)):
        if names is not None:
            texts = np.char.decode(names, "latin-1") if names.dtype.kind == "S" else names
            listed[name + end] = texts.tolist()
    return listed


def _array(name: str, values: Any) -> Array:
    """Return one number or a list of numbers, or of texts, as an array of a bounded size."""
    listed = values if isinstance(values, list) else [values]
    if all(type(value) in (bool, int, float) for value in listed):
        return np.asarray(values)
    if all(isinstance(value, str) for value in listed):
        if len(listed) * max(map(len, listed)) <= _MOST_LETTERS:
            return np.asarray(values)
        raise ScriptError(f"array {name[:80]!r} holds long texts: number the rows instead")
    raise ScriptError(
        f"array {name[:80]!r} is no list of numbers, or of texts: one for each row is wanted"
    )


def _curve(values: list[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=float)
