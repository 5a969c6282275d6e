"""Would outer folds tell more than one split? Intervals of a gain by both, at equal trainings.

Usage: python -m tests.benchmarks.folds [REPEATS [NULLS]]

One split trains λ = 0 and λ = 1 with 16 seeds and tests them on its test rows (15 % of those with
a label). Three folds train each with five seeds: the test rows of a fold are another third, there
are as many validation rows as in the split, and fewer training rows. Where validation is kept, the
validation rows of the split are those of every fold, and the others are divided in thirds: rows on
which a λ was chosen are never tested. Replicate k of the folds is that of all three, its seeds are
others in each, and every row is tested once; `nested` takes the variance over seeds from within
folds, which has 12 degrees of freedom in place of 4.

`validation folds` tests the test rows of the split, with 16 seeds that have four parts of the other
rows as validation rows, four seeds a part.

Where there is nothing to find, the label is chance, or λ = 0 is compared with itself under other
seeds, or the label is chance and λ is the best of four on the validation rows of the split.

Finished lines are kept in results/folds.csv, and not done again.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import StratifiedKFold, train_test_split

from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.analysis.gains.gain import CrossedVariance, Gain, measured_gain
from tuner.data import PairedDataset, from_arrays, read
from tuner.data.synthetic import WorldConfig, make_world
from tuner.execution.workers.worker import train_request
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.evaluation.resampling import Resamples
from tuner.models.training.loop import train
from tuner.study.scoring.scores import Scorer
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

FOLDS, SEEDS, SEEDS_A_FOLD = 3, 16, 5
CHOICE = (0.3, 1.0, 2.0, 4.0)
DESIGNS = ("one split", "folds", "folds, validation kept", "validation folds")
VALIDATION_FOLDS = 4
KEPT = Path(__file__).parent / "results" / "folds.csv"
NAMES = ("case", "repeat", "design", "gain", "half", "seeds", "rows", "baseline")
SMALL = {"rows": 400, "temperature": 0.3}
SHORT = TrainingConfig(epochs=10, hidden=64)


def example(labelled: int | None, seed: int) -> PairedDataset:
    """The shipped pair, all of it labelled or so many rows, divided by a seed."""
    data = read("mfeat", seed=0)
    y = data.y.copy()
    if labelled is not None:
        chosen, _ = train_test_split(
            np.arange(y.size), train_size=labelled, stratify=y, random_state=seed
        )
        y[np.setdiff1d(np.arange(y.size), chosen)] = -1
    return from_arrays({"a": data.a.values, "b": data.b.values, "y": y}, name="mfeat", seed=seed)


def world(seed: int, **how: float) -> PairedDataset:
    """A synthetic world, divided by a seed."""
    made = make_world(WorldConfig(**{"redundant": 8, **how}), seed=seed).dataset
    arrays = {"a": made.a.values, "b": made.b.values, "y": made.y}
    return from_arrays(arrays, name="world", seed=seed)


CASES: dict[str, Callable[[int], PairedDataset]] = {
    "mfeat, 2,000 labels": lambda seed: example(None, seed),
    "mfeat, 200 labels of 2,000": lambda seed: example(200, seed),
    "world R = 8, 400 rows": lambda seed: world(seed, **SMALL),
    "world R = 4, 1,500 rows": lambda seed: world(seed, redundant=4, rows=1500, temperature=0.3),
}
NULLS: dict[str, tuple[Callable[[int], PairedDataset], float | None]] = {
    "null: label is chance": (lambda seed: world(seed, **SMALL, label_noise=1.0), 1.0),
    "null: λ = 0 twice": (lambda seed: world(seed, **SMALL), 0.0),
    "null: λ is chosen": (lambda seed: world(seed, **SMALL, label_noise=1.0), None),
}


def folds(data: PairedDataset, seed: int, *, keeps: bool) -> Iterator[PairedDataset]:
    """Divide the rows again: test rows are another third of those with a label each time.

    Args:
        data: What is divided, already once.
        seed: Of the division.
        keeps: Whether validation rows stay what they are.
    """
    validation = data.split == 1
    divided = np.flatnonzero(data.labelled & ~validation if keeps else data.labelled)
    thirds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for rest, test in thirds.split(divided, data.y[divided]):
        split = np.zeros(data.rows, np.int8)
        split[divided[test]] = 2
        if keeps:
            split[validation] = 1
        else:
            kept, size = divided[rest], int(validation.sum())
            _, held = train_test_split(
                kept, test_size=size, stratify=data.y[kept], random_state=seed
            )
            split[held] = 1
        arrays = {"a": data.a.values, "b": data.b.values, "y": data.y, "split": split}
        yield from_arrays(arrays, name=data.name, seed=seed)


def chosen(data: PairedDataset, config: TrainingConfig) -> float:
    """The best of a few λs on the validation rows of the split."""
    study = Study.of(StudySpec(training=config), data)
    outcomes = [
        train(study.data, study.training, strength=strength, seeds=range(500, 504))
        for strength in CHOICE
    ]
    return max(outcomes, key=study.validation.utility).strength


Predicted = dict[str, np.ndarray]  # of each modality, (replicates, test rows)
Told = tuple[str, Gain, Scorer, Predicted]  # a design, what it measured, and λ = 0


def tested(
    data: PairedDataset, strength: float, seeds: range, config: TrainingConfig
) -> tuple[Study, Predicted, Predicted]:
    """Predictions for test rows with and without alignment, by the rule best for λ = 0."""
    study = Study.of(StudySpec(training=config), data)
    others = range(seeds.start + 5000, seeds.stop + 5000) if strength == 0 else seeds
    baseline, treated = (
        train(study.data, study.training, strength=s, seeds=of, test=study.test_rows)
        for s, of in ((0.0, seeds), (strength, others))
    )
    best = best_rules(baseline_scores(study.validation, baseline), sign=1)
    ours, theirs = (o.kept_by(best).test_predictions for o in (treated, baseline))
    assert ours is not None
    assert theirs is not None
    return study, ours, theirs


def nested(gain: Gain, scorer: Scorer, ours: Predicted, theirs: Predicted, of: np.ndarray) -> Gain:
    """The same gain with the variance over seeds from within folds, `of` (rows,) the fold."""
    assert gain.variance is not None
    over = [(ours[m] == scorer.truth).astype(float) - (theirs[m] == scorer.truth) for m in "ab"]
    each = np.mean(over, axis=0)  # (seeds, rows)
    sizes = np.bincount(of) / of.size
    within = [each[:, of == fold].mean(1).var(ddof=1) for fold in range(FOLDS)]
    seeds = float(np.sum(sizes**2 * within)) / len(each)
    variance: CrossedVariance = replace(
        gain.variance, seeds=seeds, seed_freedom=FOLDS * (len(each) - 1)
    )
    half = variance.half_width
    return Gain(value=gain.value, low=gain.value - half, high=gain.value + half, variance=variance)


def of_split(data: PairedDataset, seed: int, strength: float, config: TrainingConfig) -> list[Told]:
    del seed
    study, ours, theirs = tested(data, strength, range(1000, 1000 + SEEDS), config)
    gain = measured_gain(study.test, ours, theirs, "joint")
    return [("one split", gain, study.test, theirs)]


def of_folds(
    data: PairedDataset, seed: int, strength: float, config: TrainingConfig, *, keeps: bool
) -> list[Told]:
    parts = [
        tested(part, strength, range(2000 + 100 * k, 2000 + 100 * k + SEEDS_A_FOLD), config)
        for k, part in enumerate(folds(data, seed, keeps=keeps))
    ]
    truth = np.concatenate([each.test.truth for each, _, _ in parts])
    of = np.repeat(range(FOLDS), [each.test.truth.size for each, _, _ in parts])
    resamples = Resamples.of_rows(truth.size, 400, seed)
    scorer = Scorer(metric=parts[0][0].metric, truth=truth, resamples=resamples)
    ours, theirs = (
        {m: np.concatenate([part[k][m] for part in parts], axis=1) for m in "ab"} for k in (1, 2)
    )
    crossed = measured_gain(scorer, ours, theirs, "joint")
    inner = nested(crossed, scorer, ours, theirs, of)
    name = DESIGNS[2 if keeps else 1]
    return [(name, crossed, scorer, theirs), (f"{name}, nested", inner, scorer, theirs)]


def of_validation_folds(
    data: PairedDataset, seed: int, strength: float, config: TrainingConfig
) -> list[Told]:
    del seed
    folds = {"replicates": VALIDATION_FOLDS, "validation_folds": VALIDATION_FOLDS}
    study = Study.of(StudySpec(training=config, looks=(2 * SEEDS,), **folds), data)
    seeds = study.spec.seeds("confirm")
    others = seeds[SEEDS:] if strength == 0 else seeds[:SEEDS]
    baseline, treated = (
        study.trained(TrialRequest(phase="confirm", number=0, strength=s, seeds=of), train_request)
        for s, of in ((0.0, seeds[:SEEDS]), (strength, others))
    )
    best = best_rules(baseline_scores(study.validation, baseline), sign=1)
    ours, theirs = (o.kept_by(best).test_predictions for o in (treated, baseline))
    assert ours is not None
    assert theirs is not None
    gain = measured_gain(study.test, ours, theirs, "joint")
    return [("validation folds", gain, study.test, theirs)]


MEASURES = {
    "one split": of_split,
    "folds": partial(of_folds, keeps=False),
    "folds, validation kept": partial(of_folds, keeps=True),
    "validation folds": of_validation_folds,
}


def line(
    case: str, seed: int, design: str, gain: Gain, scorer: Scorer, baseline: Predicted
) -> tuple:
    assert gain.variance is not None
    parts = (gain.variance.seeds**0.5, gain.variance.rows**0.5)
    numbers = (gain.value, gain.high - gain.value, *parts, scorer.scores(baseline, "joint").mean())
    return (case, seed, design, *(f"{number:.5f}" for number in numbers))


def kept() -> list[dict[str, str]]:
    if not KEPT.exists():
        return []
    with KEPT.open(newline="") as file:
        return list(csv.DictReader(file))


def measured(
    case: str, repeats: int, data: Callable, strength: float | None, config: TrainingConfig
) -> None:
    """Do what is not done of a case, and write down each design as it ends."""
    done = {(row["design"], int(row["repeat"])) for row in kept() if row["case"] == case}
    for seed in range(repeats):
        left = [design for design in DESIGNS if (design, seed) not in done]
        if not left:
            continue
        rows = data(seed)
        at = chosen(rows, config) if strength is None else strength
        for design in left:
            found = [line(case, seed, *told) for told in MEASURES[design](rows, seed, at, config)]
            is_new = not KEPT.exists()
            with KEPT.open("a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([NAMES, *found] if is_new else found)


def of_design(case: str, design: str) -> dict[str, np.ndarray]:
    rows = [row for row in kept() if (row["case"], row["design"]) == (case, design)]
    return {name: np.array([float(row[name]) for row in rows]) for name in NAMES[3:]}


def tables() -> Iterator[Table]:
    widths = Table(title="Gain of λ = 1 in accuracy, joint", title_justify="left")
    headings = ("case", "design", "repeats", "gain", "half-width", "of one split's")
    for heading in (*headings, "se by seeds", "by rows", "accuracy of λ = 0"):
        widths.add_column(heading)
    nulls = Table(title="Where there is nothing to find", title_justify="left")
    for heading in ("case", "design", "studies", "wrong align", "covers 0", "half-width"):
        nulls.add_column(heading)
    for case in (*CASES, *NULLS):
        split = of_design(case, "one split")
        for design in [name + end for name in DESIGNS for end in ("", ", nested")]:
            told = of_design(case, design)
            gain, half = told["gain"], told["half"]
            if not gain.size:
                continue
            mean = {name: f"{values.mean():.4f}" for name, values in told.items()}
            if case in NULLS:
                shares = [f"{100 * np.mean(x):.1f} %" for x in (gain > half, abs(gain) <= half)]
                nulls.add_row(case, design, str(gain.size), *shares, mean["half"])
                continue
            ratio = f"{half.mean() / split['half'].mean():.2f}"
            parts = [mean[name] for name in ("seeds", "rows", "baseline")]
            widths.add_row(case, design, str(gain.size), mean["gain"], mean["half"], ratio, *parts)
    yield from (widths, nulls)


def main() -> None:
    prepare_process()
    repeats, nulls = (int(n) for n in (sys.argv[1:] + ["4", "200"][len(sys.argv) - 1 :])[:2])
    with patch("tuner.models.training.loop.FEWEST_ROWS", np.inf):  # no similarities
        for case, data in CASES.items():
            measured(case, repeats, data, 1.0, TrainingConfig())
        for case, (data, strength) in NULLS.items():
            measured(case, nulls, data, strength, SHORT)
    for table in tables():
        Console(width=150).print(table)


if __name__ == "__main__":
    main()
