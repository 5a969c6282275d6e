"""A prediction in words, and in a picture."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.prediction.answer import PastPoint, Prediction, Probability, TargetPrediction
from tuner.reporting.axes import PALETTES, Palette, add_legend, dress
from tuner.reporting.wording import TITLES, strength, strength_interval
from tuner.study.scoring.targets import Target
from tuner.study.space import LambdaSpace

_SPACE = LambdaSpace()
_ORDER: tuple[Target, ...] = ("joint", "a", "b")


def prediction_words(told: Prediction) -> Iterator[str]:
    """Yield what a prediction says, line by line."""
    corpus = told.corpus
    if told.outside:
        yield f"Nothing is predicted for {told.name}: it lies outside of what past studies tell of."
        yield from (f"  {line}" for line in told.outside)
        return
    likeliest = told.targets["joint"].probability
    yield f"{_headline(likeliest)} (nothing was trained: {corpus.used} past studies say so)."
    for target in _ORDER:
        yield from _of_target(target, told.targets[target])
    yield (
        f"The smallest gain worth having is {told.smallest_gain:g} of {told.metric}. Most alike: "
        + "; ".join(each.name for each in told.alike)
        + "."
    )
    if corpus.left_out:
        yield (
            f"{corpus.left_out} past studies of these rows, or of the same source, have no part "
            "in it."
        )
    if corpus.stale:
        yield "Other code than is here trained the past studies: curves may differ by now."


def _headline(of: Probability) -> str:
    said = {
        "helps": ("Alignment is likely to help", "it helps"),
        "harms": ("Alignment is likely to harm", "it harms"),
        "neither": ("Alignment is likely not to be worth it", "it is not worth it"),
    }
    chances = of.model_dump()
    best = max(chances, key=lambda name: chances[name])
    sure, (likely, that) = chances[best], said[best]
    if sure >= 0.5:
        return f"{likely}: {sure:.0%}"
    return f"Whether to align is open: that {that} is likeliest, with {sure:.0%}"


def _of_target(target: Target, of: TargetPrediction) -> Iterator[str]:
    chance = of.probability
    at = min(of.curve, key=lambda point: abs(point.strength - of.strength))
    yield (
        f"{TITLES[target]:12} helps {chance.helps:4.0%}, harms {chance.harms:4.0%}, neither "
        f"{chance.neither:4.0%}; begin with λ = {strength(of.strength)}: gain {_gain(at.mean)} "
        f"[{_gain(at.low)}, {_gain(at.high)}] (80 %)"
    )
    seeds, rows = of.size.seeds, of.size.rows
    if seeds is not None:
        enough = f"{seeds} confirming seeds are expected to decide it on these test rows"
    elif rows is not None:
        enough = f"{rows:,} labelled test rows are expected to decide it, more seeds alone are not"
    else:
        enough = "neither more seeds nor more test rows alone are expected to decide it"
    yield f"{'':12} the best λ is in {strength_interval(of.interval)} (80 %); {enough}"


def _gain(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def draw_prediction(told: Prediction) -> Figure:
    """Draw the expected curves with their bands, and those of the most alike past studies."""
    palette = PALETTES["light"]
    figure = Figure(figsize=(13.5, 5.0), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(_ORDER), sharey=True)
    for axis, target in zip(axes, _ORDER, strict=True):
        _draw(axis, target, told, palette)
    add_legend(figure, axes[0], palette, columns=3)
    figure.suptitle(
        f"{told.name}: what {told.corpus.used} past studies lead one to expect, without a training",
        parse_math=False,
    )
    return figure


def _draw(axis: Axes, target: Target, told: Prediction, palette: Palette) -> None:
    of = told.targets[target]
    units = [float(_SPACE.to_unit(point.strength)) for point in of.curve]
    chance = of.probability
    title = (
        f"{TITLES[target]}: helps {chance.helps:.0%}, harms {chance.harms:.0%}, "
        f"neither {chance.neither:.0%}"
    )
    dress(axis, _SPACE, palette, title=title, measured="gain")
    axis.set_ylabel(f"gain in {told.metric} over λ = 0", color=palette.ink)
    axis.axhline(0, color=palette.faint, lw=0.8)
    axis.fill_between(
        units,
        [point.low for point in of.curve],
        [point.high for point in of.curve],
        color=palette.curve,
        alpha=0.18,
        lw=0,
        label="80 % band",
    )
    axis.plot(units, [p.mean for p in of.curve], color=palette.curve, label="expected gain")
    for number, past in enumerate(told.alike):
        axis.plot(
            *_points(past.curves[target]),
            color=palette.faint,
            lw=0.9,
            marker=("o", "s", "^", "v")[number % 4],
            ms=3,
            label=past.name,
        )
    axis.axvline(
        float(_SPACE.to_unit(of.strength)), color=palette.chosen, ls="--", label="λ to begin with"
    )


def _points(curve: list[PastPoint]) -> tuple[list[float], list[float]]:
    units = [float(_SPACE.to_unit(point.strength)) for point in curve]
    return [0.0, *units], [0.0, *(point.gain for point in curve)]
