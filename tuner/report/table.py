"""The λ-curve as a table, for spreadsheets."""

import csv
import io

from tuner.study.result import StudyResult
from tuner.study.scores import TARGETS

COLUMNS = ("lambda", "target", "mean", "sem", "replicates")


def curve_csv(result: StudyResult) -> str:
    """Write the curve of an answer as CSV: a row for every λ and target, in the metric's units."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for point in result.curve:
        for target in TARGETS:
            score = getattr(point, target)
            row = (point.strength, target, score.mean, score.sem, point.replicates)
            table.writerow(row)
    return text.getvalue()
