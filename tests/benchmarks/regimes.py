"""In which setting do the regimes of arXiv 2511.12121 come out? One factor at a time, then fresh.

Usage: python -m tests.benchmarks.regimes [FOLDER]

Takes 25 minutes on one core, and goes on where it was cut; remove `regimes.csv` to begin anew.

Worlds with no, half and all label features shared (R = 0, 4, 8) are trained at four λs under every
setting of `SETTINGS`; all R of a world have the same weights of the label. The setting in which the
paper's claims on scores hold by most is tried again on fresh worlds, and once more with as much
shared nuisance at every R: it is what redundancy leaves of eight bits otherwise.
Every score is of encoders kept by the rule that is better for λ = 0, which is what a study does.
Writes `regimes.csv`, every number that was measured, and `regimes.md`, which derives from it.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from scipy import stats

from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.data.synthetic import WorldConfig, make_world
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.evaluation.similarity import calibrations
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

RESULTS = Path(__file__).with_name("results")
LAMBDAS = (0.0, 0.3, 1.0, 4.0)
SEEDS = range(3)
SCANNED, FRESH = range(2), range(100, 108)  # worlds
REGIMES = (0, 4, 8)
HELPS = "R = 8: the λ that validation rows choose is better than 0"
RISES = "R = 8: λ = 4 is better than 0"
INTERIOR = "R = 4: a λ in between is better than both ends"
FALLS = "R = 0: λ = 4 is worse than 0"
TILTS = "λ = 4 costs less at R = 8 than at R = 0"
MOVES = "the best λ is higher at R = 8 than at R = 0 (on the axis of λ, 0 to 1)"
ALIKE = {
    name: f"{title} beyond chance is higher at λ = 4 than at 0, whatever R"
    for name, title in (("cka", "CKA"), ("svcca", "SVCCA"), ("mutual_knn", "mutual kNN"))
}
ON_SCORES = (HELPS, RISES, INTERIOR, FALLS, TILTS)
LEVEL = ("shared nuisances 4", {"shared_nuisances": 4})
WORLD = {"rows": 6000, "training": 0.25, "labelled": 150, "temperature": 0.3}
TRAINING = TrainingConfig(hidden=64, embedding=32, epochs=60, patience=15)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What differs from the setting of `make reproduce` with few labels.

    Attributes:
        name: What it is called.
        world: Fields of `WorldConfig`.
        training: Fields of `TrainingConfig`.
    """

    name: str
    world: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


SETTINGS = (
    Setting(name="as `make reproduce`, 150 labels"),
    *(Setting(name=f"shared nuisances {n}", world={"shared_nuisances": n}) for n in (0, 4)),
    *(Setting(name=f"{n} labels", world={"labelled": n}) for n in (50, 500)),
    Setting(name="learning rate .003", training={"learning_rate": 3e-3}),
    Setting(name="InfoNCE temperature .5", training={"temperature": 0.5}),
    *(Setting(name=f"projection {p}", training={"projection": p}) for p in ("none", "linear")),
    *(Setting(name=f"B through {n} tanh layers", world={"depth_b": n}) for n in (0, 5)),
    Setting(name="label noise .3", world={"label_noise": 0.3}),
    Setting(name="all labels", world={"labelled": None}),
    Setting(
        name="learning rate .003, InfoNCE temperature .5",
        training={"learning_rate": 3e-3, "temperature": 0.5},
    ),
    Setting(
        name="learning rate .003, B through 0 tanh layers",
        world={"depth_b": 0},
        training={"learning_rate": 3e-3},
    ),
    Setting(
        name="learning rate .003, InfoNCE temperature .5, B through 0 tanh layers",
        world={"depth_b": 0},
        training={"learning_rate": 3e-3, "temperature": 0.5},
    ),
)


def measured(setting: Setting, redundant: int, world: int) -> Iterator[dict[str, Any]]:
    """Train one world at every λ: one row a λ and modality, means over seeds."""
    config = WorldConfig(redundant=redundant, **WORLD | setting.world)
    spec = StudySpec(seed=world, training=TRAINING.model_copy(update=setting.training))
    study = Study.of(spec, make_world(config, seed=world).dataset)
    outcomes = [
        train(study.data, study.training, strength=s, seeds=SEEDS, test=study.test_rows)
        for s in LAMBDAS
    ]
    rules = best_rules(baseline_scores(study.validation, outcomes[0]), sign=1)
    for outcome in (one.kept_by(rules) for one in outcomes):
        beyond = calibrations(outcome.similarity, outcome.similarity_null)
        for modality in ("a", "b"):
            yield {
                "setting": setting.name,
                "R": redundant,
                "world": world,
                "lambda": outcome.strength,
                "modality": modality,
                "validation": study.validation.scores(outcome.predictions, modality).mean(),
                "test": study.test.scores(outcome.test_predictions, modality).mean(),
            } | {name: one.value for name, one in beyond.items()}


def curves(table: pd.DataFrame, redundant: int, column: str) -> pd.DataFrame:
    """One column of a setting's table at one R: a row a world and modality, a column a λ."""
    at = table[redundant == table.R]
    return at.pivot(index=["world", "modality"], columns="lambda", values=column)


def margins(table: pd.DataFrame) -> dict[str, pd.Series]:
    """By how much each claim holds, by world: below 0 it does not.

    Scores are accuracies on test rows, of both encoders in the mean; a λ is chosen on validation
    rows. Similarities are beyond chance, and of the R where they rise least.

    Args:
        table: What `measured` gave of one setting.
    """
    tests = {r: curves(table, r, "test") for r in REGIMES}
    gains = {r: scores.sub(scores[0.0], axis=0) for r, scores in tests.items()}
    largest = {r: gain[LAMBDAS[-1]] for r, gain in gains.items()}
    between = _at_best(gains[4], curves(table, 4, "validation"), LAMBDAS[1:-1])
    best = {r: _best_unit(curves(table, r, "validation")) for r in REGIMES}
    by_pair = {
        HELPS: _at_best(gains[8], curves(table, 8, "validation"), LAMBDAS[1:]),
        RISES: largest[8],
        INTERIOR: np.minimum(between, between - largest[4]),
        FALLS: -largest[0],
        TILTS: largest[8] - largest[0],
        MOVES: best[8] - best[0],
    }
    held = {claim: margin.groupby("world").mean() for claim, margin in by_pair.items()}
    for name, claim in ALIKE.items():
        values = [curves(table, r, name).groupby("world").mean() for r in REGIMES]
        rises = [value[LAMBDAS[-1]] - value[0.0] for value in values]
        held[claim] = pd.concat(rises, axis=1).min(axis=1)
    return held


def _at_best(gains: pd.DataFrame, validation: pd.DataFrame, lambdas: Sequence[float]) -> pd.Series:
    """The gain at the λ, of some, that validation rows choose, by world and modality."""
    chosen = validation[list(lambdas)].idxmax(axis=1)
    return pd.Series([gains.loc[at, chosen[at]] for at in chosen.index], index=chosen.index)


def _best_unit(validation: pd.DataFrame) -> pd.Series:
    return validation.idxmax(axis=1).map(StudySpec().space.to_unit)


def nearest(table: pd.DataFrame) -> Setting:
    """The setting in which the claims on scores hold by most, in the mean."""

    def mean(setting: Setting) -> float:
        held = margins(scanned[scanned.setting == setting.name])
        return float(np.mean([held[claim].mean() for claim in ON_SCORES]))

    scanned = table[table.world.isin(SCANNED)]
    return max(SETTINGS, key=mean)


def claims(table: pd.DataFrame) -> list[str]:
    """Say of each claim where it holds by most, and whether it does in fresh worlds."""
    scanned, fresh = (
        {name: margins(part) for name, part in table[chosen].groupby("setting", sort=False)}
        for chosen in (table.world.isin(SCANNED), table.world.isin(FRESH))
    )
    lines = []
    for claim in next(iter(scanned.values())):
        best = max(scanned, key=lambda name: scanned[name][claim].mean())
        holds = sum(held[claim].mean() > 0 for held in scanned.values())
        lines.append(
            f"- **{claim}**: in {holds} of {len(scanned)} settings, most with *{best}* "
            f"({scanned[best][claim].mean():+.3f}). On fresh worlds it "
            + "; ".join(f"{_told(held[claim])} with *{name}*" for name, held in fresh.items())
            + "."
        )
    return lines


def _told(margin: pd.Series) -> str:
    """Whether a claim holds over worlds: the 95 % interval of the mean by Student's t."""
    mean = margin.mean()
    half = stats.t.ppf(0.975, len(margin) - 1) * margin.std(ddof=1) / np.sqrt(len(margin))
    verdict = "holds" if mean > half else "fails" if mean < -half else "is open"
    return f"{verdict}, {mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}],"


def page(table: pd.DataFrame) -> str:
    """Write down what holds in which setting."""
    scanned = table[table.world.isin(SCANNED)]
    titles = {HELPS: "R = 8 helps", RISES: "R = 8 rises", INTERIOR: "R = 4 interior"}
    titles |= {FALLS: "R = 0 falls", TILTS: "R = 8 over 0", MOVES: "best λ moves"}
    titles |= {claim: f"{name} rises" for name, claim in ALIKE.items()}
    lines = [
        "# Where the regimes come out",
        "",
        "`python -m tests.benchmarks.regimes` wrote this page from `regimes.csv` beside it. By how "
        f"much each claim holds (below 0: it does not), means over {len(SCANNED)} worlds with "
        f"{len(SEEDS)} seeds; {WORLD['rows']:,} pairs, λ = {', '.join(f'{s:g}' for s in LAMBDAS)}. "
        "Encoders are kept by the rule that is better for λ = 0, λs chosen on validation rows, "
        "scores those of test rows, similarities beyond chance. With so few worlds a difference of "
        f"one or two hundredths is noise: below are {len(FRESH)} fresh worlds a setting.",
        "",
        f"| setting | {' | '.join(titles.values())} |",
        f"|---|{'---|' * len(titles)}",
    ]
    for name, part in scanned.groupby("setting", sort=False):
        held = margins(part)
        cells = " | ".join(f"{held[claim].mean():+.3f}" for claim in titles)
        lines.append(f"| {name} | {cells} |")
    return "\n".join([*lines, "", "## Claim by claim", "", *claims(table), ""])


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    prepare_process()
    path = folder / "regimes.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for setting in SETTINGS:
        table = _gone_on(table, path, setting, REGIMES, SCANNED)
    best = nearest(table)
    level = replace(best, name=f"{best.name}, {LEVEL[0]}", world=best.world | LEVEL[1])
    for setting in (best, level):
        table = _gone_on(table, path, setting, REGIMES, FRESH)
    (folder / "regimes.md").write_text(page(table))


def _gone_on(
    table: pd.DataFrame, path: Path, setting: Setting, regimes: Iterable[int], worlds: Iterable[int]
) -> pd.DataFrame:
    """Measure what the table does not have of a setting, and write it down at once."""
    seen = set() if table.empty else set(zip(table.setting, table.R, table.world, strict=True))
    for world in worlds:
        for r in regimes:
            if (setting.name, r, world) in seen:
                continue
            table = pd.concat([table, pd.DataFrame(measured(setting, r, world))])
            table.to_csv(path, index=False, float_format="%.5f")
            words = f"{time.process_time():5.0f} s  {setting.name}, R = {r}, world {world}"
            Console(stderr=True, highlight=False).print(words)
    return table


if __name__ == "__main__":
    main()
