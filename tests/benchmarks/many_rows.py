"""Is an encoder worse for a limit of gradient steps, where rows are many?

Usage: python -m tests.benchmarks.many_rows [labelled] [few] [hard]

Planted worlds of many pairs, whose label is a class of what A and B share. At each λ the same seeds
are trained for 100 epochs (patience 10), and with each limit of gradient steps. Both are scored on
50,000 fresh rows of the world that no training saw. Shorter trainings are the beginnings of the
long ones, and keep the weights of their best epoch: where that is the same, so are the weights.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tuner.data import PairedDataset, Split, from_arrays
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train


class World(NamedTuple):
    """A kind of data.

    Attributes:
        title: In words.
        rows: 70 % of them to train on, 15 % to validate on.
        labelled: Training rows with a label; None for all.
        hidden: Units between what is shared and the label; 0 for none, a linear label with noise.
        strengths: The λs.
    """

    title: str
    rows: int
    labelled: int | None
    hidden: int
    strengths: tuple[float, ...] = (0.0, 0.25, 1.0, 4.0)


WORLDS = {
    "labelled": World("every row labelled", 100_000, None, 0),
    "few": World("1,000 labels", 100_000, 1_000, 0),
    "hard": World("a label that is hard to learn", 40_000, None, 64, (0.0, 1.0)),
}
FRESH = 50_000
FEATURES = (64, 96)
LIMITS = (5_000, 10_000, 20_000)
SEEDS = (10_001, 10_002)
CLASSES, SHARED, OWN = 8, 12, 12


def pairs(world: World, rng: np.random.Generator, rows: int, maps: list[np.ndarray]):
    """Return arrays whose label is told by a shared part, behind a map and noise of each side."""
    shared = rng.standard_normal((rows, SHARED), dtype=np.float32)
    if world.hidden:
        first, second = (
            np.random.default_rng(2).normal(size=size).astype(np.float32)
            for size in ((4, world.hidden), (world.hidden, CLASSES))
        )
        logits, noise = np.sin(shared[:, :4] @ first) @ second, 0.1
    else:
        logits, noise = shared[:, :4] @ maps[0], 1.0
    told = logits + rng.gumbel(size=logits.shape).astype(np.float32) / 2 * noise
    sides = {}
    for name, inner, outer in zip("ab", maps[1::2], maps[2::2], strict=True):
        own = rng.standard_normal((rows, OWN), dtype=np.float32)
        hidden = np.tanh(np.concatenate([shared, own], 1) @ inner)
        seen = hidden @ outer
        sides[name] = seen + noise * rng.standard_normal(seen.shape, np.float32)
    return sides | {"y": told.argmax(1)}


def data(world: World) -> PairedDataset:
    rng = np.random.default_rng(1)
    sizes = [(4, CLASSES)]
    sizes += [size for wide in FEATURES for size in ((SHARED + OWN, 48), (48, wide))]
    maps = [rng.normal(size=size).astype(np.float32) / np.sqrt(size[0]) for size in sizes]
    train_rows, validation = 7 * world.rows // 10, 15 * world.rows // 100
    arrays = pairs(world, rng, train_rows + validation + FRESH, maps)
    parts = np.repeat([Split.TRAIN, Split.VALIDATION, Split.TEST], [train_rows, validation, FRESH])
    if world.labelled is not None:
        arrays["y"][world.labelled : train_rows] = -1
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


def lines(world: World) -> Iterator[tuple[str, ...]]:
    dataset, config = data(world), TrainingConfig()
    an_epoch = config.steps_of(len(dataset.indices(Split.TRAIN)))
    for strength in world.strengths:
        full = measured(dataset, strength, config.epochs)
        best = np.max(list(full.best_epoch.values()))
        ran = np.isfinite(full.curves["validation_loss_a"]).sum(-1).max()
        base, cells = score(dataset, full), []
        for limit in LIMITS:
            epochs = max(1, limit // an_epoch)
            less = full if best < epochs else measured(dataset, strength, epochs)
            change = score(dataset, less) - base
            spent = min(ran, epochs) / ran
            cells.append(f"{change.mean():+.4f} at {spent:.0%}")
        yield f"{strength:g}", f"{base.mean():.4f}", f"{best + 1} of {ran}", *cells


def main() -> None:
    prepare_process()
    for name in sys.argv[1:] or WORLDS:
        world = WORLDS[name]
        table = Table(title=f"{world.rows:,} pairs, {world.title}", title_justify="left")
        for heading in ("λ", "accuracy, 100 epochs", "best epoch, of those trained"):
            table.add_column(heading)
        for limit in LIMITS:
            table.add_column(f"{limit:,} steps: change, at that much work")
        for line in lines(world):
            table.add_row(*line)
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
