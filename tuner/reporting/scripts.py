"""Writes the report of a study of training code, from its answer alone."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tuner.analysis.gains.gain import signed
from tuner.reporting.axes import PALETTES, add_legend, dress
from tuner.reporting.figures import draw_choice
from tuner.reporting.note import fetch_lines
from tuner.reporting.page import PAGE, both_themes, template, tradeoff_figure
from tuner.reporting.tradeoff import TradeOff
from tuner.reporting.wording import duration, strength, strength_interval
from tuner.study.scoring.targets import Target
from tuner.study.scripts.result import ScriptAnswer, ScriptResult
from tuner.study.space import LambdaSpace

_TAGS = {"align": "yes", "do not align": "no", "undecided": "unclear"}


def write_script_report(result: ScriptResult, folder: Path) -> Path:
    """Write `report.html`, a page that needs no network, and return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    page = template("script.html.j2").render(
        result=result,
        rows=[_row(target, answer) for target, answer in result.targets.items()],
        figures=[_figure(result, target) for target in result.targets],
        tradeoffs=list(map(tradeoff_figure, TradeOff.of_script(result))),
        curve=[
            {
                "strength": strength(point.strength),
                "replicates": point.replicates,
                "cells": [
                    f"{_score(score.mean)} ± {_score(score.sem)}" for score in point.scores.values()
                ],
            }
            for point in result.curve
        ],
        stopped=[
            {
                "strength": strength(partial.strength),
                "share": f"1/{1 / partial.share:.0f}",
                "cells": [
                    f"{_score(score.mean)} ± {_score(score.sem)}"
                    for score in partial.scores.values()
                ],
            }
            for partial in result.stopped
        ],
        code=_code(result),
        training=duration(result.cost.training_seconds),
        wall=duration(result.cost.wall_seconds),
    )
    place = folder / PAGE
    place.write_text(page, encoding="utf-8")
    return place


def _code(result: ScriptResult) -> str | None:
    """The code that fetches the registered model; None if there is none."""
    if result.model is None:
        return None
    where = None if result.mlflow is None else result.mlflow.tracking_uri
    return fetch_lines(result.model.name, result.model.version, where)


def draw_target(result: ScriptResult, target: Target) -> Figure:
    """Draw the λ-curve of a target: means, standard errors, the model, and λ* with its interval."""
    palette, answer = PALETTES["light"], result.targets[target]
    strengths = np.array([point.strength for point in result.curve])
    model = result.curve_model
    space = LambdaSpace(maximum=float(max(strengths.max(), *(model.strengths if model else ()))))
    figure = Figure(figsize=(5.2, 4.9), layout="constrained")
    figure.set_facecolor(palette.ground)
    axis = figure.subplots()
    draw_choice(axis, answer, space, palette)
    scores = [point.scores[target] for point in result.curve]
    axis.axhline(scores[0].mean, color=palette.ink, ls=(0, (1, 2)), label="λ = 0, mean")
    if model is not None:
        units, curve = space.to_unit(np.array(model.strengths)), model.scores[target]
        axis.fill_between(
            units, curve.low, curve.high, color=palette.curve, alpha=0.2, lw=0, label="its 95 %"
        )
        axis.plot(units, curve.mean, color=palette.curve, lw=2, label="model of the curve")
    axis.errorbar(
        np.asarray(space.to_unit(strengths)),
        [score.mean for score in scores],
        yerr=[score.sem for score in scores],
        ls="",
        marker="o",
        ms=4.5,
        elinewidth=1,
        color=palette.ink,
        label="mean ± standard error",
    )
    dress(axis, space, palette, title=f"{target}: {answer.verdict}", measured=target)
    add_legend(figure, axis, palette, columns=2)
    return figure


def _figure(result: ScriptResult, target: Target) -> dict[str, str]:
    answer = result.targets[target]
    return both_themes(draw_target(result, target)) | {
        "alt": f"λ-curve of {target}: {len(result.curve)} λs tried, λ* = "
        f"{strength(answer.strength)}, 95 % interval of the best λ "
        f"{strength_interval(answer.interval)}, verdict: {answer.verdict}."
    }


def _row(target: Target, answer: ScriptAnswer) -> dict[str, Any]:
    gain, interval = answer.tested
    ends = "—" if interval is None else f"{_signed(interval[0])} to {_signed(interval[1])}"
    return {
        "title": target,
        "tag": _TAGS[answer.verdict],
        "verdict": answer.verdict,
        "evidence": answer.evidence,
        "better": "more" if answer.direction == "maximize" else "less",
        "cells": [
            strength(answer.strength),
            strength_interval(answer.interval),
            strength(answer.candidate),
            _score(answer.test.baseline),
            _score(answer.test.best),
            _signed(gain),
            ends,
        ],
    }


def _score(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float | None) -> str:
    return "—" if value is None else signed(value)
