"""Does λ* hold outside of its study? Real data, of which half of the rows are kept from it.

Usage: python -m tests.benchmarks.outside [REPEATS]

One half of the rows is a study's, divided as ever. The other is the truth's: along a grid of nine
λs encoders of the study's training rows are trained with seeds that no study has, and scored there,
the mean accuracy of A and B; between λs of the grid it is a straight line. What λ* lacks is the
score of the best λ less its own. The best of nine noisy scores is too good by chance, so it is
chosen by half of the truth's seeds and rows and scored by the other halves, and vice versa.
Controls are λ = 0, λ = .5, the single λ that is best for all data together in hindsight, a λ drawn
from the axis, and what a grid search says: the best mean validation score of eight λs laid out,
four seeds each.

Finished lines are kept in results/outside-studies.csv and results/outside-truth.csv, and not done
again: a run goes on where it was cut. Repeats differ in how rows are divided, and in all seeds.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tuner.analysis.conclusion import conclude
from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.data import PairedDataset, Split, from_arrays
from tuner.data.formats.examples import EXAMPLES
from tuner.models.compute.device import prepare_process
from tuner.models.training.loop import train
from tuner.search.plan import Plan
from tuner.study.result import StudyResult
from tuner.study.space import LambdaSpace
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SPACE = LambdaSpace()
GRID = tuple(SPACE.to_lambda(u) for u in np.linspace(0, 1, 9))
SEEDS = 8  # of the truth
FEW = 60  # labels to train on, where there are few
FOLDER = Path(__file__).with_name("results")
STUDIES, TRUTH = FOLDER / "outside-studies.csv", FOLDER / "outside-truth.csv"
OF_STUDY = (
    "data",
    "repeat",
    "verdict",
    "star",
    "candidate",
    "low",
    "high",
    "gain",
    "under",
    "over",
)
OF_STUDY += ("grid_search",)
OF_TRUTH = ("data", "repeat", "lambda", "of_seeds", "of_rows", "score")
Arrays = dict[str, np.ndarray]


def mfeat(a: str, b: str) -> Arrays:
    with np.load(EXAMPLES["mfeat"].path) as file:
        return {"a": file[a].astype(np.float32), "b": file[b].astype(np.float32), "y": file["y"]}


def digits() -> Arrays:
    """Upper and lower halves of images of digits."""
    images, y = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    return {"a": images[:, :32], "b": images[:, 32:], "y": y}


DATA: dict[str, tuple[Callable[[], Arrays], int | None]] = {
    "mfeat fou + kar, 60 labels": (lambda: mfeat("fou", "kar"), FEW),
    "mfeat zer + mor": (lambda: mfeat("zer", "mor"), None),
    "digits, upper + lower half": (digits, None),
}


def divided(arrays: Arrays, few: int | None, seed: int) -> tuple[PairedDataset, PairedDataset]:
    """The study's data, and the same training and validation rows with the truth's as test rows."""
    y = arrays["y"]
    ours, theirs = train_test_split(np.arange(y.size), test_size=0.5, stratify=y, random_state=seed)
    rows = {name: values[ours] for name, values in arrays.items()}
    split = from_arrays(rows, name="study", seed=seed).split.copy()
    labels = y.copy()
    if few is not None:
        trained = ours[split == Split.TRAIN]
        _, unlabelled = train_test_split(
            trained, train_size=few, stratify=y[trained], random_state=seed
        )
        labels[unlabelled] = -1
    kept = ours[split != Split.TEST]
    outside = np.concatenate([kept, theirs])
    parts = np.concatenate([split[split != Split.TEST], np.full(theirs.size, Split.TEST)])
    return (
        _data(arrays | {"y": labels}, ours, split),
        _data(arrays | {"y": labels}, outside, parts),
    )


def _data(arrays: Arrays, rows: np.ndarray, split: np.ndarray) -> PairedDataset:
    held = {name: values[rows] for name, values in arrays.items()}
    return from_arrays({**held, "split": split.astype(np.int8)}, name="study", seed=0)


def answer(data: PairedDataset, seed: int) -> StudyResult:
    """The default study's answer."""
    study = Study.of(StudySpec(seed=seed), data)
    plan, finished = Plan.of(study), []
    while requests := plan.next(finished):
        finished += [trained(study, request) for request in requests]
    how = {"settings": (), "baseline_settings": (), "wall_seconds": 0.0}
    return conclude(study, plan.choices(finished), finished, **how)


def grid_search(data: PairedDataset, seed: int) -> float:
    """The λ of the best mean validation score, of as many trainings as the search has."""
    study = Study.of(StudySpec(seed=seed, sampler="grid"), data)
    plan, finished = Plan.of(study), []
    while requests := [r for r in plan.next(finished) if r.phase == "search"]:
        finished += [trained(study, request) for request in requests]
    return max(finished, key=lambda t: study.validation.utility(t.outcome)).request.strength


def trained(study: Study, request) -> FinishedTrial:
    outcome = train(
        study.data,
        request.training(study.training),
        strength=request.strength,
        seeds=request.seeds,
        test=study.test_rows if request.phase == "confirm" else None,
    )
    return FinishedTrial(request=request, outcome=outcome)


def truth(data: PairedDataset, seed: int) -> Iterator[tuple[float, int, int, float]]:
    """Score of each λ of the grid, by each half of the seeds and each of the rows."""
    study = Study.of(StudySpec(), data)
    seeds = range(10**6 + SEEDS * seed, 10**6 + SEEDS * (seed + 1))
    rules = None
    for strength in GRID:
        outcome = train(
            study.data, study.training, strength=strength, seeds=seeds, test=study.test_rows
        )
        rules = rules or best_rules(baseline_scores(study.validation, outcome), sign=1)
        told = outcome.kept_by(rules).test_predictions
        assert told is not None
        right = np.mean([told[m] == study.test.truth for m in "ab"], axis=0)  # (seeds, rows)
        for half in range(4):
            by_seeds, by_rows = divmod(half, 2)
            score = right[by_seeds::2, by_rows::2].mean()
            yield strength, by_seeds, by_rows, float(score)


def measure(name: str, repeat: int) -> None:
    """Do what is not done of one repeat, and write it down."""
    make, few = DATA[name]
    ours, theirs = divided(make(), few, repeat)
    key = (name, str(repeat))
    if key not in {(row["data"], row["repeat"]) for row in kept(TRUTH)}:
        append(TRUTH, OF_TRUTH, [(*key, *line) for line in truth(theirs, repeat)])
    if key not in {(row["data"], row["repeat"]) for row in kept(STUDIES)}:
        joint = answer(ours, repeat).joint
        told = (joint.strength, joint.candidate, *joint.interval, joint.gain, *joint.gain_interval)
        line = (*key, joint.verdict, *told, grid_search(ours, repeat))
        append(STUDIES, OF_STUDY, [line])


def kept(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, names: tuple[str, ...], lines: Iterable[tuple]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names] if is_new else [])
        writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in x] for x in lines)


@cache
def scores(name: str, repeat: str) -> np.ndarray:
    """(halves of seeds, halves of rows, λs), of the truth."""
    rows = [row for row in kept(TRUTH) if (row["data"], row["repeat"]) == (name, repeat)]
    values = np.array([float(row["score"]) for row in rows])
    return values.reshape(len(GRID), 2, 2).transpose(1, 2, 0)


def at(name: str, repeat: str, strength: float) -> np.ndarray:
    """(halves of seeds, halves of rows): the true score at a λ."""
    units = [SPACE.to_unit(each) for each in GRID]
    each = scores(name, repeat).reshape(4, -1)
    return np.array([np.interp(SPACE.to_unit(strength), units, c) for c in each]).reshape(2, 2)


def best(name: str, repeat: str) -> float:
    """Score of the best λ, chosen by one half of the seeds and rows and scored by the other."""
    of = scores(name, repeat)
    pairs = [((i, j), (1 - i, 1 - j)) for i in range(2) for j in range(2)]
    return float(np.mean([of[other][of[own].argmax()] for own, other in pairs]))


def lacks(row: dict[str, str], constant: float) -> dict[str, float]:
    """What λ* and the controls lack of the best λ, in one repeat."""
    key = (row["data"], row["repeat"])
    told = {"study": float(row["star"]), "candidate": float(row["candidate"])}
    told |= {"grid search": float(row["grid_search"]), "λ = 0": 0.0, "λ = .5": 0.5}
    told["best constant"] = constant
    top = best(*key)
    each = {name: top - float(at(*key, strength).mean()) for name, strength in told.items()}
    return each | {"drawn": top - float(scores(*key).mean())}


def tables() -> Iterator[Table]:
    rows = kept(STUDIES)
    means = np.mean([scores(r["data"], r["repeat"]).mean((0, 1)) for r in rows], axis=0)
    constant = GRID[int(means.argmax())]
    answers = Table(title="Studies", title_justify="left")
    regrets = Table(
        title=f"What is lacking, .001 of accuracy ± standard error over repeats; the best constant "
        f"is λ = {constant:.2g}",
        title_justify="left",
    )
    columns = ("repeats", "align, do not, undecided", "true gain at λ*", "tested gain covers it")
    for heading in ("data", *columns, "true gain of the best λ"):
        answers.add_column(heading)
    names = tuple(lacks(rows[0], constant))
    for heading in ("data", *names):
        regrets.add_column(heading)
    for data in (*DATA, "all"):
        ours = [row for row in rows if data in (row["data"], "all")]
        each = [lacks(row, constant) for row in ours]
        regrets.add_row(data, *(around([1000 * told[n] for told in each], 1) for n in names))
        counts = [
            sum(r["verdict"] == v for r in ours) for v in ("align", "do not align", "undecided")
        ]
        gains = {how: [true_gain(r, r[how]) for r in ours] for how in ("star", "candidate")}
        covered = [
            float(r["under"]) <= gain <= float(r["over"])
            for r, gain in zip(ours, gains["candidate"], strict=True)
        ]
        answers.add_row(
            data,
            str(len(ours)),
            ", ".join(map(str, counts)),
            around(gains["star"], 4),
            f"{sum(covered)} of {len(ours)}",
            around([best(r["data"], r["repeat"]) - base(r) for r in ours], 4),
        )
    yield from (answers, regrets)


def base(row: dict[str, str]) -> float:
    return float(at(row["data"], row["repeat"], 0.0).mean())


def true_gain(row: dict[str, str], strength: str) -> float:
    return float(at(row["data"], row["repeat"], float(strength)).mean()) - base(row)


def around(values: list[float], digits: int) -> str:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    prepare_process()
    repeats = int(sys.argv[1]) if sys.argv[1:] else 8
    with patch("tuner.models.training.loop.FEWEST_ROWS", np.inf):  # no similarities
        for repeat in range(repeats):
            for name in DATA:
                measure(name, repeat)
    for table in tables():
        Console(width=170).print(table)


if __name__ == "__main__":
    main()
