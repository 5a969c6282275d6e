"""The answer of a study of training code, from its finished trainings."""

from collections.abc import Mapping, Sequence

import numpy as np

from tuner.analysis.conclusion import cost_of, failures, point_score
from tuner.analysis.confirmed import Confirmed
from tuner.analysis.curves.modelled import modelled_targets
from tuner.analysis.decision import Choice
from tuner.analysis.epochs.learning import still_learning
from tuner.analysis.headline import bound_words
from tuner.study.answer import TargetAnswer
from tuner.study.result import PointScore
from tuner.study.scoring.targets import Target
from tuner.study.scripts.result import (
    ModelledTargets,
    ScriptAnswer,
    ScriptPartial,
    ScriptPoint,
    ScriptResult,
    ScriptSummary,
)
from tuner.study.scripts.study import ScriptStudy
from tuner.study.trial import FinishedTrial

_TIMED = 2  # shares that have to be timed
_LONG = 5.0  # seconds, of which starting a process is a part
_MOST_OF_IT = 0.8
_THESE_ROWS = (
    " It came as one number of no rate with a count, so this holds for these evaluation rows; "
    "reported by row it would hold for others."
)


def conclude_script(
    study: ScriptStudy,
    choices: Mapping[Target, Choice],
    trials: Sequence[FinishedTrial],
    finished: Sequence[FinishedTrial],
    *,
    wall_seconds: float,
) -> ScriptResult:
    """Put the answer together; links to MLflow are added where the study is shown.

    Args:
        study: What was asked, with its targets.
        choices: What the search chose, per target.
        trials: Every trial of all seeds of a λ.
        finished: Every training of one seed.
        wall_seconds: How long the study took.

    Raises:
        StudyFailedError: If the baseline could not be trained with fresh seeds.
    """
    confirmed = Confirmed.of(study, trials)
    targets = {
        target: _answer(study, confirmed, target, choice) for target, choice in choices.items()
    }
    lambdas, model = modelled_targets(study, trials)
    return ScriptResult(
        study=study.id,
        name=study.name,
        status="done",
        headline=_headline(study.validation.main, targets),
        warnings=(
            *still_learning(
                t.outcome for t in finished if t.outcome is not None and t.request.phase != "rung"
            ),
            *_whole_all_the_same(study, finished),
        ),
        script=ScriptSummary(name=study.script.name, digest=study.script.digest),
        main=study.validation.main,
        targets=targets,
        curve=_curve(study, trials),
        curve_model=ModelledTargets(strengths=lambdas, scores=model),
        stopped=_stopped(study, trials),
        failures=failures(trials),
        cost=cost_of(finished, wall_seconds),
    )


def score_points(study: ScriptStudy, trial: FinishedTrial) -> dict[Target, PointScore]:
    """Return the validation scores of a trial of all seeds, by target; none if it failed."""
    if trial.outcome is None:
        return {}
    validation = study.validation
    return {t: point_score(validation, trial.outcome, t) for t in validation.targets}


def _curve(study: ScriptStudy, trials: Sequence[FinishedTrial]) -> tuple[ScriptPoint, ...]:
    """What the search saw at every λ, in the order of λ."""
    points = [
        ScriptPoint(
            strength=trial.request.strength,
            replicates=len(trial.request.seeds),
            scores=score_points(study, trial),
        )
        for trial in trials
        if trial.request.phase == "search" and trial.outcome is not None
    ]
    return tuple(sorted(points, key=lambda point: point.strength))


def _stopped(study: ScriptStudy, trials: Sequence[FinishedTrial]) -> tuple[ScriptPartial, ...]:
    """The longest partial training of every λ that was not trained in full."""
    full = {t.request.strength for t in trials if t.request.phase == "search"}
    rungs = [t for t in trials if t.request.phase == "rung" and t.outcome is not None]
    longest = {t.request.strength: t for t in sorted(rungs, key=lambda t: t.request.number)}
    return tuple(
        ScriptPartial(
            strength=strength,
            share=study.spec.shares[longest[strength].request.number // study.spec.trials],
            scores=score_points(study, longest[strength]),
        )
        for strength in sorted(longest)
        if strength not in full
    )


def _whole_all_the_same(study: ScriptStudy, finished: Sequence[FinishedTrial]) -> tuple[str, ...]:
    """Say that the code takes no notice of its share, if the first rung took as long as all."""
    seconds: dict[float, list[float]] = {}
    for trial in finished:
        request, outcome = trial.request, trial.outcome
        if request.phase != "confirm" and request.strength == 0 and outcome is not None:
            share = study.spec.share_of(request.phase, request.number)
            seconds.setdefault(share, []).append(outcome.seconds)
    if len(seconds) < _TIMED:
        return ()
    share = min(seconds)
    part, whole = (float(np.median(seconds[of])) for of in (share, 1.0))
    if whole < _LONG or part < _MOST_OF_IT * whole:
        return ()
    return (
        f"Halving saved no time: at λ = 0 a share of 1/{1 / share:.0f} took {part:.0f} s, a whole "
        f"training {whole:.0f} s. Train for as many of the epochs as trial.share says, {{share}} "
        "in a command.",
    )


def _answer(
    study: ScriptStudy, confirmed: Confirmed, target: Target, choice: Choice
) -> ScriptAnswer:
    answer = confirmed.target(target, choice)
    spec = next(spec for spec in study.targets if spec.name == target)
    rows = study.test.rows(confirmed.tested(0.0), target)
    told = {name: getattr(answer, name) for name in TargetAnswer.model_fields}
    if rows == 1:
        told["evidence"] += _THESE_ROWS
    return ScriptAnswer(
        **told, direction=spec.direction, rows=rows, mean_of=spec.parts, measure=spec.measure
    )


def _headline(main: Target, targets: Mapping[Target, ScriptAnswer]) -> str:
    """Say what to do for the main target, then for each that has another verdict."""
    parts = [f"{_advice(main, targets[main])}"]
    for target, answer in targets.items():
        if answer.verdict != targets[main].verdict:
            parts.append(f"{target} alone: {_advice(target, answer, briefly=True)}")
    return "; ".join(parts) + "."


def _advice(target: Target, answer: ScriptAnswer, *, briefly: bool = False) -> str:
    those = " on these evaluation rows" if answer.rows == 1 else ""
    moved = f"{target} {_moved(answer)}{those}"
    if answer.verdict == "align":
        words = f"Align with λ = {answer.strength:.3g}: {moved}"
    elif answer.verdict == "undecided":
        needed = "" if briefly else _needed(answer)
        words = f"Undecided, keep λ = 0: at λ = {answer.candidate:.3g} {moved}{needed}"
    elif answer.reason == "bound violated":
        words = f"Do not align: {bound_words(answer)}{those}"
    elif answer.reason == "no gain worth having":
        size = f"{answer.smallest_gain:.3g}"
        words = f"Do not align: gains in {target} of {size} or more are ruled out at every λ{those}"
    else:
        worse = "falls" if answer.direction == "maximize" else "rises"
        words = f"Do not align: averaged over the λs searched, {target} {worse}{those}"
    return words[0].lower() + words[1:] if briefly else words


def _moved(answer: ScriptAnswer) -> str:
    """How a score moves at the λ that was tested: the sign of an error is turned."""
    gain, interval = answer.tested
    if gain is None:
        return "could not be measured: its training failed"
    ends = (gain, gain) if interval is None else interval
    if gain < 0:
        ends = (-ends[1], -ends[0])
    rises = (gain >= 0) == (answer.direction == "maximize")
    low, high = (_size(end) for end in ends)
    return f"{'rises' if rises else 'falls'} by {_size(abs(gain))} [{low}, {high}]"


def _needed(answer: ScriptAnswer) -> str:
    """Say how many confirming seeds would decide it, if that is known."""
    needed = answer.needs
    if needed is None or (needed.both is None and needed.seeds is None):
        return ""
    if needed.search > 1:
        larger = f"a search with {needed.search:.2g} times as many seeds and validation rows"
        return f"; {larger} would {needed.goal} a gain of {_size(needed.size)} at every λ"
    seeds, rows = needed.both or needed.has
    if needed.seeds is not None:
        return (
            f"; {needed.seeds:,} confirming seeds in place of {needed.has[0]:,} would "
            f"{needed.goal} a gain of {_size(needed.size)}"
        )
    return (
        f"; {seeds:,} confirming seeds with {rows:,} test rows would {needed.goal} a gain of "
        f"{_size(needed.size)}"
    )


def _size(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
