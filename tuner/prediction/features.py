"""What is known of a data set before any training, as far as it may tell of its λ-curve."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.data import PairedDataset, Split
from tuner.data.information.gate import Gate, shared_components, whiten
from tuner.data.information.predictions import components, out_of_fold, ridge, waves
from tuner.data.information.profile import Profile
from tuner.data.information.sampling import folds, halves
from tuner.study.scoring.scores import SIDES
from tuner.typing import Floats, Indices

_ROWS = 10_000
_CORRELATIONS = 5
_SURE = (
    2.0  # of a logarithm of a ratio: what a gate without a nuisance, or without a signal, counts
)

# How each is called where one lies outside of what the corpus has seen.
WORDS = {
    "rows": "training pairs",
    "labels": "labelled training pairs of a class",
    "labelled": "share of training pairs that have a label",
    "classes": "classes",
    "entropy": "bits of the label",
    "width": "width of {side}",
    "R": "redundant share of the label's information",
    "S": "synergistic share of the label's information",
    "U": "share of the label's information that is unique to {side}",
    "unsure": "width of the profile's intervals",
    "gate": "ratio of the cross-covariance gate",
    "predicts": "ratio of prediction from {side}",
    "told": "accuracy of cross-fitted predictions from {side}",
    "both": "accuracy of cross-fitted predictions from both",
    "rising": "accuracy that predictions from {side} gain when rows double",
    "few": "accuracy of predictions from {side} that saw the labelled training rows alone",
    "aligned": "accuracy that such predictions from {side} gain by what it shares with the other",
    **{f"correlation {n}": f"canonical correlation {n + 1}" for n in range(_CORRELATIONS)},
}
_OF_A_SIDE = frozenset(name for name, words in WORDS.items() if "{side}" in words)
_COMMON = frozenset(WORDS) - _OF_A_SIDE
_LOGARITHMS = ("rows", "labels", "labelled", "classes", "width")


@dataclass(frozen=True, kw_only=True)
class Features:
    """Numbers by name.

    Attributes:
        common: Of the pair.
        a: Of modality A.
        b: Of modality B.
    """

    common: Mapping[str, float]
    a: Mapping[str, float]
    b: Mapping[str, float]

    def vector(self, target: str) -> Floats:
        """Those of a target, in a fixed order: its own modality first, then the other's.

        Of `joint` the modalities' means, then how far apart they are: it has no first one.
        """
        own, other = (self.a, self.b) if target != "b" else (self.b, self.a)
        first, second = (np.array([side[name] for name in sorted(side)]) for side in (own, other))
        if target == "joint":
            first, second = (first + second) / 2, np.abs(first - second)
        return np.concatenate([[self.common[n] for n in sorted(self.common)], first, second])

    def outside(self, lowest: "Features", highest: "Features", margin: float) -> list[str]:
        """Say which numbers lie outside of a range and that share of it beyond, one line each."""
        lines = []
        for place, side in (("common", "both"), ("a", "A"), ("b", "B")):
            for name, value in getattr(self, place).items():
                low, high = (getattr(end, place)[name] for end in (lowest, highest))
                beyond = margin * (high - low)
                if not low - beyond <= value <= high + beyond:
                    shown = [_shown(name, number) for number in (value, low, high)]
                    lines.append(
                        f"{WORDS[name].format(side=side)}: {shown[0]}, where the corpus reaches "
                        f"from {shown[1]} to {shown[2]}"
                    )
        return lines

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return what `of` takes."""
        return {name: dict(part) for name, part in vars(self).items()}

    @classmethod
    def of(cls, told: Mapping[str, Mapping[str, float]]) -> "Features":
        """Read what `as_dict` wrote.

        Raises:
            ValueError: If it has other numbers than `features_of` measures, or one is not finite.
        """
        parts = {}
        for place, names in {"common": _COMMON, "a": _OF_A_SIDE, "b": _OF_A_SIDE}.items():
            part = {name: float(value) for name, value in told[place].items()}
            if differing := names ^ part.keys():
                raise ValueError(
                    f"features of {place} are of another version: {', '.join(sorted(differing))}"
                )
            if not all(map(math.isfinite, part.values())):
                raise ValueError(f"features of {place} have to be finite numbers")
            parts[place] = part
        return cls(**parts)


def features_of(dataset: PairedDataset, profile: Profile, *, seed: int = 0) -> Features:
    """Measure them, in seconds; test rows stay unseen.

    The telling ones are what aligning is for: how well a simple predictor of the label does that
    saw the labelled training rows alone (`few`), and how much better once it sees what the
    modality shares with the other, by all pairs, labelled or not (`aligned`).

    Args:
        dataset: Of classes; at most 10,000 of its rows are used, evenly spread.
        profile: Of it.
        seed: Of folds, random features and shuffles.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        rows = _spread(np.flatnonzero(dataset.split != Split.TEST))
        sides = {
            side: components(modality, rows, seed)
            for side, modality in zip(SIDES, (dataset.a, dataset.b), strict=True)
        }
        told, both = _told(sides, dataset, rows, seed)
        strengths, shared = _shared(sides, seed)
        trained = _trained(sides, shared, dataset, rows, seed)
    entropy = max(profile.entropy, 1e-9)
    common = _counts(dataset) | {
        "entropy": profile.entropy,
        "R": profile.R.value / entropy,
        "S": profile.S.value / entropy,
        "unsure": sum(e.high - e.low for e in (profile.R, profile.U_a, profile.U_b)) / entropy,
        "gate": _of_gate(profile.gate),
        "both": both,
    }
    common |= {f"correlation {n}": value for n, value in enumerate(strengths)}
    own = {
        side: {
            "width": float(np.log(max(modality.values[0].size, 1))),
            "U": unique.value / entropy,
            "predicts": _of_gate(gate),
            **told[side],
            **trained[side],
        }
        for side, modality, unique, gate in (
            ("a", dataset.a, profile.U_a, profile.b_from_a),
            ("b", dataset.b, profile.U_b, profile.a_from_b),
        )
    }
    return Features(common=common, **own)


def _shown(name: str, value: float) -> str:
    return f"{np.exp(value):.3g}" if name in _LOGARITHMS else f"{value:.3g}"


def _spread(rows: Indices) -> Indices:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).round().astype(np.int64)]


def _counts(dataset: PairedDataset) -> dict[str, float]:
    training = dataset.split == Split.TRAIN
    pairs, labelled = int(training.sum()), int((training & dataset.labelled).sum())
    classes = len(np.unique(dataset.y[dataset.labelled]))
    told = {"rows": pairs, "labels": labelled / classes, "labelled": labelled / pairs}
    return {n: float(np.log(value)) for n, value in (told | {"classes": classes}).items()}


def _of_gate(gate: Gate) -> float:
    """Logarithm of the ratio, at most two; 0 where nothing is shared."""
    if gate.ratio is not None:
        return float(np.clip(np.log(gate.ratio), -_SURE, _SURE))
    return _SURE * ((gate.signal > 0) - (gate.nuisance > 0))


def _told(
    sides: Mapping[str, Floats], dataset: PairedDataset, rows: Indices, seed: int
) -> tuple[dict[str, dict[str, float]], float]:
    """Accuracy of cross-fitted predictions of all labelled rows, and what half of them lack."""
    rng = np.random.default_rng([seed, 5])
    labelled = dataset.labelled[rows]
    y = np.unique(dataset.y[rows][labelled], return_inverse=True)[1]
    fold, coin = folds(y, None, rng), halves(len(y), None, rng)

    def accuracy(design: Floats, used: Any) -> float:
        return float((out_of_fold(design, y, fold, used).argmax(1) == y).mean())

    designs = {side: _design(x, rng)[labelled] for side, x in sides.items()}
    every = np.ones(len(y), dtype=bool)
    told = {}
    for side, design in designs.items():
        whole = accuracy(design, every)
        half = np.mean([accuracy(design, coin == which) for which in (0, 1)])
        told[side] = {"told": whole, "rising": float(whole - half)}
    return told, accuracy(np.hstack(list(designs.values())), every)


def _design(x: Floats, rng: np.random.Generator) -> Floats:
    return np.hstack([x, waves(x, rng)])


def _shared(sides: Mapping[str, Floats], seed: int) -> tuple[Floats, dict[str, Floats]]:
    """How strong the first shared components are, and each modality seen through all of them."""
    a, b = (whiten(sides[side]) for side in SIDES)
    left, strengths, right = shared_components(a, b, None, np.random.default_rng([seed, 6]))
    first = np.zeros(_CORRELATIONS)
    first[: strengths.size] = strengths[:_CORRELATIONS]
    return first, {"a": a @ left * strengths, "b": b @ right.T * strengths}


def _trained(
    sides: Mapping[str, Floats],
    shared: Mapping[str, Floats],
    dataset: PairedDataset,
    rows: Indices,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Accuracy on validation rows of what saw the labelled training rows alone."""
    y, labelled = dataset.y[rows], dataset.labelled[rows]
    codes = np.unique(dataset.y[dataset.labelled])
    seen, unseen = (
        labelled & (dataset.split[rows] == split) for split in (Split.TRAIN, Split.VALIDATION)
    )
    targets = (y[seen, None] == codes).astype(np.float64)

    def accuracy(x: Floats) -> float:
        design = _design(x, np.random.default_rng([seed, 7]))
        predicted = ridge(design[seen], targets, design[unseen])
        return float((codes[predicted.argmax(1)] == y[unseen]).mean())

    trained = {}
    for side, x in sides.items():
        alone = accuracy(x)
        gained = accuracy(shared[side]) - alone if shared[side].size else 0.0
        trained[side] = {"few": alone, "aligned": gained}
    return trained
