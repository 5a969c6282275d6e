"""What training gives; loads without torch."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from tuner.models.typing import Array, Floats, Ints, Mask

CURVES = (
    "train_loss_a",
    "train_loss_b",
    "alignment_loss",
    "validation_loss_a",
    "validation_loss_b",
)

ACCURACY_CURVES = ("validation_accuracy_a", "validation_accuracy_b")  # of classification

Rule = Literal["loss", "accuracy"]  # whose best epoch on validation rows is kept
RULES: tuple[Rule, ...] = ("loss", "accuracy")

_KEPT = ("predictions", "test_predictions", "best_epoch")
_CROSSED = "crossed"
_BY_ACCURACY = "by_accuracy"
_ARRAYS = (
    "predictions",
    "test_predictions",
    "best_epoch",
    "curves",
    "similarity",
    "similarity_null",
    "together",
)
_SCALARS = ("strength", "steps", "seconds", "environment")


def curve_names(task: str) -> tuple[str, ...]:
    """Names of what is recorded every epoch."""
    return CURVES + (ACCURACY_CURVES if task == "classification" else ())


def weights_name(modality: str, rule: Rule) -> str:
    """Name, among an outcome's weights, of those that a rule kept."""
    return modality if rule == "loss" else f"{modality}_by_{rule}"


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptByAccuracy:
    """What the same training keeps by the best validation accuracy; of equals, by the least loss.

    Attributes:
        predictions: As of `TrainingOutcome`.
        test_predictions: The same.
        best_epoch: The same.
        crossed: Per rule and modality (`loss/a`), (S, rows) class codes for the labelled validation
            rows: for each half of them by the epoch that the other half chose.
    """

    predictions: dict[str, NDArray[np.generic]]
    test_predictions: dict[str, NDArray[np.generic]]
    best_epoch: dict[str, Ints]
    crossed: dict[str, NDArray[np.generic]]


def pair_name(rules: Mapping[str, Rule], name: str) -> str:
    """Name, among an outcome's `together`, of what a pair of kept weights measures."""
    return f"{rules['a']}/{rules['b']}/{name}"


def _all_by_loss() -> dict[str, Rule]:
    return dict.fromkeys(("a", "b"), "loss")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOutcome:
    """What training S replicates at one λ gave.

    Attributes:
        strength: λ.
        seeds: (S,) one seed per replicate: initial weights and batch order.
        predictions: Per modality, (S, rows) predictions for the labelled validation rows, by the
            weights of the epoch with the least validation loss: class codes or values.
        test_predictions: The same for the labelled test rows; None unless these were given.
        best_epoch: Per modality, (S,) the epoch whose weights were kept, from 0.
        curves: Per name, (S, epochs) one value an epoch, NaN after the replicate stopped.
        similarity: Per measure of `tuner.models.evaluation.similarity`, (S,) how alike the
            embeddings of A and B are on validation rows, labelled or not, by the weights that were
            kept. Empty if there are too few rows.
        similarity_null: Per measure, (S, permutations) the same with the rows of B permuted, those
            of all replicates alike. Empty where it was trained before there was a null.
        steps: Gradient steps, summed over replicates.
        seconds: Wall-clock seconds of training.
        weights: Per modality and rule (`weights_name`), the state of the branch of the rule's
            `best_replicate` (first axis 1), but for what is frozen; None unless test rows were
            given.
        by_accuracy: What another rule keeps; None for regression, where there is no other, and
            unless test rows were given.
        environment: Where and how it was computed: `device`, `precision`, `torch` (its version),
            `deterministic` (yes, or why not), and on a GPU `gpu` (its name), `cuda` and `tf32`.
            Empty where it was trained before this was written down.
        rules: Per modality, what all of these were kept by: see `kept_by`.
        together: Per pair of rules and name (`pair_name`), (S, rows) what both encoders do together
            on the labelled test rows: see `tuner.models.training.together`. Empty unless test rows
            were given, and where it was trained before this was measured.
    """

    strength: float
    seeds: Ints
    predictions: dict[str, NDArray[np.generic]]
    test_predictions: dict[str, NDArray[np.generic]] | None
    best_epoch: dict[str, Ints]
    curves: dict[str, Floats]
    similarity: dict[str, Floats]
    steps: int
    seconds: float
    weights: dict[str, dict[str, Floats]] | None
    similarity_null: dict[str, Floats] = field(default_factory=dict)
    by_accuracy: KeptByAccuracy | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=_all_by_loss)
    together: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def pair(self) -> dict[str, NDArray[np.generic]]:
        """What both encoders do together by the weights that the rules kept, by name."""
        return _below(self.together, pair_name(self.rules, "").removesuffix("/"))

    def kept_by(self, rules: Mapping[str, Rule]) -> "TrainingOutcome":
        """Return the outcome of the same training if each modality's rule alone had kept.

        What has no other rule stays as it is, and so do similarities, which are of pairs.
        """
        other = self.by_accuracy
        if other is None or rules == self.rules:
            return self
        kept: dict[str, Any] = {
            name: {
                m: getattr(other if rules[m] == "accuracy" else self, name)[m] for m in self.rules
            }
            for name in _KEPT
        }
        return replace(self, **kept, rules=rules)

    def placed(self, rows: Mask) -> "TrainingOutcome":
        """Return it with test predictions for more rows.

        Args:
            rows: (all rows,), True for those that it was tested on; for others -1 or NaN stands.
        """
        return self._tested(partial(_among, rows))

    def validated_among(self, rows: Mask) -> "TrainingOutcome":
        """Return it with validation predictions for more rows: as `placed`, of these."""

        def among(told: dict[str, Any]) -> dict[str, Any]:
            return {name: _among(rows, values) for name, values in told.items()}

        other = self.by_accuracy
        if other is not None:
            theirs, crossed = among(other.predictions), among(other.crossed)
            other = replace(other, predictions=theirs, crossed=crossed)
        return replace(self, predictions=among(self.predictions), by_accuracy=other)

    def in_order(self, replicates: Sequence[int]) -> "TrainingOutcome":
        """Return it with its replicates in another order."""
        index = np.asarray(replicates)

        def ordered(whole: Any, names: Sequence[str]) -> dict[str, Any]:
            parts = {name: getattr(whole, name) for name in names}
            return {
                name: {key: values[index] for key, values in part.items()}
                for name, part in parts.items()
                if part is not None
            }

        other = self.by_accuracy
        if other is not None:
            other = replace(other, **ordered(other, (*_KEPT, _CROSSED)))
        return replace(self, seeds=self.seeds[index], by_accuracy=other, **ordered(self, _ARRAYS))

    def tested_on(self, rows: Mask) -> "TrainingOutcome":
        """Return it with test predictions for some of the rows alone, a mask (all rows,)."""
        return self._tested(lambda told: told[:, rows])

    def _tested(self, change: Callable[[Any], Any]) -> "TrainingOutcome":
        """Change what is told of test rows, by every rule."""
        told, other = self.test_predictions or {}, self.by_accuracy
        if other is not None:
            theirs = {m: change(values) for m, values in other.test_predictions.items()}
            other = replace(other, test_predictions=theirs)
        mine = {m: change(values) for m, values in told.items()} or None
        together = {name: change(values) for name, values in self.together.items()}
        return replace(self, test_predictions=mine, by_accuracy=other, together=together)

    def best_loss(self, modality: str) -> Floats:
        """Least validation loss of each replicate, (S,)."""
        least: Floats = np.nanmin(self.curves[f"validation_loss_{modality}"], axis=1)
        return least

    def best_replicate(self, modality: str, rule: Rule | None = None) -> int:
        """The replicate that is best by a rule, its own: test rows have no part in the choice."""
        losses = self.best_loss(modality)
        if self.by_accuracy is None or (rule or self.rules[modality]) == "loss":
            return int(losses.argmin())
        epochs = self.by_accuracy.best_epoch[modality]
        loss, accuracy = (
            self.curves[f"validation_{name}_{modality}"][np.arange(len(epochs)), epochs]
            for name in RULES
        )
        return int(np.lexsort((loss, -accuracy))[0])

    def to_bytes(self) -> bytes:
        """Write it as an `.npz` (no pickle), compressed but for the weights, which are noise."""
        arrays: dict[str, Array] = {"seeds": self.seeds}
        for part in _ARRAYS:
            for name, values in (getattr(self, part) or {}).items():
                arrays[f"{part}/{name}"] = values
        for name in (*_KEPT, _CROSSED) if self.by_accuracy is not None else ():
            for key, values in getattr(self.by_accuracy, name).items():
                arrays[f"{_BY_ACCURACY}/{name}/{key}"] = values
        for modality, state in (self.weights or {}).items():
            for name, values in state.items():
                arrays[f"weights/{modality}/{name}"] = values
        scalars = {name: getattr(self, name) for name in _SCALARS} | {
            "environment": dict(self.environment)
        }
        arrays["scalars"] = np.frombuffer(json.dumps(scalars).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        with ZipFile(buffer, "w") as archive:
            for name, values in arrays.items():
                entry = ZipInfo(f"{name}.npy")
                entry.compress_type = ZIP_STORED if name.startswith("weights/") else ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingOutcome":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        parts: dict[str, Any] = {part: _below(arrays, part) for part in _ARRAYS}
        names = [weights_name(m, rule) for m in ("a", "b") for rule in RULES]
        weights = {name: _below(arrays, f"weights/{name}") for name in names}
        other = {f: _below(arrays, f"{_BY_ACCURACY}/{f}") for f in (*_KEPT, _CROSSED)}
        return cls(
            seeds=arrays["seeds"],
            **parts | {"test_predictions": parts["test_predictions"] or None},
            weights={name: state for name, state in weights.items() if state} or None,
            by_accuracy=KeptByAccuracy(**other) if any(other.values()) else None,
            **json.loads(arrays["scalars"].tobytes()),
        )


def _among(rows: Mask, told: NDArray[np.generic]) -> NDArray[np.generic]:
    """(S, all rows): what is told of some of them, and -1 or NaN of others."""
    nothing = np.nan if told.dtype.kind == "f" else -1
    whole = np.full((len(told), len(rows)), nothing, dtype=told.dtype)
    whole[:, rows] = told
    return whole


def joined(first: TrainingOutcome, second: TrainingOutcome) -> TrainingOutcome:
    """Join two stacks of one training along the replicate axis.

    Of weights, those of the better stack's replicate are kept. Seconds are not added up.
    """

    def both(one: Any, other: Any, name: str) -> dict[str, Any]:
        mine, theirs = getattr(one, name), getattr(other, name)
        # An earlier program did not measure all, and few validation rows have no similarity.
        return {n: np.concatenate([mine[n], theirs[n]]) for n in mine if n in theirs}

    arrays: dict[str, Any] = {
        name: both(first, second, name) for name in _ARRAYS if getattr(first, name) is not None
    }
    one, other = first.by_accuracy, second.by_accuracy
    if one is not None and other is not None:
        kept = {name: both(one, other, name) for name in (*_KEPT, _CROSSED)}
        arrays["by_accuracy"] = KeptByAccuracy(**kept)
    seeds = np.concatenate([first.seeds, second.seeds])
    whole = replace(first, **arrays, seeds=seeds, steps=first.steps + second.steps)
    if first.weights is None or second.weights is None:
        return whole
    weights = {}
    for modality in whole.rules:
        for rule in RULES[: 1 if whole.by_accuracy is None else 2]:
            name, best = weights_name(modality, rule), whole.best_replicate(modality, rule)
            weights[name] = (first.weights if best < len(first.seeds) else second.weights)[name]
    return replace(whole, weights=weights)


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(f"{prefix}/"): values
        for name, values in arrays.items()
        if name.startswith(f"{prefix}/")
    }
