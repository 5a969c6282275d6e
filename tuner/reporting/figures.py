"""Draws the λ-curve (measured, modelled, chosen) and the similarity of the representations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.analysis.curves.model import Expectation
from tuner.analysis.curves.modelled import modelled
from tuner.analysis.curves.observations import observe
from tuner.analysis.headline import metric_name
from tuner.models.evaluation.similarity import calibrations
from tuner.models.outcome import TrainingOutcome
from tuner.reporting.axes import PALETTES, Palette, add_legend, dress
from tuner.reporting.wording import SIMILARITIES, TITLES
from tuner.study.answer import Answer, ModalityAnswer, TargetAnswer
from tuner.study.result import StudyResult
from tuner.study.scoring.scores import TARGETS
from tuner.study.scoring.targets import Target
from tuner.study.space import LambdaSpace
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial
from tuner.typing import Floats

_GRID = 161
_LEGEND_ROWS = 4
_DOTTED = (0, (1, 2))
_FENCE = 4.0  # interquartile ranges, beyond which a score is off the axis


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """What one panel shows, in the metric's own units.

    Attributes:
        target: Whose score it is.
        lambdas: (T,) the λs tried.
        scores: (T, S) the score of each replicate.
        units: (G,) the warped axis.
        mean: (G,) posterior mean of the score.
        low: (G,) lower end of its 95 % interval.
        high: (G,) upper end.
        alone: (G,) the mean without what past studies lead one to expect; None if there is none.
        answer: What was concluded.
    """

    target: Target
    lambdas: Floats
    scores: Floats
    units: Floats
    mean: Floats
    low: Floats
    high: Floats
    alone: Floats | None
    answer: Answer | ModalityAnswer

    @property
    def baseline(self) -> float:
        """Mean score at λ = 0."""
        return float(self.scores[self.lambdas == 0].mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityPanel:
    """How alike the two representations are at every λ.

    Attributes:
        lambdas: (T,) the λs tried.
        measured: Per measure, (T, S) one value a replicate.
        by_chance: Per measure, (T,) the 95 % quantile of the null; empty if a trial has none.
        beyond: Per measure, (T,) what is beyond chance; empty if a trial has none.
    """

    lambdas: Floats
    measured: dict[str, Floats]
    by_chance: dict[str, Floats]
    beyond: dict[str, Floats]

    @classmethod
    def of(cls, finished: Sequence[FinishedTrial]) -> "SimilarityPanel | None":
        """Gather it from the search; None if no trial has it."""
        outcomes = [outcome for outcome in _searched(finished) if outcome.similarity]
        if not outcomes:
            return None
        outcomes.sort(key=lambda outcome: outcome.strength)
        names = tuple(outcomes[0].similarity)
        nulls = [calibrations(one.similarity, one.similarity_null) for one in outcomes]
        calibrated = names if all(nulls) else ()
        return cls(
            lambdas=np.array([outcome.strength for outcome in outcomes]),
            measured={
                name: np.stack([outcome.similarity[name] for outcome in outcomes]) for name in names
            },
            by_chance={name: np.array([n[name].quantile for n in nulls]) for name in calibrated},
            beyond={name: np.array([n[name].value for n in nulls]) for name in calibrated},
        )


def panels(study: Study, result: StudyResult, finished: Sequence[FinishedTrial]) -> list[Panel]:
    """Gather what the figure shows for A, B and their mean."""
    outcomes = _searched(finished)
    return [_panel(study, outcomes, target, result.answers[target]) for target in TARGETS]


def draw_all(
    study: Study,
    result: StudyResult,
    shown: Sequence[Panel],
    similarity: SimilarityPanel | None,
) -> Figure:
    """Draw all panels, the similarity under the scores, for MLflow's pages."""
    palette = PALETTES["light"]
    height = 5.4 if similarity is None else 8.6
    figure = Figure(figsize=(5.2 * len(shown), height), dpi=110, layout="constrained")
    if similarity is None:
        scores: Any = figure
    else:
        parts: Any = figure.subfigures(2, 1, height_ratios=(5.4, 3.2))
        scores, below = parts
        axis = below.subplots()
        _draw_similarity(axis, similarity, study.spec.space, palette)
        below.legend(loc="outside right center", frameon=False, labelcolor=palette.ink)
    axes = scores.subplots(1, len(shown), squeeze=False)[0]
    for axis, panel in zip(axes, shown, strict=True):
        _draw(axis, panel, study, palette)
    add_legend(scores, axes[0], palette, columns=_LEGEND_ROWS)
    title = f"{result.name}: {metric_name(study.metric.name)} by alignment strength λ"
    figure.suptitle(title, parse_math=False)
    return figure


def draw_one(study: Study, panel: Panel) -> Figure:
    """Draw one panel, for a page that may be as narrow as a phone."""
    palette = PALETTES["light"]
    figure = Figure(figsize=(5.2, 4.9), layout="constrained")
    figure.set_facecolor(palette.ground)
    axis = figure.subplots()
    _draw(axis, panel, study, palette)
    add_legend(figure, axis, palette, columns=2)
    return figure


def draw_similarity(study: Study, panel: SimilarityPanel) -> Figure:
    """Draw the similarity alone, as wide as `draw_one`."""
    palette = PALETTES["light"]
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    figure.set_facecolor(palette.ground)
    axis = figure.subplots()
    _draw_similarity(axis, panel, study.spec.space, palette)
    add_legend(figure, axis, palette, columns=3)
    return figure


def _searched(finished: Sequence[FinishedTrial]) -> list[TrainingOutcome]:
    return [
        trial.outcome
        for trial in finished
        if trial.request.phase == "search" and trial.outcome is not None
    ]


def _panel(
    study: Study,
    outcomes: Sequence[TrainingOutcome],
    target: Target,
    answer: Answer | ModalityAnswer,
) -> Panel:
    observations = observe(study.validation, outcomes, target)
    units = np.linspace(0, 1, _GRID)
    lambdas = study.spec.space.to_lambda(units)
    expected = Expectation.of(study.spec.prior, target)
    mean, low, high = modelled(observations, study, target, lambdas, expected)
    alone = None if expected is None else modelled(observations, study, target, lambdas)[0]
    return Panel(
        target=target,
        lambdas=observations.lambdas,
        scores=study.metric.sign * observations.scores,
        units=units,
        mean=mean,
        low=low,
        high=high,
        alone=alone,
        answer=answer,
    )


def plot_curve(result: StudyResult) -> Figure:
    """Draw what a result holds: means, standard errors, λ = 0, and λ* with its interval."""
    palette = PALETTES["light"]
    strengths = np.array([point.strength for point in result.curve])
    space = LambdaSpace(maximum=float(strengths.max()))
    figure = Figure(figsize=(5.2 * len(TARGETS), 4.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(TARGETS), squeeze=False)[0]
    for axis, target in zip(axes, TARGETS, strict=True):
        answer = result.answers[target]
        scores = [getattr(point, target) for point in result.curve]
        means = np.array([score.mean for score in scores])
        draw_choice(axis, answer, space, palette)
        axis.axhline(means[strengths == 0][0], color=palette.ink, ls=_DOTTED, label="λ = 0")
        axis.errorbar(
            np.asarray(space.to_unit(strengths)),
            means,
            yerr=[score.sem for score in scores],
            marker="o",
            ms=4.5,
            lw=1.2,
            elinewidth=1,
            color=palette.curve,
            label="mean ± standard error",
        )
        title = f"{TITLES[target]}: {answer.verdict}"
        dress(axis, space, palette, title=title, measured=metric_name(result.metric.name))
    add_legend(figure, axes[0], palette, columns=5)
    return figure


def _draw(axis: Axes, panel: Panel, study: Study, palette: Palette) -> None:
    space, answer = study.spec.space, panel.answer
    draw_choice(axis, answer, space, palette)
    axis.axhline(panel.baseline, color=palette.ink, ls=_DOTTED, lw=1.2, label="λ = 0, mean")
    axis.fill_between(
        panel.units, panel.low, panel.high, color=palette.curve, alpha=0.2, lw=0, label="its 95 %"
    )
    axis.plot(panel.units, panel.mean, color=palette.curve, lw=2, label="model of the curve")
    if panel.alone is not None:
        axis.plot(
            panel.units, panel.alone, color=palette.curve, lw=1.4, ls=":", label="without the prior"
        )
    _draw_trials(axis, panel, study, palette)
    title = f"{TITLES[panel.target]}: {answer.verdict}"
    dress(axis, space, palette, title=title, measured=metric_name(study.metric.name))
    _set_limits(axis, panel)


def draw_choice(
    axis: Axes, answer: Answer | TargetAnswer, space: LambdaSpace, palette: Palette
) -> None:
    """Draw λ*, the interval of the best λ, and the λ that was tested."""
    low, high = (space.to_unit(end) for end in answer.interval)
    least = 0.004  # an interval of one λ is still to be seen
    axis.axvspan(
        low - least, high + least, color=palette.chosen, alpha=0.13, lw=0, label="best λ, 95 %"
    )
    axis.axvline(
        space.to_unit(answer.candidate),
        color=palette.chosen,
        ls="--",
        lw=1.2,
        label="λ tested against 0",
    )
    axis.axvline(space.to_unit(answer.strength), color=palette.chosen, lw=2.4, label="λ*")


def _draw_trials(axis: Axes, panel: Panel, study: Study, palette: Palette) -> None:
    units = np.asarray(study.spec.space.to_unit(panel.lambdas))
    replicates = panel.scores.shape[1]
    means = panel.scores.mean(1)
    errors = panel.scores.std(1, ddof=1) / np.sqrt(replicates)
    axis.plot(
        np.repeat(units, replicates),
        panel.scores.ravel(),
        ls="",
        marker=".",
        ms=4,
        color=palette.faint,
        alpha=0.6,
        label="one replicate",
    )
    axis.errorbar(
        units,
        means,
        yerr=errors,
        ls="",
        marker="o",
        ms=4.5,
        color=palette.ink,
        elinewidth=1,
        label="mean ± standard error",
    )
    best = int((study.metric.sign * means).argmax())
    axis.plot(
        units[best],
        means[best],
        ls="",
        marker="o",
        ms=11,
        mfc="none",
        mew=1.8,
        color=palette.best,
        label="best raw mean",
        zorder=5,
    )


def _draw_similarity(
    axis: Axes, panel: SimilarityPanel, space: LambdaSpace, palette: Palette
) -> None:
    units = np.asarray(space.to_unit(panel.lambdas))
    styles = zip(
        panel.measured.items(),
        ((palette.curve, "o"), (palette.chosen, "s"), (palette.best, "^")),
        strict=True,
    )
    for (name, values), (color, marker) in styles:
        axis.errorbar(
            units,
            values.mean(1),
            yerr=values.std(1, ddof=1) / np.sqrt(values.shape[1]),
            color=color,
            marker=marker,
            ms=4,
            lw=1.2,
            elinewidth=1,
            label=SIMILARITIES[name],
        )
        if name in panel.by_chance:
            axis.plot(units, panel.by_chance[name], color=color, ls=_DOTTED, lw=1.2)
    if panel.by_chance:
        axis.plot([], [], color=palette.ink, ls=_DOTTED, lw=1.2, label="95 % of chance")
    title = "How alike the two representations are"
    dress(axis, space, palette, title=title, measured="similarity")


def _set_limits(axis: Axes, panel: Panel) -> None:
    """Leave diverged trainings off the axis, and say how many."""
    means = panel.scores.mean(1)
    low, high = np.quantile(panel.scores, [0.25, 0.75])
    reach = _FENCE * max(high - low, np.median(panel.high - panel.low) / 2)
    shown = np.concatenate([panel.scores.ravel(), means, panel.mean, panel.low, panel.high])
    shown = shown[(shown >= low - reach) & (shown <= high + reach)]
    bottom, top = float(shown.min()), float(shown.max())
    margin = 0.06 * (top - bottom) or 0.5 * abs(top) or 0.5
    axis.set_ylim(bottom - margin, top + margin)
    outside = int(((panel.scores < bottom) | (panel.scores > top)).sum())
    if outside:
        axis.text(
            0.98,
            0.02,
            f"{outside} of {panel.scores.size} scores are off the axis",
            transform=axis.transAxes,
            ha="right",
            fontsize="small",
            color=axis.xaxis.label.get_color(),
        )
