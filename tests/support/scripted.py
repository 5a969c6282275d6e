"""Studies of training code without processes: what each training reports is known."""

import itertools
from collections.abc import Callable

import numpy as np

from tuner.analysis.scripts import conclude_script
from tuner.scripts.reported import Reported
from tuner.scripts.script import Script
from tuner.search.seeds import SeedPlan
from tuner.study.scripts.result import ScriptResult
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import outcome_of
from tuner.study.trial import FinishedTrial, TrialRequest

Report = Callable[[TrialRequest], Reported | str]  # or why there is none
SCRIPT = Script(command=("train",), folder="/", digest="0" * 64)


def reporting(
    accuracy: Callable[[float], float], rows: int = 400, noise: float = 0.0, **more: object
) -> Report:
    """Return what reports `acc`, right with probability `accuracy(λ)` and noise of the seed.

    The luck of a row is nearly the same at every λ, as that of real ones is.
    """

    def report(request: TrialRequest) -> Reported:
        def correct(stream: int) -> np.ndarray:
            rng = np.random.default_rng([*request.seeds, stream])
            level = accuracy(request.strength) + noise * rng.standard_normal()
            return (rng.random(rows) < level).astype(np.float64)

        test = {"acc": correct(1)} if request.phase == "confirm" else None
        return Reported(scores={"acc": correct(0)}, test_scores=test, seconds=1.0, **more)

    return report


def train(request: TrialRequest, report: Report) -> FinishedTrial:
    told = report(request)
    if isinstance(told, str):
        return FinishedTrial(request=request, outcome=None, reason=told)
    return FinishedTrial(request=request, outcome=outcome_of(told, request))


def answer(
    spec: ScriptSpec, report: Report, workers: int = 1, luck: int = 0
) -> tuple[ScriptResult, list[FinishedTrial]]:
    """Answer a study with so many trainings at a time, any of which may be the next to end."""
    study, rng = ScriptStudy.of(spec, SCRIPT), np.random.default_rng(luck)
    plan = SeedPlan(study=study)
    finished: list[FinishedTrial] = []
    running: list[TrialRequest] = []
    for _ in itertools.count():
        requests = plan.next(finished, running=running)
        running += requests[: workers - len(running)]
        if not running:
            break
        finished.append(train(running.pop(int(rng.integers(len(running)))), report))
    choices, trials = plan.choices(finished), plan.trials(finished)
    result = conclude_script(plan.study, choices, trials, finished, wall_seconds=0.0)
    return result, finished
