"""What to do, in one sentence: the joint answer first, then each modality that differs from it."""

import math

from tuner.study.result import Answer, Interval, ModalityAnswer, StudyResult
from tuner.study.scores import Target

_WHOSE: dict[Target, str] = {"a": "{} of A", "b": "{} of B", "joint": "{} of A and B"}


def metric_name(metric: str) -> str:
    """Write the name of a metric out."""
    names = {"mae": "mean absolute error", "r2": "R²", "macro_f1": "macro F1"}
    return names.get(metric, metric.replace("_", " "))


def headline(result: StudyResult) -> str:
    """Say what to do; of an answer that has no reasons (of 0.1.0), from its verdicts alone."""
    parts = [_advice("joint", result)]
    for target, answer in (("a", result.modalities.a), ("b", result.modalities.b)):
        if answer.verdict != result.joint.verdict:
            parts.append(f"{target.upper()} alone: {_briefly(answer, result)}")
    return "; ".join(parts) + "."


def _advice(target: Target, result: StudyResult) -> str:
    answer = result.answers[target]
    measured = _measured(target, result)
    if answer.verdict == "align":
        return f"Align with λ = {answer.strength:.3g}: {measured} {_moves(answer, result)}"
    losing = _losing(answer, result)
    if answer.verdict == "undecided":
        return f"Undecided, keep λ = 0: {_undecided(answer, measured, result)}{losing}"
    if answer.reason == "no gain worth having" and answer.smallest_gain is not None:
        size = _size(answer.smallest_gain, result)
        ruled_out = f"gains in {measured} of {size} or more are ruled out at every λ"
        return f"Do not align: {ruled_out}{losing}"
    worse = "falls" if result.metric.direction == "maximize" else "rises"
    return f"Do not align: averaged over the λs searched, {measured} {worse}{losing}"


def _measured(target: Target, result: StudyResult) -> str:
    words = _WHOSE[target].format(metric_name(result.metric.name))
    return f"mean {words}" if target == "joint" and not words.startswith("mean") else words


def _briefly(answer: ModalityAnswer, result: StudyResult) -> str:
    if answer.verdict == "align":
        return f"align with λ = {answer.strength:.3g}, {_moves(answer, result)}"
    if answer.reason == "no gain worth having" and answer.smallest_gain is not None:
        return f"do not align, gains of {_size(answer.smallest_gain, result)} are ruled out"
    return "undecided" if answer.verdict == "undecided" else "do not align, it harms"


def _moves(answer: Answer | ModalityAnswer, result: StudyResult) -> str:
    """How a score moves that gains surely: the sign of an error is turned."""
    value, interval = answer.tested
    if value is None:
        return "is not known"
    better = "rises" if result.metric.direction == "maximize" else "falls"
    return f"{better} by {_size(value, result)}{_sure(interval, result)}"


def _undecided(answer: Answer | ModalityAnswer, measured: str, result: StudyResult) -> str:
    value, interval = answer.tested
    if value is None:
        return f"λ = {answer.candidate:.3g} could not be trained again"
    rises = (value >= 0) == (result.metric.direction == "maximize") or value == 0
    if value < 0 and interval is not None:
        interval = (-interval[1], -interval[0])  # of what is lost
    moved = "rises" if rises else "falls"
    size = f"{_size(abs(value), result)}{_sure(interval, result)}"
    return f"at λ = {answer.candidate:.3g} {measured} {moved} by {size}"


def _losing(answer: Answer | ModalityAnswer, result: StudyResult) -> str:
    if answer.harm_from is None or answer.smallest_gain is None:
        return ""
    loses = f"loses {_size(answer.smallest_gain, result)} or more"
    return f", and λ ≥ {answer.harm_from:.3g} {loses}"


def _sure(interval: Interval | None, result: StudyResult) -> str:
    if interval is None:
        return " (no interval: test rows are of too few groups)"
    return f" [{', '.join(_size(end, result) for end in interval)}]"


def _size(value: float, result: StudyResult) -> str:
    """Three decimals of a rate, else three digits."""
    rate = result.metric.direction == "maximize"
    text = f"{value:.3f}" if rate and not 0 < abs(value) < 0.0005 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}") if not math.isclose(value, 0) else "0"
