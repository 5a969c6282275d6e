"""What all figures share: colours, the axis of λ, the legend, and how they are rendered."""

import io
import re
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.reporting.wording import strength
from tuner.study.space import LambdaSpace

Theme = Literal["light", "dark"]

_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TICK_DISTANCE = 0.085  # of the axis, so that labels do not touch


@dataclass(frozen=True)
class Palette:
    """Colours after Okabe and Ito: told apart with any kind of colour vision."""

    ground: str
    ink: str
    faint: str
    curve: str
    chosen: str
    best: str


PALETTES: dict[Theme, Palette] = {
    "light": Palette("#ffffff", "#1f2328", "#8c959f", "#0072b2", "#d55e00", "#009e73"),
    "dark": Palette("#161b22", "#e6edf3", "#7d8590", "#56b4e9", "#e69f00", "#2fc79b"),
}


def as_bytes(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Render a figure, the same bytes every time."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if form == "svg" else {}
    with rc_context({"svg.hashsalt": "tuner"}):
        figure.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()


def in_the_dark(svg: str) -> str:
    """Give a figure that was drawn in light colours the dark ones; to draw again takes longer."""
    light, dark = (vars(PALETTES[theme]) for theme in ("light", "dark"))
    theirs = {colour: dark[name] for name, colour in light.items()}
    return re.sub("|".join(theirs), lambda found: theirs[found.group()], svg)


def dress(axis: Axes, space: LambdaSpace, palette: Palette, *, title: str, measured: str) -> None:
    """Name what an axis shows, in a palette's colours.

    Args:
        axis: Its x is λ, warped into [0, 1].
        space: Warps λ.
        palette: The colours.
        title: Above it.
        measured: What its y is.
    """
    axis.set_title(title, color=palette.ink)
    axis.set_xlabel("alignment strength λ", color=palette.ink)
    axis.set_ylabel(f"{measured} on validation rows", color=palette.ink)
    axis.set_xlim(-0.03, 1.03)
    ticks = ticks_of(space)
    axis.set_xticks([space.to_unit(tick) for tick in ticks], [strength(tick) for tick in ticks])
    axis.set_facecolor(palette.ground)
    axis.tick_params(colors=palette.ink)
    axis.grid(visible=True, axis="y", color=palette.faint, alpha=0.25, lw=0.6)
    for side, spine in axis.spines.items():
        spine.set_color(palette.faint)
        spine.set_visible(side in ("left", "bottom"))


def ticks_of(space: LambdaSpace) -> list[float]:
    """Return the λs to label: round ones where the warped axis has room, and both ends."""
    ticks, end = [0.0], space.to_unit(space.maximum)
    for tick in _TICKS:
        unit = space.to_unit(tick)
        room = min(unit - space.to_unit(ticks[-1]), end - unit)
        if tick < space.maximum and room >= _TICK_DISTANCE:
            ticks.append(float(tick))
    return [*ticks, space.maximum]


def add_legend(figure: Figure, axis: Axes, palette: Palette, *, columns: int) -> None:
    """Explain under a figure what one of its axes shows."""
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        labelcolor=palette.ink,
    )
