"""What is kept of a training, and by which rule: the epoch of least loss or of best accuracy.

Both are of validation rows. The least loss rules how long is trained, too. Which rule serves better
is seen on rows that had no part in the choice of the epoch: for each half of the validation rows,
by what the other half would have kept (`CrossedAnswers`).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuner.models.encoders.pair import Branch, packed_extra_state
from tuner.models.outcome import RULES, Rule
from tuner.models.typing import Floats

_HALVES = 2
_CRITERIA: dict[Rule, int] = {"loss": 1, "accuracy": 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """What an epoch's validation says of one modality of the replicates that are still trained.

    Attributes:
        loss: (active,) mean loss.
        accuracy: (active,) share of rows that are right; None for regression.
        losses: (active, rows) of each row; None, like `codes` and `right`, unless both rules keep.
        codes: (active, rows) class codes.
        right: (active, rows) whether these are right.
    """

    loss: Tensor
    accuracy: Tensor | None = None
    losses: Tensor | None = None
    codes: Tensor | None = None
    right: Tensor | None = None


class BestEpoch:
    """The best epoch so far of each replicate: of least value, the first of equals.

    Attributes:
        values: (criteria, replicates) what it had; a later criterion decides between equals.
        epoch: (replicates,) from 0.
    """

    def __init__(self, replicates: int, *, criteria: int) -> None:
        self.values = torch.full((criteria, replicates), torch.inf)
        self.epoch = torch.zeros(replicates, dtype=torch.int64)

    def improve(self, active: Tensor, values: Tensor, epoch: int) -> Tensor:
        """Take an epoch for the best of those that it is better for; return which, (active,).

        Args:
            active: Numbers of the replicates that are still trained, ascending.
            values: Theirs, (criteria, active).
            epoch: Which one it is.
        """
        better = torch.zeros(len(active), dtype=torch.bool)
        equal = ~better
        for value, best in zip(values, self.values[:, active], strict=True):
            better |= equal & (value < best)
            equal &= value == best
        self.values[:, active[better]] = values[:, better]
        self.epoch[active[better]] = epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later epoch is compared with."""
        return {"values": self.values, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.values, self.epoch = state["values"], state["epoch"]


class BestWeights:
    """The weights of a modality's replicates at the best epoch of each.

    Attributes:
        best: Which epoch that is.
        tensors: Those of the branch, copied.
    """

    def __init__(self, branch: Branch, replicates: int, *, criteria: int) -> None:
        self.best = BestEpoch(replicates, criteria=criteria)
        self.tensors = {name: value.detach().clone() for name, value in branch.tensors().items()}
        self._extra = branch.extra_state()

    def keep(self, branch: Branch, active: Tensor, values: Tensor, epoch: int) -> None:
        """Copy the weights of the replicates that are better now: see `BestEpoch.improve`."""
        better = self.best.improve(active, values, epoch).nonzero().squeeze(1)
        if not len(better):
            return
        # By numbers, which go to a GPU once: of a mask it would tell the host the size each time.
        device = next(iter(self.tensors.values())).device
        source, target = better.to(device), active[better].to(device)
        for name, value in branch.tensors().items():
            self.tensors[name][target] = value[source]
        self._extra = branch.extra_state()

    def load_into(self, branch: Branch) -> None:
        """Give a branch the weights that are kept."""
        for name, value in branch.tensors().items():
            value.data = self.tensors[name]
        branch.load_extra_state(self._extra)

    def of_replicate(self, replicate: int) -> dict[str, Floats]:
        """Return the weights of one replicate, its axis kept."""
        state = self.tensors.items()
        weights = {name: value[replicate : replicate + 1].cpu().numpy() for name, value in state}
        return weights | packed_extra_state(self._extra)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""
        return {"best": self.best.state_dict(), "tensors": self.tensors, "extra": self._extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.best.load_state_dict(state["best"])
        self.tensors = {
            name: state["tensors"][name].to(value.device) for name, value in self.tensors.items()
        }
        self._extra = state["extra"]


class CrossedAnswers:
    """Class codes for validation rows at the epoch that the other half of these rows chose.

    Every second row is of the same half: rows that are sorted by class are spread evenly.

    Attributes:
        codes: (replicates, rows).
    """

    def __init__(self, replicates: int, rows: int, *, criteria: int) -> None:
        self._best = [BestEpoch(replicates, criteria=criteria) for _ in range(_HALVES)]
        self.codes = torch.zeros((replicates, rows), dtype=torch.int32)

    def keep(self, codes: Tensor, active: Tensor, values: list[Tensor], epoch: int) -> None:
        """Keep the answers of the replicates for which a half is better now.

        Args:
            codes: Answers of those that are still trained, (active, rows).
            active: Numbers of these.
            values: Of each half of the rows, (criteria, active).
            epoch: Which one it is.
        """
        for half, best in enumerate(self._best):
            better = best.improve(active, values[half], epoch)
            others = torch.arange(1 - half, self.codes.shape[1], _HALVES)
            self.codes[active[better][:, None], others] = codes[better][:, others]

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""
        return {"best": [best.state_dict() for best in self._best], "codes": self.codes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for best, kept in zip(self._best, state["best"], strict=True):
            best.load_state_dict(kept)
        self.codes = state["codes"]


class Keeper:
    """What is kept of one modality: by the least loss, and where `both`, by the best accuracy.

    Of equal accuracies it is the one of less loss.

    Attributes:
        weights: By rule.
        crossed: By rule; empty unless `both`.
    """

    def __init__(self, branch: Branch, replicates: int, rows: int, *, both: bool) -> None:
        rules = RULES if both else RULES[:1]
        self.weights = {
            rule: BestWeights(branch, replicates, criteria=_CRITERIA[rule]) for rule in rules
        }
        self.crossed = {
            rule: CrossedAnswers(replicates, rows, criteria=_CRITERIA[rule])
            for rule in (rules if both else ())
        }

    def keep(self, branch: Branch, active: Tensor, seen: Validation, epoch: int) -> None:
        """Keep what is better after an epoch, of the replicates `active`."""
        for rule, weights in self.weights.items():
            weights.keep(branch, active, _criteria(rule, seen.loss, seen.accuracy), epoch)
        if seen.losses is None or seen.codes is None or seen.right is None:
            return
        halves = list(zip(_by_half(seen.losses), _by_half(seen.right), strict=True))
        for rule, crossed in self.crossed.items():
            values = [_criteria(rule, loss, right) for loss, right in halves]
            crossed.keep(seen.codes, active, values, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""
        return {
            "weights": {rule: kept.state_dict() for rule, kept in self.weights.items()},
            "crossed": {rule: kept.state_dict() for rule, kept in self.crossed.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for rule, weights in self.weights.items():
            weights.load_state_dict(state["weights"][rule])
        for rule, crossed in self.crossed.items():
            crossed.load_state_dict(state["crossed"][rule])


def _criteria(rule: Rule, loss: Tensor, accuracy: Tensor | None) -> Tensor:
    """What is to be least, (criteria, replicates)."""
    return loss[None] if accuracy is None or rule == "loss" else torch.stack([-accuracy, loss])


def _by_half(values: Tensor) -> list[Tensor]:
    """Sum over each half of the rows, (replicates,) of each."""
    return [values[:, half::_HALVES].sum(-1) for half in range(_HALVES)]
