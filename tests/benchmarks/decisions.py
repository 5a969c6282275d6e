"""How good are answers? Whole studies of planted gains: verdicts, λ*, intervals, power.

Usage: python -m tests.benchmarks.decisions [STUDIES [NULLS]]

The truth is what was planted (`tests.support.planted`), which no study sees: gains in accuracy of A
and B along λ with the noise of 300 validation and 300 test rows and of seeds. Designs differ in how
λs are searched and confirmed. `three folds` test all 1,700 rows but those of validation, and what
encoders lose by fewer training rows is not planted. `validation folds` has four times as many
validation rows, of which each seed sees a quarter. `before` is six λs laid out, and a candidate
for each of A, B and both confirmed with 12 seeds; `constant` is λ = .5 for everybody.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.support.planted import SPACE, Curve, bell, plant, rows
from tuner.analysis.conclusion import conclude
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.search.plan import Plan
from tuner.study.result import StudyResult
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

HEIGHTS = (0.005, 0.01, 0.02, 0.04)
BEFORE = {"trials": 6, "confirm_replicates": 12, "sampler": "grid"}
DESIGNS = {
    "default": {},
    "before": BEFORE,
    "grid": {"sampler": "grid"},
    "random": {"sampler": "random"},
    "three folds": {"folds": 3},
    "validation folds": {"validation_folds": 4},
}
_FINE = np.linspace(0, 1, 513)


def flat(u: float) -> float:
    return 0.0 * u


def shapes(height: float) -> dict[str, tuple[Curve, Curve]]:
    """Curves of A and B, each with its greatest gain at `height` or none."""
    rising, falling = (lambda u: height * u), (lambda u: -height * u)
    late = lambda u: height * (min(u / 0.6, 1) - 2 * max(u - 0.7, 0) / 0.3)  # noqa: E731
    near, middle, far = (bell(peak, height) for peak in (0.3, 0.55, 0.8))
    return {
        "rising": (rising, rising),
        "early peak": (near, near),
        "middle peak": (middle, middle),
        "late peak": (far, far),
        "falls late": (late, late),
        "narrow peak": (bell(0.45, height, 0.08),) * 2,
        "early and middle": (near, middle),
        "A alone": (rising, flat),
        "A gains, B loses": (rising, falling),
    }


@dataclass
class Tally:
    """What came out of studies, against what was planted; three targets a study."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, result: StudyResult, curves: tuple[Curve, Curve]) -> None:
        true = {"a": curves[0], "b": curves[1]}
        true["joint"] = lambda u: (curves[0](u) + curves[1](u)) / 2
        wrong = []
        for target, answer in result.answers.items():
            gains = np.array([true[target](u) for u in _FINE])
            at = float(true[target](SPACE.to_unit(answer.candidate)))
            low, high = (SPACE.to_unit(end) for end in answer.interval)
            best = _FINE[gains >= gains.max() - 1e-12]
            under, over = answer.tested[1]
            align = answer.verdict == "align"
            wrong.append(align and at <= 0)
            star = answer.strength if align else 0.0
            told = {
                "regret": gains.max() - true[target](SPACE.to_unit(star)),
                "λ* covered": bool(np.any((best >= low - 1 / 128) & (best <= high + 1 / 128))),
                "width of λ*": high - low,
                "λ* inside": answer.interval[0] <= answer.strength <= answer.interval[1],
                "gain covered": under <= at <= over,
                "width of gain": over - under,
                "align": align,
                "wrong": wrong[-1],
                "undecided": answer.verdict == "undecided",
            }
            for name, each in told.items():
                self.values[name].append(float(each))
            if target == "joint":
                self.values["joint align"].append(float(align))
                self.values["u"].append(float(SPACE.to_unit(answer.candidate)))
        self.values["any wrong"].append(float(any(wrong)))
        self.values["trainings"].append(result.cost.trainings)

    def mean(self, name: str) -> float:
        return float(np.mean(self.values[name]))


def answer(curves: tuple[Curve, Curve], world: int, changes: dict, known: Study) -> StudyResult:
    """Answer a study of a planted world."""
    spec = StudySpec(seed=world, training=TrainingConfig(epochs=2), **changes)
    is_divided = bool({"folds", "validation_folds"} & changes.keys())
    study = Study.of(spec, replace(known.dataset, has_own_split=not is_divided))
    vars(study)["profile"] = known.profile  # seconds, and the same for all
    planted = dict(zip("ab", curves, strict=True))
    plan = Plan.of(study)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        for request in requests:
            outcome = trained(study, planted, world, request)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    choices = plan.choices(finished)
    how = {"settings": (), "baseline_settings": (), "wall_seconds": 0.0}
    return conclude(study, choices, finished, **how)


def trained(
    study: Study, planted: dict[str, Curve], world: int, request: TrialRequest
) -> TrainingOutcome:
    """No fold has a row or a seed of another, but for the test rows of those that are validated."""
    validated, fold = study.validation_folds, study.fold_of(request)
    if validated is None:
        data, tested = study.rows_of(fold)
        own = 0 if fold is None else 1 + fold
        return plant(planted, world + 10**6 * own)(request, data, study.training, tested)

    def train(part: TrialRequest, fold: int, _: int) -> TrainingOutcome:
        data, tested = study.rows_of(fold)
        return plant(planted, world, fold=fold)(part, data, study.training, tested)

    return validated.trained(request, train)


def tally(curves: tuple[Curve, Curve], design: str, worlds: range, known: Study) -> Tally:
    found = Tally()
    own = patch("tuner.search.confirmation.agreed", lambda choices: choices)
    for world in track(worlds, description=design, transient=True):
        if design == "before":
            with own:
                found.add(answer(curves, world, DESIGNS[design], known), curves)
        else:
            found.add(answer(curves, world, DESIGNS[design], known), curves)
    return found


def main() -> None:
    prepare_process()
    studies, nulls = (int(n) for n in (sys.argv[1:] + ["40", "300"][len(sys.argv) - 1 :])[:2])
    known = Study.of(StudySpec(training=TrainingConfig(epochs=2)), rows(train=1400))
    console = Console(width=200)
    console.print(nothing(known, range(1000, 1000 + nulls)))
    console.print(power(known, range(studies)))
    console.print(search(known, range(studies)))


def nothing(known: Study, worlds: range) -> Table:
    """Wrong verdicts where there is no gain."""
    table = _table(f"No gain at any λ, {len(worlds)} studies")
    for heading in ("design", "wrong align, a target", "a study", "gain covered", "width of gain"):
        table.add_column(heading)
    for design in ("default", "before", "three folds", "validation folds"):
        found = tally((flat, flat), design, worlds, known)
        names = ("wrong", "any wrong", "gain covered")
        shares = [f"{100 * found.mean(name):.1f} %" for name in names]
        table.add_row(design, *shares, f"{found.mean('width of gain'):.4f}")
    return table


def power(known: Study, worlds: range) -> Table:
    """How often a planted gain is confirmed, over the shapes on which both gain."""
    table = _table(f"Joint align, {len(worlds)} studies of each shape")
    for heading in ("design", "trainings", *(f"gain {height}" for height in HEIGHTS)):
        table.add_column(heading)
    for design in ("default", "before", "validation folds"):
        cells, trainings = [], []
        for height in HEIGHTS:
            found = [
                tally(shapes(height)[shape], design, worlds, known)
                for shape in ("rising", "early peak", "middle peak", "early and middle")
            ]
            cells.append(f"{100 * np.mean([f.mean('joint align') for f in found]):.0f} %")
            trainings += [f.mean("trainings") for f in found]
        table.add_row(design, f"{np.mean(trainings):.0f}", *cells)
    return table


def search(known: Study, worlds: range) -> Table:
    """Regret, intervals and agreement of λ* at a gain of .02."""
    table = _table(f"Gain .02, {len(worlds)} studies of each shape; regret in .001 of accuracy")
    headings = ("regret", "λ* covered", "width of λ*", "sd of u over seeds", "gain covered")
    for heading in ("shape", "design", *headings, "width of gain", "λ* outside"):
        table.add_column(heading)
    for shape, curves in shapes(0.02).items():
        for design in DESIGNS:
            found = tally(curves, design, worlds, known)
            table.add_row(
                shape,
                design,
                f"{1000 * found.mean('regret'):.1f}",
                f"{100 * found.mean('λ* covered'):.0f} %",
                f"{found.mean('width of λ*'):.2f}",
                f"{np.std(found.values['u']):.2f}",
                f"{100 * found.mean('gain covered'):.0f} %",
                f"{found.mean('width of gain'):.4f}",
                f"{sum(1 - inside for inside in found.values['λ* inside']):.0f}",
            )
        constant = [max(c(u) for u in _FINE) - c(SPACE.to_unit(0.5)) for c in curves]
        table.add_row(shape, "constant", f"{1000 * np.mean(constant):.1f}", *[""] * 6)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left")


if __name__ == "__main__":
    main()
