"""Scores that are no mean of scores of rows: named functionals of what training code reports."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from tuner.models.evaluation.metrics import METRICS, Metric
from tuner.typing import Array, Floats

_RECALL = re.compile(r"recall@([1-9]\d{0,5})")
_NAMES = (*METRICS, "recall@K")


@dataclass(frozen=True)
class Functional:
    """How arrays of rows become the score of a target.

    `balanced_accuracy(truth, guess)` and the other metrics of encoders take the labels and what was
    predicted; `recall@5(rank)` is the share of rows whose rank, from 1 on, is 5 at most.

    Attributes:
        name: Of the functional.
        arrays: Names of what the code reports, in the order of the functional's arguments.

    Raises:
        ValueError: If there is no such functional, or it takes other arguments.
    """

    name: str
    arrays: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.name not in METRICS and not _RECALL.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no score of rows: write one of {', '.join(_NAMES)}, or mean"
            )
        wanted = ("RANK",) if self._is_recall else ("TRUTH", "PREDICTION")
        if len(self.arrays) != len(wanted):
            raise ValueError(
                f"{self.name}({', '.join(self.arrays)}): it is written "
                f"{self.name}({', '.join(wanted)}), with the names of what the code reports"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes."""
        name, arrays = text.removesuffix(")").split("(")
        return cls(name, tuple(part.strip() for part in arrays.split(",")))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arrays)})"

    @property
    def metric(self) -> Metric:
        """The metric of encoders that it is; recall is the accuracy of hits."""
        return METRICS["accuracy" if self._is_recall else self.name]

    @property
    def is_rate(self) -> bool:
        """Whether it counts rows."""
        return self.metric.task == "classification"

    def scores_under(self, predictions: Mapping[str, Array], weights: Floats) -> Floats:
        """Mean score over replicates under each row weighting, (weightings,).

        Args:
            predictions: What was reported, by name, (replicates, rows).
            weights: (weightings, rows).
        """
        truth, told = self._told(predictions)
        return self.metric.mean_scores(truth, told, weights)

    def scores(self, predictions: Mapping[str, Array]) -> Floats:
        """Score of each replicate, (replicates,)."""
        truth, told = self._told(predictions)
        alike = np.ones((1, len(truth)))
        each = [self.metric.mean_scores(truth, one[None], alike)[0] for one in told]
        return np.array(each, dtype=np.float64)

    def fault(self, told: Mapping[str, Array], reference: Mapping[str, Array]) -> str | None:
        """Say why it cannot be computed; None if it can.

        Args:
            told: What a training reported, by name, (1, rows).
            reference: What λ = 0 reported.
        """
        lengths = {told[name].shape[1] for name in self.arrays}
        if len(lengths) > 1 or lengths == {1}:
            return f"{' and '.join(self.arrays)} have to come by row, as many numbers each"
        for name in self.arrays if self.is_rate else ():
            if np.any(told[name] != np.round(told[name])):
                wanted = "ranks, from 1 on" if self._is_recall else "classes"
                return f"{name} has to hold {wanted}: whole numbers"
        if self._is_recall:
            low = told[self.arrays[0]].min() < 1
            return f"ranks of {self.arrays[0]} begin with 1" if low else None
        truth = self.arrays[0]
        if not np.array_equal(told[truth], reference[truth]):
            return f"{truth} is not what λ = 0 reported: labels of rows are the same each time"
        if self.name != "mae" and np.all(told[truth] == told[truth][:, :1]):
            return f"all rows of {truth} are alike, of which {self.name} says nothing"
        return None

    def _told(self, predictions: Mapping[str, Array]) -> tuple[Array, Array]:
        """(rows,) what is right, and (replicates, rows) what was told."""
        if self._is_recall:
            hits = predictions[self.arrays[0]] <= self._most
            return np.ones(hits.shape[1], dtype=bool), hits
        truth, told = (predictions[name] for name in self.arrays)
        return truth[0], told

    @property
    def _is_recall(self) -> bool:
        return self.name not in METRICS

    @cached_property
    def _most(self) -> int:
        found = _RECALL.fullmatch(self.name)
        return int(found[1]) if found else 0
