"""Are captions of one image each other's negatives? Planted worlds of several captions an image.

Usage: python -m tests.benchmarks.captions [WORLDS]

A is an image of a scene, B one of several captions of it, each telling some features of the scene;
the label is one that both tell. What alignment at λ = 1 changes in the accuracy of both encoders on
new images, with all other pairs as negatives and without those of the same image, over worlds.
"""

import sys

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tuner.data import Split, from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.rows import TrainingData
from tuner.models.training.loop import train

IMAGES, SCENE, WORDS = 300, 12, 0.5
CAPTIONS = (1, 5)
BATCH = 128


def world(captions: int, seed: int) -> dict[str, np.ndarray]:
    """As many rows for every number of captions: fewer images, seen more often."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(2 * IMAGES // captions), captions)
    scene = rng.normal(size=(image.max() + 1, SCENE))
    told = rng.random((len(image), SCENE)) < WORDS
    told[:, 0] = True
    return {
        "a": np.tanh(scene @ rng.normal(size=(SCENE, 40)))[image],
        "b": (scene[image] * told) @ rng.normal(size=(SCENE, 30))
        + rng.normal(size=(len(image), 30)),
        "y": (scene[:, 0] > 0).astype(int)[image],
    }


def gain(captions: int, seed: int, negatives: str) -> float:
    """Accuracy at λ = 1 less that at λ = 0, of both encoders, over 4 replicates."""
    dataset = from_arrays(world(captions, seed), seed=seed)
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", batch_size=BATCH, negatives=negatives)
    data = TrainingData.of(dataset, negatives=negatives)
    test = data.scaling.rows(dataset, Split.TEST)
    accuracy = {}
    for strength in (0.0, 1.0):
        found = train(data, config, strength=strength, seeds=range(4), test=test)
        right = [(found.test_predictions[side] == test.target).mean() for side in "ab"]
        accuracy[strength] = float(np.mean(right))
    return accuracy[1.0] - accuracy[0.0]


def main() -> None:
    worlds = int(sys.argv[1]) if sys.argv[1:] else 20
    table = Table(title=f"Gain of λ = 1 in accuracy, {worlds} worlds a line")
    for heading in (
        "captions an image",
        "all are negatives",
        "not those of the image",
        "difference",
    ):
        table.add_column(heading)
    for captions in track(CAPTIONS, console=Console(stderr=True)):
        gains = {
            each: np.array([gain(captions, seed, each) for seed in range(worlds)])
            for each in ("all", "auto")
        }
        difference = gains["auto"] - gains["all"]
        error = difference.std(ddof=1) / np.sqrt(worlds)
        table.add_row(
            str(captions),
            *(f"{values.mean():+.4f}" for values in gains.values()),
            f"{difference.mean():+.4f} ± {2 * error:.4f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
