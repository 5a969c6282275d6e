"""What one training of a user's code reports: scores of rows, by target."""

from dataclasses import dataclass, field
from pathlib import Path

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
