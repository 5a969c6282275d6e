"""How often the default search finds a λ within one standard error of the best.

Usage: python -m tests.benchmarks.odds [SEARCHES]

Ten data sets, each searched once, are too few for a rate. So each is trained on a dense grid of 25
λs with four groups of ten seeds, and many searches draw their seeds from a group: what they ask
for is read off the nearest λ of the grid. *The best* is the best of the curve's model given the
750 trainings of the other groups.

Beside it the same against the highest raw mean of another group, which is too high by chance: how
often even the best λ by 30 seeds comes so near it bounds what any search can.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.benchmarks.cases import UNITS, Case, Dense, cases, grid, merged
from tuner.models.compute.device import prepare_process
from tuner.models.outcome import TrainingOutcome
from tuner.search.plan import Plan
from tuner.search.sampler import Focus
from tuner.study.scores import TARGETS, Target
from tuner.study.trial import FinishedTrial

GROUPS = 4
HEADINGS = ("search, of the best", "search, of the raw best", "the best, of the raw best")


def main() -> None:
    prepare_process()
    searches = int(sys.argv[1]) if sys.argv[1:] else 60
    table = Table("case", *HEADINGS, title="Within one standard error (A, B, joint)")
    rows = []
    for case in track(cases(), console=Console(stderr=True)):
        rows.append(rates(case, searches))
        table.add_row(case.name, *_words(rows[-1]))
    table.add_row(f"all, {searches} searches each", *_words(np.mean(rows, axis=0)))
    Console(width=120).print(table)


def rates(case: Case, searches: int) -> np.ndarray:
    """Three rates of each target, (3, targets), in the order of `HEADINGS`."""
    groups = [grid(case, number) for number in range(GROUPS)]
    raw = [Dense.of(case, group) for group in groups]
    truth = []
    for number in range(GROUPS):
        others = groups[:number] + groups[number + 1 :]
        truth.append(Dense.of(case, [merged(same) for same in zip(*others, strict=True)]))
    focus = case.study().profile.focus
    of_best, of_raw = [], []
    for n in range(searches):
        best = search(case, groups[n % GROUPS], focus, seed=n)
        of_best.append([truth[n % GROUPS].regret(t, best[t]) <= 1 for t in TARGETS])
        of_raw.append([raw[(n + 1) % GROUPS].raw_regret(t, best[t]) <= 1 for t in TARGETS])
    bound = [
        [one.raw_regret(t, UNITS[known.smooth[t].argmax()]) <= 1 for t in TARGETS]
        for one, known in zip(raw, truth, strict=True)
    ]
    return np.stack([np.mean(each, axis=0) for each in (of_best, of_raw, bound)])


def search(
    case: Case, trained: Sequence[TrainingOutcome], focus: Focus, *, seed: int
) -> dict[Target, float]:
    """What the default search takes for the best λ of each target, as u."""
    study = case.study(seed=seed)
    spec, validation = study.spec, study.validation
    plan = Plan(spec=spec, validation=validation, focus=lambda: focus)
    seeds = np.random.default_rng(seed).choice(len(trained[0].seeds), spec.replicates, False)
    finished: list[FinishedTrial] = []
    while requests := [r for r in plan.next(finished) if r.phase == "search"]:
        for request in requests:
            nearest = np.abs(UNITS - spec.space.to_unit(request.strength)).argmin()
            outcome = trained[nearest]
            predictions = {side: seen[seeds] for side, seen in outcome.predictions.items()}
            outcome = replace(outcome, predictions=predictions)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    choices = plan.choices(finished)
    return {target: spec.space.to_unit(choice.best) for target, choice in choices.items()}


def _words(rates: np.ndarray) -> list[str]:
    return [" ".join(f"{rate:4.0%}" for rate in row) for row in rates]


if __name__ == "__main__":
    main()
