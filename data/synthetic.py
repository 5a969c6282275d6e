"""Synthetic worlds whose redundancy, unique information and synergy are known.

After the data of arXiv 2511.12121, section 4 (and arXiv 2502.16282): bits that both modalities see,
bits that one sees, and a label that depends on eight of them through a softmax. Two things are
added: label features that are the XOR of a bit of A and a bit of B, which neither sees alone, and
observations that are continuous.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.dataset import PairedDataset, Split
from tuner.data.information.atoms import NAMES, Information
from tuner.data.information.discrete import atoms, least_by_projections, mutual_information
from tuner.data.memory.scratch import written_whole
from tuner.data.readers import from_arrays
from tuner.data.typing import Float32s, Floats, Ints, Splits

LABEL_FEATURES = 8
_SHARED, _UNIQUE = 8, 4  # bits, whether or not the label needs them


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """How a world is made.

    Attributes:
        redundant: Label features that both modalities see, of 8.
        synergistic: Label features that are the XOR of a bit of A and a bit of B, of 8. What is
            left of the 8 is split evenly between bits of A alone and of B alone.
        rows: Pairs.
        training: Share of pairs to train on; the rest is halved into validation and test.
        labelled: Training pairs that keep their label; None for all. Validation and test pairs
            all keep theirs.
        classes: Of the label.
        temperature: Of the softmax that the label is drawn from.
        label_noise: Share of labels that are drawn anew from all classes.
        continuous: Observe the bits as signs of latents, mixed; else as they are.
        nuisances: Latents of each modality's own that the label does not know (continuous).
        shared_nuisances: Bits that both modalities see and the label does not know; None for 8 less
            `redundant`, so that both see eight bits in every world.
        noise: Standard deviation of what is added to each observed feature (continuous).
        depth_a: Layers of the random tanh network that A is seen through; 0 rotates only.
        depth_b: The same for B.

    Raises:
        ValueError: If the numbers do not fit together.
    """

    redundant: int = 4
    synergistic: int = 0
    rows: int = 8000
    training: float = 0.7
    labelled: int | None = None
    classes: int = 4
    temperature: float = 0.05
    label_noise: float = 0.0
    continuous: bool = True
    nuisances: int = 8
    shared_nuisances: int | None = None
    noise: float = 0.1
    depth_a: int = 0
    depth_b: int = 2

    def __post_init__(self) -> None:
        left = LABEL_FEATURES - self.redundant - self.synergistic
        if min(self.redundant, self.synergistic, left) < 0 or left % 2:
            raise ValueError(
                f"redundant ({self.redundant}) and synergistic ({self.synergistic}) label features "
                f"must leave an even number of the {LABEL_FEATURES}, to be split between A and B"
            )
        if self.rows < 40 or self.classes < 2:
            raise ValueError("a world needs at least 40 rows and 2 classes")
        if self.labelled is not None and not 1 <= self.labelled <= self.rows:
            raise ValueError(f"labelled must be 1 to rows ({self.rows}), not {self.labelled}")
        if not 0 < self.training < 1:
            raise ValueError(f"training is a share of the pairs, in (0, 1), not {self.training}")
        if self.temperature <= 0 or not 0 <= self.label_noise <= 1 or self.noise < 0:
            raise ValueError("need temperature above 0, label_noise in [0, 1], noise at least 0")
        if min(self.nuisances, self.depth_a, self.depth_b, self.shared_nuisances or 0) < 0:
            raise ValueError("nuisances, shared_nuisances and depths are at least 0")

    @property
    def own(self) -> int:
        """Bits of each modality alone that the label depends on directly."""
        return (LABEL_FEATURES - self.redundant - self.synergistic) // 2

    @property
    def shared(self) -> int:
        """Bits that both modalities see, which is I(A; B) of the bits."""
        if self.shared_nuisances is None:
            return _SHARED
        return self.redundant + self.shared_nuisances


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """A paired data set and what its latent bits tell of the label.

    Attributes:
        dataset: The pairs.
        truth: The exact decomposition of the bits, bits. What features show of them is less
            where there is noise.
    """

    dataset: PairedDataset
    truth: Information

    def save(self, path: Path) -> None:
        """Write an `.npz` with `a`, `b`, `y`, `split` and the truth as `information`, at once."""
        dataset = self.dataset
        arrays: dict[str, Any] = {
            "a": dataset.a.values,
            "b": dataset.b.values,
            "y": dataset.y,
            "split": dataset.split,
            "information": np.array([getattr(self.truth, name) for name in NAMES]),
        }
        with written_whole(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def make_world(config: WorldConfig, *, seed: int = 0, name: str = "world") -> World:
    """Draw a world; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(LABEL_FEATURES, config.classes)) / np.sqrt(LABEL_FEATURES)
    shared = rng.integers(0, 2, (config.rows, config.shared))
    own_a, own_b = (
        rng.integers(0, 2, (config.rows, max(_UNIQUE, config.own + config.synergistic)))
        for _ in "ab"
    )
    chances = _label_chances(config, weights, shared, own_a, own_b)
    y = (chances.cumsum(1) < rng.random((config.rows, 1))).sum(1).clip(max=config.classes - 1)
    observed = {
        side: _observe(np.hstack([shared, own]), depth, config, rng)
        for side, own, depth in (("a", own_a, config.depth_a), ("b", own_b, config.depth_b))
    }
    split = _split(y, config.training, rng)
    labels = y.copy()
    if config.labelled is not None:
        training = np.flatnonzero(split == Split.TRAIN)
        labels[np.delete(training, _labelled(y[training], config.labelled))] = -1
    dataset = from_arrays({**observed, "y": labels, "split": split}, name=name, seed=seed)
    return World(dataset=dataset, truth=_truth(config, weights))


def _split(y: Ints, training: float, rng: np.random.Generator) -> Splits:
    """Split of each row, every class spread evenly."""
    order = np.lexsort([rng.random(len(y)), y])
    place = np.empty(len(y))
    place[order] = np.arange(len(y)) * ((np.sqrt(5) - 1) / 2) % 1  # evenly, in any stretch
    edges = (training, (1 + training) / 2)
    return np.searchsorted(edges, place, side="right").astype(np.int8)


def _labelled(y: Ints, count: int) -> Ints:
    """Places of the first rows, so many, but that each class has one if there are enough."""
    _, needed = np.unique(y, return_index=True)
    others = np.delete(np.arange(len(y)), needed)
    return np.concatenate([needed, others])[:count]


def _label_chances(
    config: WorldConfig, weights: Floats, shared: Ints, own_a: Ints, own_b: Ints
) -> Floats:
    """p(y | bits), (rows, classes)."""
    own, mixed = config.own, slice(config.own, config.own + config.synergistic)
    features = np.hstack(
        [
            shared[:, : config.redundant],
            own_a[:, :own],
            own_b[:, :own],
            own_a[:, mixed] ^ own_b[:, mixed],
        ]
    )
    logits = (2 * features - 1) @ weights / config.temperature
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    mixture: Floats = (1 - config.label_noise) * chances + config.label_noise / config.classes
    return mixture


def _observe(bits: Ints, depth: int, config: WorldConfig, rng: np.random.Generator) -> Float32s:
    if not config.continuous:
        return bits.astype(np.float32)
    signs = 2 * bits - 1
    latents = signs * np.abs(rng.normal(size=bits.shape))
    x = np.hstack([latents, rng.normal(size=(len(bits), config.nuisances))])
    rotation, _ = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))
    x = x @ rotation
    for _ in range(depth):
        x = np.tanh(x @ rng.normal(size=(x.shape[1],) * 2) / np.sqrt(x.shape[1]))
        x /= x.std(0)
    seen: Float32s = (x + config.noise * rng.normal(size=x.shape)).astype(np.float32)
    return seen


def _truth(config: WorldConfig, weights: Floats) -> Information:
    """Exact atoms, from p(y | bits) over all values of the bits that the label needs.

    Both modalities know the shared bits s, so the least I_q(A, B; Y) of BROJA is
    I(s; Y) + Σ_s p(s) min I_q(own bits of A, own bits of B; Y | s): one small problem per s.
    """
    width = config.own + config.synergistic
    shared, own = _all_values(config.redundant), _all_values(width)
    s, a, b = (index.ravel() for index in np.indices((len(shared), len(own), len(own))))
    chances = _label_chances(config, weights, shared[s], own[a], own[b])
    joint = chances.reshape(len(shared), len(own), len(own), config.classes) / len(own) ** 2
    with_a, with_b = joint.sum(2), joint.sum(1)
    by_shared = float(mutual_information(joint.sum((1, 2)) / len(shared)))
    least = by_shared + float(least_by_projections(with_a, with_b).mean())
    flat = joint / len(shared)
    found = atoms(
        mutual_information(flat.sum(2).reshape(-1, config.classes)),
        mutual_information(flat.sum(1).reshape(-1, config.classes)),
        mutual_information(flat.reshape(-1, config.classes)),
        np.asarray(least),
    )
    return Information(**{name: float(value) for name, value in found.items()})


def _all_values(bits: int) -> Ints:
    return (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1
