"""`make reproduce`: the paper's findings (arXiv 2511.12121), tried again with this program.

Every world is searched on a grid of λ with ten seeds; what the search chose, λ = 0 and the largest
λ are then trained again with ten fresh seeds and compared on test rows. Tables, figures and a page
that says what came out, `reproduction.md`, go to a folder, `results` beside this file by default.
The page derives from the tables, and from those of `tests.benchmarks.regimes`: `--page` writes it
alone. What people write about measurements is in `README.md` there, and left alone.

Usage: python -m tests.benchmarks.reproduce [--short | --page] [FOLDER]
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from tests.benchmarks import regimes, spoken_digits
from tuner.analysis.gains.gain import Gain, measured_gain, paired_gain
from tuner.data import PairedDataset, read
from tuner.data.synthetic import WorldConfig, make_world
from tuner.execution.workers.worker import train_request
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.evaluation.similarity import Calibration
from tuner.models.outcome import TrainingOutcome
from tuner.search.plan import Plan
from tuner.study.scoring.targets import Target
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

RESULTS = Path(__file__).with_name("results")
SPOKEN = "audio-visual digits"
MEASURES = ("cka", "svcca", "mutual_knn")
COMPARED = ("over_zero", "over_largest", "largest")
COLORS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is trained."""

    rows: int = 8000
    labels: int = 150
    trials: int = 9
    replicates: int = 10
    epochs: int = 60
    redundancies: tuple[int, ...] = (0, 2, 4, 6, 8)
    views: tuple[tuple[str, str], ...] = (("fou", "kar"), ("fac", "mor"), ("zer", "pix"))
    spoken: int | None = None  # of the spoken digits; None for all
    spoken_trials: int = 6  # convolutions take long on a CPU
    spoken_replicates: int = 5
    spoken_epochs: int = 15


SHORT = Size(
    rows=400,
    labels=60,
    trials=4,
    replicates=2,
    epochs=4,
    redundancies=(0, 8),
    views=(("fou", "kar"),),
    spoken=200,
    spoken_trials=4,
    spoken_replicates=2,
    spoken_epochs=2,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What came of one world.

    Attributes:
        experiment: Which table it belongs to.
        world: Its name there.
        curve: One row per λ and modality.
        candidates: The λ that was confirmed, per modality.
        over_zero: Gain of that λ over λ = 0, fresh seeds, test rows.
        over_largest: The same over the largest λ.
        largest: Gain of the largest λ over λ = 0.
        alike: Rise of each similarity from λ = 0 to the largest λ, over seeds.
        beyond: The same of what of it is beyond chance.
    """

    experiment: str
    world: str
    curve: pd.DataFrame
    candidates: dict[Target, float]
    over_zero: dict[Target, Gain]
    over_largest: dict[Target, Gain]
    largest: dict[Target, Gain]
    alike: dict[str, Gain]
    beyond: dict[str, Gain] = field(default_factory=dict)

    def words(self, target: Target) -> str:
        """Name the shape of the curve, by the intervals alone."""
        over_zero, over_largest = self.over_zero[target], self.over_largest[target]
        return shape(over_zero.low, over_largest.low, self.largest[target].high)


def shape(over_zero_low: float, over_largest_low: float, largest_high: float) -> str:
    """Name a curve by the ends of the three intervals of a finding."""
    if over_zero_low > 0 and over_largest_low > 0:
        return "interior optimum, better than both ends"
    if over_zero_low > 0:
        return "rises"
    return "falls" if largest_high < 0 else "no detectable effect"


def main() -> None:
    short = "--short" in sys.argv
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
    folder = folders[0] if folders else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    size = SHORT if short else Size()
    if "--page" not in sys.argv:
        findings = list(_found(size))
        for experiment in dict.fromkeys(f.experiment for f in findings):
            mine = [f for f in findings if f.experiment == experiment]
            table = pd.concat([f.curve.assign(world=f.world) for f in mine])
            table.to_csv(folder / f"{_name(experiment)}.csv", index=False, float_format="%.5f")
            draw(experiment, mine).savefig(folder / f"{_name(experiment)}.png", dpi=110)
        gains_table(findings).to_csv(folder / "gains.csv", index=False, float_format="%.5f")
        similarities_table(findings).to_csv(
            folder / "similarities.csv", index=False, float_format="%.5f"
        )
    gains, similarities = (
        pd.read_csv(folder / f"{name}.csv") for name in ("gains", "similarities")
    )
    (folder / "reproduction.md").write_text(page(gains, similarities, size))


def _found(size: Size) -> Iterator[Finding]:
    prepare_process()
    started = time.monotonic()
    for experiment, world, dataset, training in worlds(size):
        counts = size.trials, size.replicates
        if experiment == SPOKEN:
            counts = size.spoken_trials, size.spoken_replicates
        finding = find(experiment, world, dataset, training, *counts)
        Console(stderr=True).print(
            f"{time.monotonic() - started:5.0f} s  {experiment}, {world}: "
            + "; ".join(f"{t} {finding.words(t)}" for t in ("a", "b")),
            highlight=False,
        )
        yield finding


def _name(experiment: str) -> str:
    return experiment.replace(" ", "-").replace(",", "")


def worlds(size: Size) -> Iterator[tuple[str, str, PairedDataset, TrainingConfig]]:
    """Every experiment: its name, the world's, the data and how encoders are trained."""
    training = TrainingConfig(
        hidden=64, embedding=32, epochs=size.epochs, patience=size.epochs // 4
    )
    for labels, projection in ((size.labels, "mlp"), (None, "none")):
        for redundant in size.redundancies:
            config = WorldConfig(
                redundant=redundant,
                rows=size.rows,
                training=0.25,  # the verdict takes many test rows
                labelled=labels,
                temperature=0.3,
            )
            yield (
                f"synthetic, {labels or 'all'} labels, projection {projection}",
                f"R = {redundant}",
                make_world(config, seed=redundant).dataset,
                training.model_copy(update={"projection": projection}),
            )
    for a, b in size.views:
        yield "mfeat", f"{a}, {b}", read("mfeat", a=a, b=b), training
    audio = training.model_copy(
        update={
            "encoder_a": "cnn",
            "encoder_b": "logmel-cnn",
            "sample_rate": spoken_digits.RATE,
            "hidden": 32,
            "learning_rate": 3e-3,
            "epochs": size.spoken_epochs,
            "patience": size.spoken_epochs,
        }
    )
    for labels in (None, size.labels):
        data = spoken_digits.spoken_digits(rows=size.spoken, labelled=labels)
        yield SPOKEN, f"{labels or 'all'} labels", data, audio


def find(
    experiment: str,
    world: str,
    dataset: PairedDataset,
    training: TrainingConfig,
    trials: int,
    replicates: int,
) -> Finding:
    spec = StudySpec(
        sampler="grid",
        trials=trials,
        replicates=replicates,
        confirm_replicates=replicates,
        training=training,
    )
    study = Study.of(spec, dataset)
    plan = Plan(spec=spec, validation=study.validation)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        finished += [_trained(study, request) for request in requests]
    confirmed = {t.request.strength: t for t in finished if t.request.phase == "confirm"}
    if spec.max_lambda not in confirmed:
        request = next(iter(confirmed.values())).request
        largest = TrialRequest(
            phase="confirm", number=9, strength=spec.max_lambda, seeds=request.seeds
        )
        confirmed[spec.max_lambda] = _trained(study, largest)
    searched = sorted(
        (t.outcome for t in finished if t.request.phase == "search"), key=lambda o: o.strength
    )
    candidates = {
        t: choice.candidate for t, choice in plan.choices(finished).items() if t != "joint"
    }

    def gain(target: Target, treated: float, baseline: float) -> Gain:
        ours, theirs = (confirmed[at].outcome.test_predictions for at in (treated, baseline))
        return measured_gain(study.test, ours, theirs, target)

    return Finding(
        experiment=experiment,
        world=world,
        curve=_curve(study, searched),
        candidates=candidates,
        over_zero={t: gain(t, candidates[t], 0.0) for t in candidates},
        over_largest={t: gain(t, candidates[t], spec.max_lambda) for t in candidates},
        largest={t: gain(t, spec.max_lambda, 0.0) for t in candidates},
        alike={
            name: paired_gain(searched[-1].similarity[name], searched[0].similarity[name], None)
            for name in MEASURES
        },
        beyond={
            name: paired_gain(beyond(searched[-1], name), beyond(searched[0], name), None)
            for name in MEASURES
        },
    )


def beyond(outcome: TrainingOutcome, name: str) -> np.ndarray:
    """What of a similarity is beyond chance, (S,): of each replicate alone."""
    each = zip(outcome.similarity[name], outcome.similarity_null[name], strict=True)
    return np.array([Calibration.of(np.array([value]), null[None]).value for value, null in each])


def gains_table(findings: list[Finding]) -> pd.DataFrame:
    """One row a world and modality: the λ tested, and each comparison with its interval."""
    rows = []
    for finding in findings:
        for target in ("a", "b"):
            row = {"experiment": finding.experiment, "world": finding.world, "modality": target}
            row["lambda"] = finding.candidates[target]
            for name in COMPARED:
                row |= _columns(name, getattr(finding, name)[target])
            rows.append(row)
    return pd.DataFrame(rows)


def similarities_table(findings: list[Finding]) -> pd.DataFrame:
    """One row a world and measure: its rise from λ = 0 to the largest, plain and beyond chance."""
    return pd.DataFrame(
        {"experiment": finding.experiment, "world": finding.world, "measure": name}
        | _columns("plain", finding.alike[name])
        | _columns("beyond", finding.beyond[name])
        for finding in findings
        for name in MEASURES
    )


def _columns(name: str, gain: Gain) -> dict[str, float]:
    return {name: gain.value, f"{name}_low": gain.low, f"{name}_high": gain.high}


def _trained(study: Study, request: TrialRequest) -> FinishedTrial:
    outcome = train_request(request, study.data, study.training, study.test_rows)
    return FinishedTrial(request=request, outcome=outcome)


def _curve(study: Study, searched: list) -> pd.DataFrame:
    rows = []
    for outcome in searched:
        for target in ("a", "b"):
            scores = study.validation.scores(outcome.predictions, target)
            row = {"lambda": outcome.strength, "modality": target, "score": scores.mean()}
            row["score_sem"] = scores.std(ddof=1) / np.sqrt(len(scores))
            for name in MEASURES:
                values, null = outcome.similarity[name], outcome.similarity_null[name]
                calibration = Calibration.of(values, null)
                row |= {
                    name: values.mean(),
                    f"{name}_sem": values.std(ddof=1) / np.sqrt(len(values)),
                    f"{name}_calibrated": calibration.value,
                    f"{name}_p": calibration.p,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def draw(experiment: str, findings: list[Finding]) -> Figure:
    """Scores of A and of B by λ above, the three similarities below, one line a world."""
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    figure.suptitle(f"{experiment}: mean ± standard error over seeds, validation rows")
    above, below = figure.subfigures(2, 1)
    left, right = above.subplots(1, 2)
    panels = [(left, "a", "score", "score of A"), (right, "b", "score", "score of B")]
    titles = {"cka": "CKA", "svcca": "SVCCA", "mutual_knn": "mutual kNN"}
    panels += [
        (axis, "a", m, titles[m]) for axis, m in zip(below.subplots(1, 3), MEASURES, strict=True)
    ]
    space = StudySpec().space
    for axis, modality, column, title in panels:
        for finding, color in zip(findings, COLORS, strict=False):
            curve = finding.curve[finding.curve.modality == modality]
            axis.errorbar(
                space.to_unit(curve["lambda"].to_numpy()),
                curve[column],
                yerr=curve[f"{column}_sem"],
                color=color,
                marker="o",
                ms=3.5,
                lw=1.3,
                label=finding.world,
            )
        ticks = (0, 0.1, 0.3, 1, 4)
        axis.set_xticks([space.to_unit(tick) for tick in ticks], [str(tick) for tick in ticks])
        axis.set_title(title)
        axis.set_xlabel("λ")
        axis.grid(visible=True, axis="y", alpha=0.3)
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(findings), frameon=False)
    return figure


def page(gains: pd.DataFrame, similarities: pd.DataFrame, size: Size) -> str:
    """Say plainly what came out, and under which settings."""
    shapes = [(row.experiment, row.world, row.modality, _shape(row)) for row in gains.itertuples()]
    lines = [*_settings(size), "", "## Claim by claim", ""]
    lines += [
        "The effect of alignment depends on the data, and there is an optimum in between:",
        "",
    ]
    lines += came_out(shapes)
    lines += ["", "The optimum depends on redundancy:", "", *moved(gains)]
    lines += ["", "Representations grow alike with λ in every case:", ""]
    lines += grown(similarities)
    path = RESULTS / "regimes.csv"
    if path.exists():
        lines += ["", "Where each comes out best ([the search for it](regimes.md)):", ""]
        lines += regimes.claims(pd.read_csv(path))
    for experiment, mine in gains.groupby("experiment", sort=False):
        lines += ["", f"## {experiment}", "", f"![{experiment}]({_name(experiment)}.png)", ""]
        lines += [
            "| world | modality | λ tested | gain over λ = 0 | over λ = 4 | λ = 4 over 0 | so |"
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in mine.itertuples():
            cells = " | ".join(_cell(row, name) for name in COMPARED)
            start = f"| {row.world} | {row.modality.upper()} | {row[4]:.3g} |"
            lines.append(f"{start} {cells} | {_shape(row)} |")
        lines += ["", *_alike(similarities[similarities.experiment == experiment])]
    return "\n".join(lines) + "\n"


def _settings(size: Size) -> list[str]:
    return [
        "# The paper's findings, tried again",
        "",
        "Fang, Zhang and Chan (arXiv 2511.12121) report that alignment helps where redundancy "
        "dominates, harms where unique information does, has an optimal strength in between, and "
        "that representations grow alike with λ in every case. `make reproduce` wrote this page, "
        "its tables and its figures.",
        "",
        f"Settings: {size.rows:,} pairs, a quarter of them for training; {size.trials} values of λ "
        f"from 0 to 4, {size.replicates} seeds each; then the λ that the model of the curve chose, "
        f"λ = 0 and λ = 4, again with {size.replicates} fresh seeds, compared on test rows (95 % "
        "intervals over seeds and rows), by the weights of the least validation loss. MLPs of "
        "width 64, embeddings of 32, batches of 128; label temperature .3. Modality B of the "
        "synthetic worlds passes through two random tanh layers.",
        "",
        "The audio-visual digits stand in for AV-MNIST: images of scikit-learn (A, CNN), each "
        "with its digit spoken by espeak-ng in one of twelve voices and one of three noises (B, "
        f"log-mel CNN); {size.spoken_trials} values of λ, {size.spoken_replicates} seeds, "
        f"{size.spoken_epochs} epochs, half of the pairs for training.",
    ]


def _shape(row: Any) -> str:
    return shape(row.over_zero_low, row.over_largest_low, row.largest_high)


def _cell(row: Any, name: str) -> str:
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def moved(gains: pd.DataFrame) -> list[str]:
    """Say whether the λ that was chosen rises with R, by Kendall's τ and its exact p (one side)."""
    lines = []
    synthetic = gains[gains.world.str.startswith("R = ")]
    for (experiment, modality), mine in synthetic.groupby(["experiment", "modality"], sort=False):
        redundancies = mine.world.str.removeprefix("R = ").astype(int)
        tau, p = stats.kendalltau(redundancies, mine["lambda"], alternative="greater")
        helped = mine[mine.over_zero_low > 0].world.tolist()
        chosen = ", ".join(f"{strength:.2g}" for strength in mine["lambda"])
        lines.append(
            f"- {experiment}, {modality.upper()}: λ = {chosen} at R = "
            f"{', '.join(map(str, redundancies))}; {'it rises' if p < 0.05 else 'not shown'} "
            f"(τ = {tau:.2f}, p = {p:.2g}). A gain over λ = 0 is shown at "
            f"{', '.join(helped) or 'none'}."
        )
    return lines


def came_out(shapes: list[tuple[str, str, str, str]]) -> list[str]:
    """Say of each of the paper's regimes where it came out and where it did not.

    Args:
        shapes: Experiment, world, modality and the name of its curve.
    """
    helps = ("rises", "interior optimum, better than both ends")
    regimes = {
        "R = 8": ("redundancy dominates, alignment helps", helps),
        "R = 4": ("mixed, an interior optimum beats both ends", helps[1:]),
        "R = 0": ("uniqueness dominates, alignment harms", ("falls",)),
    }
    lines = []
    for regime, (words, wanted) in regimes.items():
        seen = [
            (f"{experiment}, {modality.upper()}", shape in wanted)
            for experiment, world, modality, shape in shapes
            if world == regime
        ]
        yes, no = ("; ".join(name for name, came in seen if came is kind) for kind in (True, False))
        lines.append(
            f"- {regime} ({words}): came out in {yes or 'no setting'}."
            + (f" Did not in {no}." if no else "")
        )
    return lines


def grown(similarities: pd.DataFrame) -> list[str]:
    """Say in how many worlds each similarity rises and falls, plain and beyond chance."""
    lines = []
    for name, mine in similarities.groupby("measure", sort=False):
        told = "; ".join(
            f"{words} it rises in {(mine[f'{column}_low'] > 0).sum()}, falls in "
            f"{(mine[f'{column}_high'] < 0).sum()}"
            for column, words in (("plain", "plain,"), ("beyond", "beyond chance"))
        )
        lines.append(f"- {name}, of {len(mine)} worlds: {told}.")
    return lines


def _alike(similarities: pd.DataFrame) -> list[str]:
    lines = []
    for name, mine in similarities.groupby("measure", sort=False):
        told = []
        for column in ("plain", "beyond"):
            rising = mine[mine[f"{column}_low"] > 0].world
            falling = mine[mine[f"{column}_high"] < 0].world
            told.append(
                f"rises in {', '.join(rising) or 'none'}; falls in {', '.join(falling) or 'none'}."
            )
        plain, beyond_chance = told
        lines.append(f"- {name} from λ = 0 to λ = 4 {plain} Beyond chance it {beyond_chance}")
    return lines


if __name__ == "__main__":
    main()
