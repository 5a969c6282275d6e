"""What one training of a user's code reports: scores of rows, by target."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tuner.data.validation.findings import listing
from tuner.errors import ScriptError
from tuner.scripts.scores import RowScores
from tuner.typing import Array, Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Reported:
    """What a training reported, checked.

    Rows that came with ids are sorted by them, so that two trainings that report the same rows
    report them in the same order.

    Attributes:
        scores: Of the validation rows, by target: (rows,), finite, one length for all targets; or
            (1,) of a target in `counts`.
        test_scores: The same of the test rows; None outside of confirmations.
        row_ids: (rows,) numbers or texts, sorted; None if the training told none.
        test_row_ids: The same of the test rows.
        counts: How many validation rows the one number of a target is the mean of.
        test_counts: The same of the test rows.
        curves: What was told after each epoch, by name: (epochs,).
        seconds: How long the training took, with the start of its process.
        saved: The folder that the training saved its model in.
    """

    scores: dict[str, Floats]
    test_scores: dict[str, Floats] | None = None
    row_ids: Array | None = None
    test_row_ids: Array | None = None
    counts: dict[str, int] = field(default_factory=dict)
    test_counts: dict[str, int] = field(default_factory=dict)
    curves: dict[str, Floats] = field(default_factory=dict)
    seconds: float = 0.0
    saved: Path | None = None

    @property
    def validation(self) -> RowScores:
        """The scores of validation rows."""
        return RowScores(scores=self.scores, row_ids=self.row_ids, counts=self.counts)

    @property
    def test(self) -> RowScores | None:
        """The scores of test rows; None outside of confirmations."""
        if self.test_scores is None:
            return None
        ids, counts = self.test_row_ids, self.test_counts
        return RowScores(scores=self.test_scores, row_ids=ids, counts=counts)


def reported_of(
    validation: RowScores,
    test: RowScores | None,
    *,
    curves: dict[str, Floats],
    seconds: float,
    saved: Path | None,
) -> Reported:
    """Put together what a training reported of its rows and else: see `Reported`."""
    return Reported(
        scores=validation.scores,
        row_ids=validation.row_ids,
        counts=validation.counts,
        test_scores=None if test is None else test.scores,
        test_row_ids=None if test is None else test.row_ids,
        test_counts={} if test is None else test.counts,
        curves=curves,
        seconds=seconds,
        saved=saved,
    )


def check_alike(first: Reported, other: Reported) -> None:
    """Do nothing if two trainings tell the same targets of the same rows.

    Raises:
        ScriptError: If not, about the other: their scores could not be compared.
    """
    _check_rows_alike(first.validation, other.validation, "validation")
    if first.test is not None and other.test is not None:
        _check_rows_alike(first.test, other.test, "test")


def _check_rows_alike(first: RowScores, other: RowScores, kind: str) -> None:
    if first.scores.keys() != other.scores.keys():
        raise ScriptError(
            f"it reports {listing(sorted(other.scores))}, where another training reported "
            f"{listing(sorted(first.scores))}. Report the same targets in every training"
        )
    for name in first.scores:
        rows, wanted = other.rows(name), first.rows(name)
        if rows != wanted or (name in first.counts) != (name in other.counts):
            raise ScriptError(
                f"{name} has {rows:,} {kind} rows, where another training had {wanted:,}. Report "
                f"every {kind} row in every training, whatever λ and seed, one by one or always "
                "as a mean (no drop_last=True, no sampling of rows)"
            )
    _check_ids_alike(first.row_ids, other.row_ids, kind)


def _check_ids_alike(first: Array | None, other: Array | None, kind: str) -> None:
    if first is None and other is None:
        return
    if first is None or other is None:
        raise ScriptError("only some trainings report row_id. Report it in all of them, or in none")
    if not np.array_equal(first, other):
        raise ScriptError(
            f"row_id names other {kind} rows than in another training. Divide the data in one way, "
            "whatever λ and seed"
        )
