"""Results and progress as notebooks show them: HTML without scripts, in the notebook's colours."""

import html
import sys
from typing import TYPE_CHECKING

import numpy as np

from tuner.study.progress import OnProgress, Progress
from tuner.study.scoring.targets import Target
from tuner.study.space import LambdaSpace

if TYPE_CHECKING:
    from tuner.study.answer import Interval
    from tuner.study.result import StudyResult

_NAMES: dict[Target, str] = {"a": "A", "b": "B", "joint": "A and B"}
_WIDTH, _HEIGHT, _EDGE = 360.0, 150.0, 12.0  # of the curve, pixels
_PHASES = {"nuisance": "training settings", "rung": "search", "confirm": "confirmation"}


def result_html(result: "StudyResult") -> str:
    """Show an answer: the sentence, a line for each target, and the curve of both together."""
    words = html.escape(result.headline or f"{result.name}: {result.joint.verdict}")
    warnings = "".join(f"<p>{html.escape(warning)}</p>" for warning in result.warnings)
    heads = ("", "λ*", "95 % interval", "verdict", "gain on test rows", "95 % interval")
    row = "".join(f"<th>{head}</th>" for head in heads)
    rows = "".join(_row(result, target) for target in ("joint", "a", "b"))
    return (
        f"<div><p><strong>{words}</strong></p>{warnings}"
        f"<table><thead><tr>{row}</tr></thead><tbody>{rows}</tbody></table>{_curve(result)}</div>"
    )


def show_progress() -> OnProgress:
    """Return what shows progress in the notebook that this runs in; nothing elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or not hasattr(shell, "kernel"):  # a script, or a terminal
        return lambda _: None
    display = ipython.display
    handle = display.display(display.HTML("<p>starting workers</p>"), display_id=True)
    return lambda progress: handle.update(display.HTML(progress_html(progress)))


def progress_html(progress: Progress) -> str:
    """Show how far a study is, in a line."""
    phase = _PHASES.get(progress.phase, progress.phase)
    parts = [f"{phase}, {progress.done} of {progress.total} trials", *progress.words()]
    bar = f'<progress value="{progress.share:.3f}" max="1"></progress>'
    return f"<p>{bar} {html.escape(', '.join(parts))}</p>"


def _row(result: "StudyResult", target: Target) -> str:
    answer = result.answers[target]
    gain, interval = answer.tested
    cells = (
        f"{answer.strength:.3g}",
        _interval(answer.interval, "{:.3g}"),
        answer.verdict,
        "–" if gain is None else f"{gain:+.4f}",
        "–" if interval is None else _interval(interval, "{:+.4f}"),
    )
    inside = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><th>{_NAMES[target]}</th>{inside}</tr>"


def _interval(interval: "Interval", style: str) -> str:
    return f"[{style.format(interval[0])}, {style.format(interval[1])}]"


def _curve(result: "StudyResult") -> str:
    """Draw the joint score against λ, with its standard errors; empty if it cannot."""
    points = [point for point in result.curve if np.isfinite(point.joint.mean)]
    strengths = np.array([point.strength for point in points])
    if len(points) < 2 or not strengths.max() > 0:
        return ""
    units = np.asarray(LambdaSpace(maximum=float(strengths.max())).to_unit(strengths))
    means = np.array([point.joint.mean for point in points])
    errors = np.nan_to_num([point.joint.sem for point in points])
    low, high = float((means - errors).min()), float((means + errors).max())
    x = _EDGE + units * (_WIDTH - 2 * _EDGE)
    y, top, bottom = (
        _HEIGHT - _EDGE - (value - low) / ((high - low) or 1.0) * (_HEIGHT - 2 * _EDGE)
        for value in (means, means + errors, means - errors)
    )
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    marks = "".join(
        f'<path d="M{a:.1f} {t:.1f}V{b:.1f}"/><circle cx="{a:.1f}" cy="{m:.1f}" r="3">'
        f"<title>λ = {strength:.3g}: {mean:.4f}</title></circle>"
        for a, m, t, b, strength, mean in zip(x, y, top, bottom, strengths, means, strict=True)
    )
    measured = html.escape(f"{result.metric.name} of A and B by λ, 0 to {strengths.max():.3g}")
    return (
        f'<figure><svg width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" role="img" '
        f'aria-label="{measured}" stroke="currentColor" fill="currentColor">'
        f'<polyline points="{line}" fill="none"/>{marks}</svg>'
        f"<figcaption>{measured}; {low:.3g} to {high:.3g}</figcaption></figure>"
    )
