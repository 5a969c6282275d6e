"""What one training of a user's code reports: scores of rows, by target."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

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
        groups: (rows,) of the validation rows, equal for rows that belong together; None if all
            are independent.
        test_groups: The same of the test rows.
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
    groups: Array | None = None
    test_groups: Array | None = None

    @property
    def validation(self) -> RowScores:
        """The scores of validation rows."""
        return RowScores(
            scores=self.scores, row_ids=self.row_ids, counts=self.counts, groups=self.groups
        )

    @property
    def test(self) -> RowScores | None:
        """The scores of test rows; None outside of confirmations."""
        if self.test_scores is None:
            return None
        return RowScores(
            scores=self.test_scores,
            row_ids=self.test_row_ids,
            counts=self.test_counts,
            groups=self.test_groups,
        )


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
        groups=validation.groups,
        test_groups=None if test is None else test.groups,
        curves=curves,
        seconds=seconds,
        saved=saved,
    )


def check_alike(first: Reported, other: Reported) -> None:
    """Do nothing if two trainings tell the same targets of the same rows.

    Raises:
        ScriptError: If not, about the other: their scores could not be compared.
    """
    for kind, ours, theirs in (
        ("validation", other.validation, first.validation),
        ("test", other.test, first.test),
    ):
        if ours is not None and theirs is not None:
            fault = unlike(kind, ScoredRows.of(ours), ScoredRows.of(theirs), "another training")
            if fault is not None:
                raise ScriptError(fault)


class ScoredRows(NamedTuple):
    """What a training scored.

    Attributes:
        targets: By what.
        words: Which rows, as `RowScores.words` tells them.
    """

    targets: frozenset[str]
    words: str

    @classmethod
    def of(cls, rows: RowScores) -> Self:
        """Of what it reported."""
        return cls(targets=frozenset(rows.scores), words=rows.words)


def unlike(kind: str, ours: ScoredRows, theirs: ScoredRows, other: str) -> str | None:
    """Say why scores of a training cannot be compared with those of another; None if they can.

    Args:
        kind: Of rows: validation or test.
        ours: What it scored.
        theirs: What the other scored.
        other: Which training that is.
    """
    lacking = sorted(theirs.targets - ours.targets)
    if lacking:
        return (
            f"it did not report {listing(lacking)}, as {other} did. Report the same targets in "
            "every training"
        )
    if ours.words != theirs.words:
        return (
            f"it scored other {kind} rows than {other} did ({ours.words}, not {theirs.words}). "
            f"Report every {kind} row in every training, whatever λ and seed, with its row_id and "
            "group always or never (no drop_last=True, no sampling of rows, the data divided in "
            "one way)"
        )
    return None
