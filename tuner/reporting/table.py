"""The λ-curve as a table, for spreadsheets."""

import csv
import io
from collections.abc import Iterator

import numpy as np

from tuner.study.result import ModelledCurve, StudyResult
from tuner.study.scoring.targets import Target
from tuner.study.scripts.result import ModelledTargets, ScriptResult

COLUMNS = ("lambda", "target", "mean", "sem", "replicates")
OF_THE_MODEL = ("mean", "low", "high")


def curve_csv(result: StudyResult | ScriptResult) -> str:
    """Write the curve of an answer as CSV: a row for every λ and target, in the metric's units.

    What the model of the curve makes of a λ, and its 95 % interval there, are in further columns
    where the answer holds the model.
    """
    model = result.curve_model
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*COLUMNS, *(f"model_{name}" for name in OF_THE_MODEL if model)))
    for point in result.curve:
        for target, score in point.scores.items():
            row = (point.strength, target, score.mean, score.sem, point.replicates)
            table.writerow((*row, *_modelled(model, target, point.strength)))
    return text.getvalue()


def _modelled(
    model: ModelledCurve | ModelledTargets | None, target: Target, strength: float
) -> Iterator[float]:
    """Yield `OF_THE_MODEL` at a λ, straight between those that the answer holds."""
    if model is None:
        return
    for name in OF_THE_MODEL:
        values = getattr(model.scores[target], name)
        yield float(np.interp(strength, model.strengths, values))
