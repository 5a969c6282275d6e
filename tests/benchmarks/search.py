"""What each sampler finds, at what price.

Usage: python -m tests.benchmarks.search [SAMPLER:TRIALSxREPLICATES …]

Regret is what the λ that the search chose lacks of the best gain, by a dense grid of 25 λs with
ten seeds each, in standard errors of the best score.
"""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.benchmarks.cases import UNITS, Case, Dense, cases, grid
from tuner.analysis.curve import CurveModel
from tuner.analysis.observations import observe
from tuner.execution.worker import train_request
from tuner.models.compute.device import prepare_process
from tuner.search.plan import Plan
from tuner.study.scores import TARGETS
from tuner.study.trial import FinishedTrial

DEFAULT = ("gp:6x4", "tpe:6x4", "random:6x4", "grid:6x4", "gp:8x3", "gp:12x2")


def main() -> None:
    prepare_process()
    setups = sys.argv[1:] or DEFAULT
    known = [(case, Dense.of(case, grid(case))) for case in cases()]
    table = Table(title="Regret in standard errors of the best score (joint, A, B)")
    for heading in ("case", "best - λ = 0", *setups):
        table.add_column(heading)
    results = {setup: [] for setup in setups}
    for case, truth in known:
        cells = []
        for setup in setups:
            found = search(case, truth, setup)
            results[setup].append(found)
            cells.append(" ".join(f"{found['regret'][t]:.1f}" for t in ("joint", "a", "b")))
        rise = truth.smooth["joint"].max()
        table.add_row(case.name, f"{rise:+.4f}", *cells)
        Console(width=160, stderr=True).print(case.name, *cells)
    for title, row in summary(results).items():
        table.add_row(title, "", *row)
    Console(width=160).print(table)


def search(case: Case, truth: Dense, setup: str) -> dict:
    sampler, _, size = setup.partition(":")
    trials, replicates = map(int, size.split("x"))
    study = case.study(sampler=sampler, trials=trials, replicates=replicates)
    plan = Plan(spec=study.spec, validation=study.validation, focus=lambda: study.profile.focus)
    finished: list[FinishedTrial] = []
    while requests := [r for r in plan.next(finished) if r.phase == "search"]:
        for request in requests:
            outcome = train_request(request, study.data, case.training, study.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    space, outcomes = study.spec.space, [t.outcome for t in finished]
    regret, raw, covers_best, covers_gain = {}, {}, {}, {}
    for target, choice in plan.choices(finished).items():
        regret[target] = truth.regret(target, space.to_unit(choice.best))
        raw[target] = truth.raw_regret(target, space.to_unit(choice.best))
        low, high = (space.to_unit(end) for end in choice.interval)
        # The best is uncertain where the top is flat: any λ within a standard error may be it.
        near = UNITS[truth.smooth[target] >= truth.smooth[target].max() - truth.error[target]]
        covers_best[target] = bool(((near >= low - 0.02) & (near <= high + 0.02)).any())
        curve = CurveModel.fit(observe(study.validation, outcomes, target), space)
        ends = curve.interval(np.array([choice.candidate]))
        at = space.to_unit(choice.candidate)
        covers_gain[target] = bool(ends[0][0] <= truth.at(target, at) <= ends[1][0])
    return {
        "regret": regret,
        "raw": raw,
        "steps": sum(o.steps for o in outcomes) / truth.steps,
        "covers_best": covers_best,
        "covers_gain": covers_gain,
    }


def summary(results: dict) -> dict[str, list[str]]:
    def share(found, name) -> str:
        hits = [f[name][t] for f in found for t in TARGETS]
        return f"{sum(hits)} of {len(hits)}"

    each = list(results.values())
    return {
        "joint within one standard error": [
            f"{sum(f['regret']['joint'] <= 1 for f in found)} of {len(found)}" for found in each
        ],
        "joint within one of the raw best": [
            f"{sum(f['raw']['joint'] <= 1 for f in found)} of {len(found)}" for found in each
        ],
        "all targets within one": [
            f"{sum(f['regret'][t] <= 1 for f in found for t in TARGETS)} of {3 * len(found)}"
            for found in each
        ],
        "share of the grid's steps": [
            f"{np.mean([f['steps'] for f in found]):.1%}" for found in each
        ],
        "interval of λ* covers": [share(found, "covers_best") for found in each],
        "interval of the gain covers": [share(found, "covers_gain") for found in each],
    }


if __name__ == "__main__":
    main()
