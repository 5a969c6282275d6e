"""Which λs were still learning when their epochs ended: strong alignment learns slowly.

What such a λ scores says what so few epochs do, not what so strong an alignment does. The rule was
chosen on validation losses recorded every epoch, at six λs and 5 to 400 epochs on digits, `mfeat`
and planted worlds: wherever it holds, more epochs lowered the loss, and the score with it; where it
does not, at most .01 of accuracy was to be had.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tuner.models.outcome import TrainingOutcome
from tuner.study.answer import Side
from tuner.study.scoring.targets import Target
from tuner.typing import Array

_PART = 5  # of the epochs: the last fifth
_SHARE = 0.01  # of all that the loss fell
LOSSES = ("validation_loss", "val_loss", "eval_loss")  # as trainers of others call it, too
_SIDES: dict[Target, tuple[Side, ...]] = {"a": ("a",), "b": ("b",), "joint": ("a", "b")}


def epochs_wanted(outcome: TrainingOutcome, side: Side) -> int | None:
    """How many epochs would do; None if the training had learned out.

    It had not if a hundredth or more of all that the validation loss fell since the first epoch, it
    fell in the last fifth of the epochs (median over replicates; those that ran out of patience had
    learned out). The share falls at least as 1/epochs, which gives the number that would do; on
    the curves above it did in all cases.

    Args:
        outcome: Of a training.
        side: The modality whose loss is meant.
    """
    return _epochs_wanted(outcome.curves[f"validation_loss_{side}"])


def still_learning(outcomes: Iterable[TrainingOutcome]) -> tuple[str, ...]:
    """Name the λs at which users' own code was still learning when its trainings ended.

    It was if most trainings of that λ were, by the rule of `epochs_wanted` and the first of
    `LOSSES` that they told after their epochs.

    Args:
        outcomes: Of trainings of one seed each.
    """
    times: dict[float, list[float]] = {}
    for outcome in outcomes:
        losses = next((outcome.curves[name] for name in LOSSES if name in outcome.curves), None)
        if losses is not None and losses.shape[1] >= _PART:
            wanted = (_epochs_wanted(losses) or 0) / losses.shape[1]
            times.setdefault(outcome.strength, []).append(wanted)
    typical = {strength: float(np.median(wanted)) for strength, wanted in times.items()}
    slow = sorted(strength for strength, wanted in typical.items() if wanted > 1)
    if not slow:
        return ()
    enough = max(typical[strength] for strength in slow)
    return (
        "Still learning when its epochs ended, by the validation loss: "
        f"{_named(slow, sorted(times))}. What is lost there may be for want of epochs: "
        f"{enough:.2g} times as many would do.",
    )


def _epochs_wanted(losses: Array) -> int | None:
    """How many epochs would do, by losses of shape (replicates, epochs): see `epochs_wanted`."""
    replicates, epochs = losses.shape
    if epochs == 1:
        return math.ceil(1 / _SHARE)
    least = np.fmin.accumulate(losses, axis=1)
    fell = least[:, 0] - least[:, -1]
    lately = least[:, -1 - max(1, epochs // _PART)] - least[:, -1]
    share = np.divide(lately, fell, out=np.zeros(replicates), where=fell > 0)
    share[np.isnan(losses[:, -1])] = 0
    late = float(np.median(share))
    return None if late < _SHARE else _rounded_up(epochs * late / _SHARE)


@dataclass(frozen=True, kw_only=True)
class StillLearning:
    """The λs that were still learning, of searches and confirmations together.

    Attributes:
        epochs: Of every training.
        tried: Every λ.
        wanted: By modality, how many epochs would do at each λ that was still learning.
        steps: Of an epoch.
        max_steps: Of a training, at most; 0 for any.
    """

    epochs: int
    tried: tuple[float, ...]
    wanted: dict[Side, dict[float, int]]
    steps: float = 0.0
    max_steps: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[TrainingOutcome], epochs: int, max_steps: int) -> Self:
        """Look at full trainings; of users' own code no losses are known, nor what they are of.

        Args:
            outcomes: What came of them.
            epochs: As of the class.
            max_steps: As of the class.
        """
        trained = list(outcomes)
        wanted: dict[Side, dict[float, int]] = {"a": {}, "b": {}}
        for side, known in wanted.items():
            for outcome in trained:
                if f"validation_loss_{side}" not in outcome.curves:
                    continue
                needed = epochs_wanted(outcome, side)
                if needed is not None:
                    known[outcome.strength] = max(needed, known.get(outcome.strength, 0))
        tried = tuple(sorted({outcome.strength for outcome in trained}))
        made = sum(
            np.isfinite(curve).sum()
            for outcome in trained
            if (curve := outcome.curves.get("validation_loss_a")) is not None
        )
        steps = sum(outcome.steps for outcome in trained) / made if made else 0.0
        return cls(epochs=epochs, tried=tried, wanted=wanted, steps=steps, max_steps=max_steps)

    def strengths(self, target: Target) -> frozenset[float]:
        """The λs at which an encoder of the target was still learning."""
        return frozenset(
            strength for side in _SIDES.get(target, ()) for strength in self.wanted[side]
        )

    def enough(self, target: Target) -> int | None:
        """How many epochs would do at every λ; None if they did."""
        return max(
            (n for side in _SIDES.get(target, ()) for n in self.wanted[side].values()), default=None
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Name the λs, and the number of epochs that would do."""
        enough = self.enough("joint")
        if enough is None:
            return ()
        where = {
            side.upper(): _named(sorted(self.wanted[side]), self.tried)
            for side in _SIDES["joint"]
            if self.wanted[side]
        }
        if len(set(where.values())) == 1:
            where = {" and ".join(where): next(iter(where.values()))}
        named = "; ".join(f"{whose} at {strengths}" for whose, strengths in where.items())
        options = f"--epochs {enough}"
        if (steps := math.ceil(enough * self.steps)) > self.max_steps > 0:
            options += f" --max-steps {steps}"
        after = f"{self.epochs:,} epoch{'s' * (self.epochs != 1)}"
        return (
            f"Still learning after {after}, by the validation loss: {named}. What is lost there "
            f"may be for want of epochs, and decides nothing; {enough:,} would do "
            f"({options}).",
        )


def _named(strengths: Sequence[float], tried: Sequence[float]) -> str:
    """Write λs, sorted as those that were tried: all of these from one on, or each."""
    above = [strength for strength in tried if strength >= strengths[0]]
    if list(strengths) == list(tried):
        return "every λ"
    if len(strengths) > 2 and list(strengths) == above:
        return f"every λ from {strengths[0]:.3g} on"
    *first, last = (f"{strength:.3g}" for strength in strengths)
    return f"λ = {', '.join(first)} and {last}" if first else f"λ = {last}"


def _rounded_up(epochs: float) -> int:
    """Two digits of it, and never fewer."""
    unit: int = 10 ** max(math.floor(math.log10(epochs)) - 1, 0)
    return math.ceil(epochs / unit) * unit
