"""Is an encoder worse for a limit of gradient steps, where rows are many?

Usage: python -m tests.benchmarks.many_rows [STEPS …]

A planted world of 100,000 pairs, whose label is a class of what A and B share: once with a label on
every row, once on 1,000 of the 70,000 training rows. At each of four λs the same seeds are trained
for 100 epochs (patience 10), and with each limit of gradient steps. Both are scored on 50,000 fresh
rows of the world that no training saw. Shorter trainings are the beginnings of the long ones, and
keep the weights of their best epoch: where that is the same, so are the weights.
"""

import sys
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from tuner.data import PairedDataset, Split, from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

ROWS, FRESH, LABELLED = 100_000, 50_000, 1_000
FEATURES = (64, 96)
STRENGTHS = (0.0, 0.25, 1.0, 4.0)
LIMITS = (5_000, 10_000, 20_000)
SEEDS = (10_001, 10_002)
CLASSES, SHARED, OWN = 8, 12, 12


def world(rng: np.random.Generator, rows: int, maps: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Pairs whose label is told by a shared part, behind a nonlinear map and noise of each side."""
    shared = rng.standard_normal((rows, SHARED), dtype=np.float32)
    noisy = shared[:, :4] @ maps[0] + rng.gumbel(size=(rows, CLASSES)).astype(np.float32) / 2
    sides = {}
    for name, inner, outer in zip("ab", maps[1::2], maps[2::2], strict=True):
        own = rng.standard_normal((rows, OWN), dtype=np.float32)
        hidden = np.tanh(np.concatenate([shared, own], 1) @ inner)
        sides[name] = hidden @ outer + rng.standard_normal((rows, outer.shape[1]), np.float32)
    return sides | {"y": noisy.argmax(1)}


def data(labelled: int | None) -> PairedDataset:
    """70 % to train on, 15,000 to validate on, and fresh rows to test on."""
    rng = np.random.default_rng(1)
    sizes = [(4, CLASSES)]
    sizes += [size for wide in FEATURES for size in ((SHARED + OWN, 48), (48, wide))]
    maps = [rng.normal(size=size).astype(np.float32) / np.sqrt(size[0]) for size in sizes]
    train_rows, validation = 7 * ROWS // 10, 15 * ROWS // 100
    arrays = world(rng, train_rows + validation + FRESH, maps)
    parts = np.repeat([Split.TRAIN, Split.VALIDATION, Split.TEST], [train_rows, validation, FRESH])
    if labelled is not None:
        arrays["y"][labelled:train_rows] = -1
    return from_arrays({**arrays, "split": parts.astype(np.int8)}, name="world", seed=0)


def measured(dataset: PairedDataset, strength: float, epochs: int) -> TrainingOutcome:
    rows = TrainingData.of(dataset)
    return train(
        rows,
        TrainingConfig(encoder_a="mlp", encoder_b="mlp", epochs=epochs),
        strength=strength,
        seeds=SEEDS,
        test=rows.scaling.rows(dataset, Split.TEST),
    )


def score(dataset: PairedDataset, outcome: TrainingOutcome) -> np.ndarray:
    """Mean accuracy of A and B on fresh rows, (seeds,)."""
    truth = dataset.y[dataset.indices(Split.TEST)]
    told = outcome.test_predictions
    assert told is not None
    return np.mean([(told[side] == truth).mean(-1) for side in "ab"], axis=0)


def lines(labelled: int | None, limits: list[int]) -> Iterator[tuple[str, ...]]:
    dataset = data(labelled)
    an_epoch = len(dataset.indices(Split.TRAIN)) // TrainingConfig().batch_size
    for strength in STRENGTHS:
        full = measured(dataset, strength, TrainingConfig().epochs)
        best = np.max(list(full.best_epoch.values()))
        ran = np.isfinite(full.curves["validation_loss_a"]).sum(-1).max()
        base, cells = score(dataset, full), []
        for limit in limits:
            epochs = max(1, limit // an_epoch)
            less = full if best < epochs else measured(dataset, strength, epochs)
            change = score(dataset, less) - base
            spent = min(ran, epochs) / ran
            cells.append(f"{change.mean():+.4f} at {spent:.0%}")
        yield f"{strength:g}", f"{base.mean():.4f}", f"{best + 1} of {ran}", *cells


def main() -> None:
    prepare_process()
    limits = [int(word) for word in sys.argv[1:]] or list(LIMITS)
    for labelled in (None, LABELLED):
        title = "every row labelled" if labelled is None else f"{labelled:,} labels"
        table = Table(title=f"{ROWS:,} pairs, {title}", title_justify="left")
        for heading in ("λ", "accuracy, 100 epochs", "best epoch, of those trained"):
            table.add_column(heading)
        for limit in limits:
            table.add_column(f"{limit:,} steps: change, at that much work")
        for line in lines(labelled, limits):
            table.add_row(*line)
            print(line, file=sys.stderr, flush=True)
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
