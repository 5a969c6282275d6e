"""Data sets whose λ-curves the corpus holds: made here, or shipped with what is installed.

Each is a recipe that makes the same rows again. Recipes of one source leave a validation together:
they share rows, or have some that are too alike to count as another data set. A synthetic world is
a source of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations, zip_longest

import numpy as np
from scipy.stats import qmc
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

from tests.benchmarks.spoken_digits import spoken_digits
from tuner.data import PairedDataset, from_arrays
from tuner.data.formats.examples import EXAMPLES
from tuner.data.synthetic import LABEL_FEATURES, WorldConfig, make_world

WORLDS, LARGE_WORLDS, MANY_LABELS = 128, 8, 8
CC_BY = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
VIEWS = ("fac", "fou", "kar", "mor", "pix", "zer")
BANDS, FRAMES = 8, 8  # of the sound of a spoken digit


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one data set of the corpus is made.

    Attributes:
        name: What it is called.
        source: What leaves a validation together with it.
        licence: Of the rows; none of them is in the corpus.
        origin: Where they come from.
        make: Makes them.
    """

    name: str
    source: str
    licence: str
    origin: str
    make: Callable[[], PairedDataset]


def recipes() -> list[Recipe]:
    """All of them, sources mixed, so that any beginning of the list is a corpus."""
    kinds = [list(kind()) for kind in (latent_worlds, digits, worlds, mfeat, others)]
    mixed = chain.from_iterable(zip_longest(*kinds))
    large = [*large_worlds(), *many_label_worlds()]
    return [recipe for recipe in mixed if recipe is not None] + large


def worlds() -> Iterator[Recipe]:
    """Synthetic worlds, spread evenly over what may differ (Sobol)."""
    yield from _worlds("world", 0, (0.03, 1.0), (300, 1600), WORLDS // 2)


def large_worlds() -> Iterator[Recipe]:
    """A few of thousands of pairs."""
    yield from _worlds("large world", 2, (0.02, 0.5), (2000, 7500), LARGE_WORLDS)


def many_label_worlds() -> Iterator[Recipe]:
    """A few of thousands of pairs, of which most or all have a label."""
    yield from _worlds("many-label world", 4, (0.6, 1.6), (4000, 15000), MANY_LABELS)


def _worlds(
    name: str,
    stream: int,
    labelled: tuple[float, float],
    training: tuple[float, float],
    count: int,
) -> Iterator[Recipe]:
    points = qmc.Sobol(13, seed=20261128 + stream).random(count)
    for number, point in enumerate(points):
        config, seed = _world(point, labelled, training), 1000 * (stream + 1) + number
        yield Recipe(
            name=f"{name} {number}",
            source=f"{name} {number}",
            licence="none: made by this program",
            origin="tuner.data.synthetic",
            make=lambda config=config, seed=seed: make_world(config, seed=seed).dataset,
        )


def _world(
    point: np.ndarray, labelled: tuple[float, float], trained: tuple[float, float]
) -> WorldConfig:
    at = iter(point)

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(at)

    def log_between(low: float, high: float) -> float:
        return float(np.exp(between(np.log(low), np.log(high))))

    redundant = round(between(-0.5, LABEL_FEATURES + 0.5))
    left = LABEL_FEATURES - redundant
    synergistic = int(left * between(0, 1) * 0.7)
    synergistic -= (left - synergistic) % 2
    if synergistic < 0:  # an odd feature that is left has to go somewhere
        synergistic += 2
    if synergistic > left:
        redundant, synergistic = redundant - 1, 0 if (left + 1) % 2 == 0 else 1
    training, others = log_between(*trained), round(2 * between(300, 700))
    classes = round(log_between(2, 8))
    share = log_between(*labelled)
    return WorldConfig(
        redundant=redundant,
        synergistic=synergistic,
        rows=round(training) + others,
        training=training / (training + others),
        labelled=max(round(share * training), 5 * classes) if share < 0.95 else None,
        classes=classes,
        label_noise=between(0, 0.2),
        temperature=log_between(0.05, 0.4),
        depth_a=round(between(-0.5, 2.5)),
        depth_b=round(between(-0.5, 2.5)),
        nuisances=round(between(0, 16)),
        shared_nuisances=round(between(0, 8)),
        noise=log_between(0.03, 0.5),
    )


def latent_worlds() -> Iterator[Recipe]:
    """Worlds of few latents, of which a label is easily told: see `_latent_world`."""
    for number, point in enumerate(qmc.Sobol(12, seed=20261131).random(WORLDS // 2)):
        yield Recipe(
            name=f"latent world {number}",
            source=f"latent world {number}",
            licence="none: made by this program",
            origin="tests.benchmarks.corpus_sources",
            make=lambda point=point, number=number: _latent_world(point, 4000 + number),
        )


def _latent_world(point: np.ndarray, seed: int) -> PairedDataset:
    """A label of latents that both modalities see and of such as one alone does, in nuisances.

    Nuisances are shared or of one modality alone, of any size against the signal; each modality is
    seen through a random rotation and up to two tanh layers.
    """
    rng = np.random.default_rng(seed)

    def to(index: int, low: float, high: float) -> float:
        return low + (high - low) * point[index]

    training, labelled = round(300 * 6 ** point[0]), 0.02 * 40 ** point[1]
    classes, rows = round(to(2, 1.5, 6.5)), training + 1100
    shared, own = round(to(3, -0.5, 4.5)), round(to(4, -0.5, 3.5))
    own = max(own, 1) if shared == 0 else own
    nuisances, private = round(to(5, -0.5, 8.5)), round(to(6, 0, 12))
    sizes = 0.3 * 10 ** point[7:9]  # of shared and of private nuisances
    both, none = rng.normal(size=(rows, shared)), sizes[0] * rng.normal(size=(rows, nuisances))
    alone = rng.normal(size=(2, rows, own))
    latents = np.hstack([both, *alone])
    centres = rng.normal(size=(classes, latents.shape[1]))
    distances = ((latents[:, None] - centres) ** 2).sum(2)
    logits = -distances / (2 * to(9, 0.1, 0.8)) + rng.gumbel(size=distances.shape)
    for _ in range(50):  # classes of about the same size
        shares = np.bincount(logits.argmax(1), minlength=classes) / rows
        logits -= 0.3 * np.log(classes * shares + 0.05)
    y = logits.argmax(1)
    sides = [
        _seen(
            np.hstack([both, none, each, sizes[1] * rng.normal(size=(rows, private))]),
            round(to(10, -0.5, 2.5)),
            0.03 * 15 ** point[11],
            rng,
        )
        for each in alone
    ]
    few = max(round(labelled * training), 5 * classes)
    return _divided(*sides, y, few if few < training else None, (training, 500))


def _seen(x: np.ndarray, depth: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))
    x = x @ turn
    for _ in range(depth):
        x = np.tanh(1.5 * x @ rng.normal(size=(x.shape[1],) * 2) / np.sqrt(x.shape[1]))
    return (x + noise * x.std(0) * rng.normal(size=x.shape)).astype(np.float32)


def mfeat() -> Iterator[Recipe]:
    """Pairs of views of 2,000 handwritten digits, by how many of 1,000 have a label."""
    for few in (60, None, 200):
        for a, b in combinations(VIEWS, 2):
            yield Recipe(
                name=f"mfeat {a} + {b}, {few or 'all'} labels",
                source="mfeat",
                licence=CC_BY,
                origin="UCI Machine Learning Repository, https://doi.org/10.24432/C5HC70",
                make=lambda a=a, b=b, few=few: _mfeat(a, b, few),
            )


def _mfeat(a: str, b: str, few: int | None) -> PairedDataset:
    with np.load(EXAMPLES["mfeat"].path) as file:
        sides, y = [file[view].astype(np.float32) for view in (a, b)], file["y"]
    return _divided(*sides, y, few, (1000, 300))


def digits() -> Iterator[Recipe]:
    """Two parts of each of 1,797 images of digits, or an image and its digit spoken."""
    parts = {
        "upper + lower half": np.arange(64) // 32,
        "left + right half": np.arange(64) % 8 // 4,
        "even + odd columns": np.arange(64) % 2,
        "centre + border": np.array([not (2 <= i // 8 < 6 and 2 <= i % 8 < 6) for i in range(64)]),
        "quarters crosswise": (np.arange(64) // 32 + np.arange(64) % 8 // 4) % 2,
    }
    own = {"source": "digits", "licence": CC_BY}
    origin = "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, by scikit-learn"
    for few in (60, None, 150):
        for name, part in parts.items():
            yield Recipe(
                name=f"digits, {name}, {few or 'all'} labels",
                origin=origin,
                make=lambda part=part, few=few: _digits(part, few),
                **own,
            )
        yield Recipe(
            name=f"digits seen and spoken, {few or 'all'} labels",
            origin=f"{origin}; spoken by espeak-ng",
            make=lambda few=few: _spoken(few),
            **own,
        )


def _digits(part: np.ndarray, few: int | None) -> PairedDataset:
    images, y = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    return _divided(images[:, part == 0], images[:, part == 1], y, few, (900, 250))


def _spoken(few: int | None) -> PairedDataset:
    """Pixels, and the log power of the sound in bands and frames."""
    data = spoken_digits(seed=0)
    waves = data.b.values[:, :, 0]
    frames = np.stack(np.array_split(waves, FRAMES, axis=1)[: FRAMES - 1], axis=1)
    power = np.abs(np.fft.rfft(frames, axis=2)) ** 2
    bands = [band.mean(2) for band in np.array_split(power, BANDS, axis=2)]
    sound = np.log(np.stack(bands, 2) + 1e-6).reshape(len(waves), -1).astype(np.float32)
    return _divided(data.a.values.reshape(len(waves), -1), sound, data.y, few, (900, 250))


def others() -> Iterator[Recipe]:
    """Small tables that scikit-learn ships, their columns divided in several ways."""
    cancer, wine = load_breast_cancer(), load_wine()
    columns = np.arange(30)
    ways = {
        "mean + error": (columns[:10], columns[10:20]),
        "mean + worst": (columns[:10], columns[20:]),
        "error + worst": (columns[10:20], columns[20:]),
        "size + texture": (columns[columns % 10 < 4], columns[columns % 10 >= 4]),
    }
    uci = "UCI Machine Learning Repository, https://doi.org/10.24432/{}, by scikit-learn"
    for few in (16, None):
        for name, (a, b) in ways.items():
            yield Recipe(
                name=f"breast cancer, {name}, {few or 'all'} labels",
                source="breast cancer",
                licence=CC_BY,
                origin=uci.format("C5DW2B"),
                make=lambda a=a, b=b, few=few: _table(cancer, a, b, few, (260, 100)),
            )
        for name, (a, b) in {
            "first + second half": (np.arange(6), np.arange(6, 13)),
            "even + odd columns": (np.arange(0, 13, 2), np.arange(1, 13, 2)),
        }.items():
            yield Recipe(
                name=f"wine, {name}, {few or 'all'} labels",
                source="wine",
                licence=CC_BY,
                origin=uci.format("C5PC7J"),
                make=lambda a=a, b=b, few=few: _table(wine, a, b, few, (80, 38)),
            )


def _table(table, a: np.ndarray, b: np.ndarray, few: int | None, counts) -> PairedDataset:
    values = table.data.astype(np.float32)
    return _divided(values[:, a], values[:, b], table.target, few, counts)


def _divided(
    a: np.ndarray, b: np.ndarray, y: np.ndarray, few: int | None, counts: tuple[int, int]
) -> PairedDataset:
    """Training and validation rows as counted, all others for the test, classes spread evenly."""
    rows = np.arange(len(y))
    train, rest = train_test_split(rows, train_size=counts[0], stratify=y, random_state=0)
    validation, test = train_test_split(
        rest, train_size=counts[1], stratify=y[rest], random_state=0
    )
    split, labels = np.zeros(len(y), np.int8), y.astype(np.int64)
    split[validation], split[test] = 1, 2
    if few is not None:
        _, unlabelled = train_test_split(train, train_size=few, stratify=y[train], random_state=0)
        labels[unlabelled] = -1
    return from_arrays({"a": a, "b": b, "y": labels, "split": split}, name="corpus", seed=0)
