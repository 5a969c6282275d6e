"""The scores of two targets against each other along λ: what one gives up where the other gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.reporting.axes import PALETTES, Palette, add_legend
from tuner.reporting.wording import TITLES, strength
from tuner.study.result import ModelledScore, PointScore, StudyResult
from tuner.study.scripts.result import ScriptResult
from tuner.study.space import LambdaSpace
from tuner.typing import Floats

_ROOM = 0.06  # of the axes, that the label of a λ takes
_MOST = 3  # figures of a report


@dataclass(frozen=True, kw_only=True, eq=False)
class TradeOff:
    """Two targets along λ.

    Attributes:
        titles: What the targets are called, that of the horizontal axis first.
        better: Per target, whether it is better when it is more.
        lambdas: The λs searched, ascending, λ = 0 first. Shape (n,).
        scores: Per target, the mean score on validation rows at each λ, with its standard error.
        modelled: λs, and per target the modelled score at each; None if it is not known.
        chosen: λ*.
    """

    titles: tuple[str, str]
    better: tuple[bool, bool]
    lambdas: Floats
    scores: tuple[Sequence[PointScore], Sequence[PointScore]]
    modelled: tuple[Floats, tuple[ModelledScore, ModelledScore]] | None
    chosen: float

    @classmethod
    def of_encoders(cls, result: StudyResult) -> Self:
        """The scores of A and B, and the λ* that is best for both."""
        model, more = result.curve_model, result.metric.direction == "maximize"
        return cls(
            titles=(TITLES["a"], TITLES["b"]),
            better=(more, more),
            lambdas=np.array([point.strength for point in result.curve]),
            scores=([point.a for point in result.curve], [point.b for point in result.curve]),
            modelled=None if model is None else (np.array(model.strengths), (model.a, model.b)),
            chosen=result.joint.strength,
        )

    @classmethod
    def of_script(cls, result: ScriptResult) -> list[Self]:
        """The first target that is no mean of others against the others; λ* is the main one's."""
        first, *others = [t for t, answer in result.targets.items() if not answer.mean_of]
        model, found = result.curve_model, []
        for other in others[:_MOST]:
            x, y = ([point.scores[t] for point in result.curve] for t in (first, other))
            modelled = None
            if model is not None:
                curves = (model.scores[first], model.scores[other])
                modelled = (np.array(model.strengths), curves)
            ways = [result.targets[t].direction == "maximize" for t in (first, other)]
            found.append(
                cls(
                    titles=(first, other),
                    better=(ways[0], ways[1]),
                    lambdas=np.array([point.strength for point in result.curve]),
                    scores=(x, y),
                    modelled=modelled,
                    chosen=result.answer.strength,
                )
            )
        return found

    @property
    def alt(self) -> str:
        """Tells it to those who do not see it."""
        x, y = self.titles
        ends = (
            f"λ = {strength(self.lambdas[at])}: {self.scores[0][at].mean:.4g} and "
            f"{self.scores[1][at].mean:.4g}"
            for at in (0, -1)
        )
        return f"{y} against {x} along λ, from {' to '.join(ends)}; λ* = {strength(self.chosen)}."

    def at_chosen(self) -> tuple[float, float]:
        """The two scores at λ*: as modelled, else between the means beside it."""
        lambdas, scores = self.lambdas, [[s.mean for s in scores] for scores in self.scores]
        if self.modelled is not None and self.chosen > 0:
            lambdas, scores = self.modelled[0], [list(one.mean) for one in self.modelled[1]]
        space = LambdaSpace(maximum=float(lambdas.max()))
        at, units = space.to_unit(self.chosen), np.asarray(space.to_unit(lambdas))
        x, y = (float(np.interp(at, units, one)) for one in scores)
        return x, y


def draw_tradeoff(shown: TradeOff) -> Figure:
    """Draw it as wide as a λ-curve: means with errors, the model's path, λ = 0 and λ*."""
    palette = PALETTES["light"]
    figure = Figure(figsize=(5.2, 4.9), layout="constrained")
    figure.set_facecolor(palette.ground)
    axis = figure.subplots()
    if shown.modelled is not None:
        x, y = (np.array(one.mean) for one in shown.modelled[1])
        axis.plot(x, y, color=palette.curve, lw=2, label="model of the curves")
    means = np.array([[score.mean for score in scores] for scores in shown.scores])
    errors = np.array([[score.sem for score in scores] for scores in shown.scores])
    axis.errorbar(
        means[0],
        means[1],
        xerr=errors[0],
        yerr=errors[1],
        ls="",
        marker="o",
        ms=4.5,
        elinewidth=1,
        color=palette.ink,
        ecolor=palette.faint,
        label="mean ± standard error",
    )
    axis.plot(*means[:, 0], "s", ms=9, mfc="none", mew=1.6, color=palette.ink, label="λ = 0")
    axis.plot(*shown.at_chosen(), "D", ms=8, color=palette.chosen, label="λ*", zorder=5)
    _label(axis, means, shown.lambdas, palette)
    _dress(axis, shown, palette)
    add_legend(figure, axis, palette, columns=2)
    return figure


def _label(axis: Axes, means: Floats, lambdas: Floats, palette: Palette) -> None:
    """Write λ beside the points, where labels do not touch: first both ends."""
    size = np.ptp(means, axis=1, keepdims=True)
    placed = (means / np.where(size > 0, size, 1.0)).T
    written: list[int] = []
    for at in (0, len(lambdas) - 1, *range(1, len(lambdas) - 1)):
        if all(np.hypot(*(placed[at] - placed[other])) > _ROOM for other in written):
            written.append(at)
            axis.annotate(
                f"λ = {strength(lambdas[at])}" if at == 0 else strength(lambdas[at]),
                (float(means[0, at]), float(means[1, at])),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize="small",
                color=palette.ink,
            )


def _dress(axis: Axes, shown: TradeOff, palette: Palette) -> None:
    names = [
        f"{title} ({'more' if more else 'less'} is better)"
        for title, more in zip(shown.titles, shown.better, strict=True)
    ]
    title = f"{shown.titles[1]} against {shown.titles[0]}"
    axis.set_title(title, color=palette.ink, parse_math=False)
    axis.set_xlabel(names[0], color=palette.ink, parse_math=False)
    axis.set_ylabel(names[1], color=palette.ink, parse_math=False)
    axis.set_facecolor(palette.ground)
    axis.tick_params(colors=palette.ink)
    axis.margins(0.1)
    axis.grid(visible=True, color=palette.faint, alpha=0.25, lw=0.6)
    for side, spine in axis.spines.items():
        spine.set_color(palette.faint)
        spine.set_visible(side in ("left", "bottom"))
