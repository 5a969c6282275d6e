"""What to do, in one sentence: the joint answer first, then each modality that differs from it."""

import math

from tuner.study.answer import Answer, Interval, ModalityAnswer, Needs, TargetAnswer
from tuner.study.result import StudyResult
from tuner.study.scoring.targets import Target

_WHOSE: dict[Target, str] = {"a": "{} of A", "b": "{} of B", "joint": "{} of A and B"}

_TWICE = 2  # of seeds alone: near the number that never suffices its estimate is worth little
_OUT_OF_REACH = 100


def metric_name(metric: str) -> str:
    """Write the name of a metric out."""
    names = {"mae": "mean absolute error", "r2": "R²", "macro_f1": "macro F1"}
    return names.get(metric, metric.replace("_", " "))


def tested_words(folds: int) -> str:
    """What rows are called that a verdict rests on."""
    return "labelled test rows" if folds == 1 else "labelled rows outside validation"


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
        needed = epochs_words(answer) or needs_words(answer, result)
        told = f"{_undecided(answer, measured, result)}{losing}"
        return f"Undecided, keep λ = 0: {told}" + (f"; {needed}" if needed else "")
    if answer.reason == "bound violated":
        return f"Do not align: {bound_words(answer)}"
    if answer.reason == "no gain worth having" and answer.smallest_gain is not None:
        size = _size(answer.smallest_gain, result)
        ruled_out = f"gains in {measured} of {size} or more are ruled out at every λ"
        return f"Do not align: {ruled_out}{losing}"
    worse = "falls" if result.metric.direction == "maximize" else "rises"
    over = "λs that had learned out" if result.warnings else "λs searched"
    return f"Do not align: averaged over the {over}, {measured} {worse}{losing}"


def _measured(target: Target, result: StudyResult) -> str:
    words = _WHOSE[target].format(metric_name(result.metric.name))
    return f"mean {words}" if target == "joint" and not words.startswith("mean") else words


def _briefly(answer: ModalityAnswer, result: StudyResult) -> str:
    if answer.verdict == "align":
        return f"align with λ = {answer.strength:.3g}, {_moves(answer, result)}"
    if answer.reason == "bound violated":
        return f"do not align, {bound_words(answer)}"
    if answer.reason == "no gain worth having" and answer.smallest_gain is not None:
        return f"do not align, gains of {_size(answer.smallest_gain, result)} are ruled out"
    return "undecided" if answer.verdict == "undecided" else "do not align, it harms"


def bound_words(answer: Answer | TargetAnswer) -> str:
    """Say which bounds the λ violates that was tested; by the search it may be every λ."""
    violated = [told.bound for told in answer.bounds if not told.is_kept]
    if not violated:
        return f"no λ is likely to keep {' and '.join(told.bound for told in answer.bounds)}"
    return f"λ = {answer.candidate:.3g} does not keep {' and '.join(violated)}"


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


def needs_words(answer: Answer | ModalityAnswer, result: StudyResult) -> str | None:
    """Say what would decide an undecided answer; None if that is not known."""
    needed = answer.needs
    if needed is None:
        return None
    gain = f"{needed.goal} a gain of {_size(needed.size, result)}"
    if needed.search > _OUT_OF_REACH and needed.both is not None:
        times = f"over {_OUT_OF_REACH} times as many seeds and validation rows of the search"
        return f"to {gain} at every λ takes {times}"
    times = f"{needed.search:,.0f}" if needed.search >= 10 else f"{needed.search:.1f}"
    larger = f"a search with {times} times as many seeds and validation rows"
    if needed.both is None:
        return f"no number of seeds and test rows would {gain}"
    if needed.both == needed.has and needed.goal == "show":
        return "more λs or seeds of the search would show whether to believe it"
    if needed.both == needed.has:
        return f"{larger} would {gain} at every λ"
    told = f"{_enough(needed, result)} would {gain}"
    return f"{told}, at every λ with {larger}" if needed.search > 1 else told


def epochs_words(answer: Answer | ModalityAnswer) -> str | None:
    """Say how many epochs would decide an undecided answer; None if it is not for want of these."""
    if answer.needs_epochs is None:
        return None
    return f"{answer.needs_epochs:,} epochs would tell"


def _enough(needed: Needs, result: StudyResult) -> str:
    """Seeds alone where these do not lead to far more of them than rows and seeds together.

    Then folds, which test more rows of the same data; last more data.
    """
    before, (seeds, rows) = needed.has[0], needed.both or needed.has
    if needed.seeds is not None and needed.seeds <= _TWICE * seeds:
        return f"{needed.seeds:,} confirming seeds in place of {before:,}"
    if (folds := needed.folds) is not None and folds.seeds <= seeds:
        tested = f"{folds.rows:,} {tested_words(folds.count)}"
        return f"{folds.seeds:,} confirming seeds in {folds.count} folds, which test {tested},"
    groups = result.dataset.groups
    of = "" if groups is None else f" of {-(-groups.test * rows // needed.has[1]):,} groups"
    short = "no number of seeds suffices with these test rows, but " if needed.seeds is None else ""
    return f"{short}{seeds:,} confirming seeds with {rows:,} {tested_words(result.folds)}{of}"


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
