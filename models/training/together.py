"""Measures what both encoders of a pair do together on test rows, by the weights that are kept."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.models.compute.device import full_precision
from tuner.models.encoders.pair import Branch
from tuner.models.evaluation import crossmodal
from tuner.models.outcome import Rule, pair_name
from tuner.models.rows import TrainingData
from tuner.models.training.kept import Keeper
from tuner.models.training.objective import Objective
from tuner.models.training.tensors import RowTensors

_Side = tuple[Rule, str]  # whose weights, of which modality


class PairMeasurements:
    """Measures pairs of all rules by which the weights of A and of B may be kept.

    What the pair answers with one head is the sum of the outputs of both: a linear head over both
    embeddings, the product rule of Kittler et al. (IEEE TPAMI 20 (1998) 226); of values their mean.

    Args:
        data: What was trained on; its labelled training rows make the prototypes of classes.
        objective: Embeds rows.
        branches: By modality; left with the weights of one of the rules.
        kept: By modality.
        at_a_time: Rows that are embedded at a time.
        replicates: Of the stack.
    """

    def __init__(
        self,
        data: TrainingData,
        objective: Objective,
        branches: Mapping[str, Branch],
        kept: Mapping[str, Keeper],
        *,
        at_a_time: int,
        replicates: int,
    ) -> None:
        self._data, self._objective = data, objective
        self._branches, self._kept = branches, kept
        self._at_a_time, self._replicates = at_a_time, replicates
        self._sides: list[_Side] = [(rule, m) for m, k in kept.items() for rule in k.weights]

    def measure(self, train: RowTensors, test: RowTensors) -> dict[str, NDArray[np.generic]]:
        """Measure on test rows, all of them labelled.

        Returns:
            By `pair_name`, (replicates, rows): recalls; and what is predicted by both heads and,
            in classification, by prototypes of the other modality.
        """
        classes = self._prototypes(train) if self._data.task == "classification" else {}
        whole: dict[str, NDArray[np.generic]] = {}
        for rows in crossmodal.galleries(test.count):
            index = torch.from_numpy(rows).to(test.place)
            seen = {side: self._seen(side, test, index) for side in self._sides}
            for name, values in self._of_gallery(seen, classes):
                empty = np.zeros((self._replicates, test.count), dtype=values.dtype)
                whole.setdefault(name, empty)[:, rows] = values
        return whole

    def _of_gallery(
        self, seen: Mapping[_Side, tuple[Any, Any]], classes: Mapping[_Side, Any]
    ) -> Iterator[tuple[str, NDArray[np.generic]]]:
        for rules in self._pairs:
            a, b = (seen[rules[m], m] for m in self._branches)
            told: dict[str, NDArray[np.generic]] = {**crossmodal.recalls(a[0], b[0])}
            told[crossmodal.FUSED] = self._data.decode(
                a[1] + b[1] if classes else (a[1] + b[1]) / 2
            )
            for mine, theirs in (("a", "b"), ("b", "a")) if classes else ():
                told[crossmodal.ZERO_SHOT[mine]] = crossmodal.nearest_class(
                    seen[rules[mine], mine][0], classes[rules[theirs], theirs]
                )
            yield from ((pair_name(rules, name), values) for name, values in told.items())

    @property
    def _pairs(self) -> list[dict[str, Rule]]:
        """All pairs of rules, one a modality."""
        rules = product(*(keeper.weights for keeper in self._kept.values()))
        return [dict(zip(self._kept, each, strict=True)) for each in rules]

    def _prototypes(self, train: RowTensors) -> dict[_Side, Any]:
        """Mean direction of the labelled training rows of each class, by side."""
        index = train.labelled.nonzero().squeeze(1)
        found = {}
        for side in self._sides:
            total: Tensor | int = 0
            for part, embedding, _ in self._embedded(side, train, index):
                member = torch.nn.functional.one_hot(part.y[:1], self._data.outputs)
                total = total + member.to(embedding.dtype).mT @ embedding
            found[side] = (
                crossmodal.prototypes(total.cpu().numpy())
                if isinstance(total, Tensor)
                else np.zeros((self._replicates, self._data.outputs, 1), dtype=np.float32)
            )
        return found

    def _seen(self, side: _Side, rows: RowTensors, index: Tensor) -> tuple[Any, Any]:
        """Projections and outputs of rows, (replicates, rows, …)."""
        parts = [each[1:] for each in self._embedded(side, rows, index)]
        projections, outputs = (
            torch.cat(each, 1).cpu().numpy() for each in zip(*parts, strict=True)
        )
        return projections, outputs

    def _embedded(
        self, side: _Side, rows: RowTensors, index: Tensor
    ) -> Iterator[tuple[RowTensors, Tensor, Tensor]]:
        """Yield parts of rows with their projections and outputs, by the weights of a rule."""
        rule, modality = side
        branch = self._branches[modality]
        self._kept[modality].weights[rule].load_into(branch)
        for own in torch.split(index, self._at_a_time):
            part = rows.take(own, 1).stacked(self._replicates)
            embedding, output = self._objective.apply(modality, part, exact=True)
            with full_precision(embedding.device):
                yield part, branch.project(embedding), output
