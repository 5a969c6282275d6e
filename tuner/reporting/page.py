"""Writes the report of a study: one page that needs no network, and the figure of the λ-curve."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from tuner.data import Modality, PairedDataset, Split
from tuner.reporting.axes import as_bytes, in_the_dark
from tuner.reporting.command import command
from tuner.reporting.figures import (
    Panel,
    SimilarityPanel,
    draw_all,
    draw_one,
    draw_similarity,
    panels,
)
from tuner.reporting.note import load_lines
from tuner.reporting.tradeoff import TradeOff, draw_tradeoff
from tuner.reporting.wording import (
    ATOM_TITLES,
    SIMILARITIES,
    TITLES,
    covered,
    duration,
    expectation,
    gain,
    gain_interval,
    guess_words,
    headline,
    hindsight,
    kept_words,
    metric_words,
    needs_words,
    nuisance_words,
    prior_words,
    score,
    sentence,
    settings_words,
    strength,
    strength_interval,
    together_rows,
    together_words,
)
from tuner.study.result import CurvePoint, StudyResult
from tuner.study.scoring.scores import TARGETS
from tuner.study.scoring.targets import mean_score
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, confirmations

FIGURE = "lambda_curve.png"
PAGE = "report.html"


def write_report(
    study: Study, result: StudyResult, finished: Sequence[FinishedTrial], folder: Path
) -> None:
    """Write `lambda_curve.png` and `report.html`.

    Args:
        study: What was asked.
        result: The answer.
        finished: The trials.
        folder: Where to; must exist.
    """
    shown = panels(study, result, finished)
    similarity = SimilarityPanel.of(finished)
    (folder / FIGURE).write_bytes(as_bytes(draw_all(study, result, shown, similarity), "png"))
    page = template("report.html.j2").render(
        _facts(study, result, finished)
        | {
            "figures": [
                *(_figure(study, panel) for panel in shown),
                *([_similarity_figure(study, similarity)] if similarity else []),
            ],
            "tradeoffs": [tradeoff_figure(TradeOff.of_encoders(result))],
            "similarity": similarity,
            "similarities": list(SIMILARITIES.values()),
        }
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def template(name: str) -> Template:
    """Return a page that is to be filled."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _facts(study: Study, result: StudyResult, finished: Sequence[FinishedTrial]) -> dict[str, Any]:
    return {
        "result": result,
        "spec": study.spec,
        "tried": _tried(study, finished),
        "metric": metric_words(result),
        "headline": headline(result),
        "advice": _advice(result),
        "answers": _answer_rows(study, result, finished),
        "guesses": guess_words(result),
        "together": together_rows(result),
        "together_words": together_words(result),
        **_information(result),
        "curve": _curve_rows(result),
        "failures": [
            {"strength": strength(f.strength), "phase": f.phase, "reason": f.reason}
            for f in result.failures
        ],
        **_before_the_search(result),
        "cost": {
            "training": duration(result.cost.training_seconds),
            "wall": duration(result.cost.wall_seconds),
        },
        **_dataset(study.dataset),
        "tested": _tested(study),
        "validated": _validated(study),
        "covered": covered(result),
        "kept": kept_words(result),
        "models": _models(result),
        "command": command(study.spec),
        "spec_json": study.spec.model_dump_json(indent=2, exclude={"prior": {"targets"}}),
    }


def _tested(study: Study) -> str:
    """Say which rows the verdict rests on."""
    rows = len(study.test.truth)
    if study.folds is None:
        return f"{rows} labelled test rows"
    return (
        f"all {rows} labelled rows that are not validation rows, in {study.folds.count} folds, "
        "each by the seeds that were trained on the rows of the others"
    )


def _validated(study: Study) -> str:
    """Say which rows λ* rests on."""
    rows = f"{len(study.validation.truth)} labelled validation rows"
    if study.validation_folds is None:
        return rows
    return (
        f"{rows}, in {study.validation_folds.count} folds, each by the seeds that were trained on "
        "the rows of the others, so errors over seeds hold those of rows"
    )


def _tried(study: Study, finished: Sequence[FinishedTrial]) -> str:
    """Say how many λs were tried: what was done, not what was asked."""
    tried = sum(trial.request.phase == "search" for trial in finished)
    asked = study.spec.trials
    return f"{tried} of the {asked} asked" if tried < asked else f"{tried}"


def _advice(result: StudyResult) -> list[dict[str, str | None]]:
    tags = {"align": "yes", "do not align": "no", "undecided": "unclear"}
    return [
        {
            "title": TITLES[target],
            "tag": tags[answer.verdict],
            "verdict": answer.verdict,
            "sentence": sentence(target, result),
            "evidence": answer.evidence,
            "needs": needs_words(target, result),
        }
        for target, answer in result.answers.items()
    ]


def _dataset(dataset: PairedDataset) -> dict[str, Any]:
    splits = {"training": Split.TRAIN, "validation": Split.VALIDATION, "test": Split.TEST}
    return {
        "dataset": dataset,
        "sides": [
            {
                "title": title,
                "name": side.name,
                "shape": _shape(side),
            }
            for title, side in (("A", dataset.a), ("B", dataset.b))
        ],
        "splits": {
            name: {
                "rows": len(dataset.indices(split)),
                "labelled": len(dataset.indices(split, labelled_only=True)),
            }
            for name, split in splits.items()
        },
    }


def _shape(side: Modality) -> str:
    if side.holds == "text":
        return f"text of up to {side.values.shape[1]:,} bytes a row"
    return f"{' × '.join(map(str, side.values.shape[1:]))} values a row"


def _models(result: StudyResult) -> list[dict[str, Any]]:
    where = None if result.mlflow is None else result.mlflow.tracking_uri
    return [
        {"model": model, "code": load_lines(model.name, model.version, where)}
        for model in (result.modalities.a.model, result.modalities.b.model)
        if model is not None
    ]


def _information(result: StudyResult) -> dict[str, Any]:
    information = result.information
    if information is None:
        return {}
    return {
        "atoms": [(title, getattr(information, atom)) for atom, title in ATOM_TITLES.items()],
        "expectation": expectation(information),
        "hindsight": hindsight(information, result.joint.verdict),
    }


def _before_the_search(result: StudyResult) -> dict[str, Any]:
    name, nuisance = result.metric.name, result.nuisance
    return {
        "prior": prior_words(result),
        "stopped": [
            {
                "strength": strength(partial.strength),
                "epochs": partial.epochs,
                "mean": score(partial.joint.mean, name),
                "sem": score(partial.joint.sem, name),
            }
            for partial in result.stopped
        ],
        "nuisance": None if nuisance is None else nuisance_words(nuisance),
        "settings": []
        if nuisance is None
        else [
            {
                "strength": strength(trial.strength),
                "settings": settings_words(trial.settings),
                "mean": score(trial.joint.mean, name),
                "sem": score(trial.joint.sem, name),
            }
            for trial in nuisance.trials
        ],
    }


def _answer_rows(
    study: Study, result: StudyResult, finished: Sequence[FinishedTrial]
) -> list[dict[str, str]]:
    name = result.metric.name
    tested = {
        strength: trial.outcome.kept_by(result.rules).test_predictions
        for strength, trial in confirmations(finished, study.folds).items()
        if trial.outcome is not None
    }
    rows = []
    for target, answer in result.answers.items():
        baseline, best = (
            None if (rows_of := tested.get(at)) is None else mean_score(study.test, rows_of, target)
            for at in (0.0, answer.candidate)
        )
        value, interval = answer.tested
        rows.append(
            {
                "title": TITLES[target],
                "verdict": answer.verdict,
                "strength": strength(answer.strength),
                "interval": strength_interval(answer.interval),
                "candidate": strength(answer.candidate),
                "baseline": score(baseline, name),
                "best": score(best, name),
                "gain": gain(value, name),
                "gain_interval": gain_interval(interval, name),
            }
        )
    return rows


def _curve_rows(result: StudyResult) -> list[dict[str, Any]]:
    name, sign = result.metric.name, 1 if result.metric.direction == "maximize" else -1
    best = {
        target: max((sign * getattr(p, target).mean for p in result.curve), default=0.0)
        for target in TARGETS
    }
    return [
        {
            "strength": strength(point.strength),
            "replicates": point.replicates,
            "cells": [
                {
                    "mean": score(getattr(point, target).mean, name),
                    "sem": score(getattr(point, target).sem, name),
                    "best": sign * getattr(point, target).mean == best[target],
                }
                for target in TARGETS
            ],
            "alike": _alike(point),
        }
        for point in result.curve
    ]


def _alike(point: CurvePoint) -> list[dict[str, str]]:
    """Each similarity beyond chance, with its p; empty where it has no null."""
    if point.calibrated is None:
        return []
    beyond = [getattr(point.calibrated, name) for name in SIMILARITIES]
    return [{"value": f"{one.value:.3f}", "p": f"{one.p:.3f}"} for one in beyond]


def _figure(study: Study, panel: Panel) -> dict[str, str]:
    answer = panel.answer
    return both_themes(draw_one(study, panel)) | {
        "alt": (
            f"λ-curve of {TITLES[panel.target]}: {len(panel.lambdas)} λs tried, "
            f"baseline {score(panel.baseline, study.metric.name)}, "
            f"λ* = {strength(answer.strength)}, 95 % interval of the best λ "
            f"{strength_interval(answer.interval)}, verdict: {answer.verdict}."
        ),
    }


def _similarity_figure(study: Study, panel: SimilarityPanel) -> dict[str, str]:
    ends = "; ".join(
        f"{SIMILARITIES[name]} from {_end(panel, name, 0)} to {_end(panel, name, -1)}"
        for name in panel.measured
    )
    return both_themes(draw_similarity(study, panel)) | {
        "alt": f"Similarity of the two representations by λ: {ends}."
    }


def _end(panel: SimilarityPanel, name: str, at: int) -> str:
    beyond = f" ({panel.beyond[name][at]:.2f} beyond chance)" if name in panel.beyond else ""
    return f"{panel.measured[name][at].mean():.2f}{beyond} at λ = {strength(panel.lambdas[at])}"


def tradeoff_figure(shown: TradeOff) -> dict[str, str]:
    """Render two targets against each other, with what it shows in words."""
    return both_themes(draw_tradeoff(shown)) | {"alt": shown.alt}


def both_themes(figure: Figure) -> dict[str, str]:
    """Render a figure for pages in the light and in the dark, as data URIs."""
    svg = as_bytes(figure, "svg").decode()
    return {"light": _data_uri(svg), "dark": _data_uri(in_the_dark(svg))}


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
