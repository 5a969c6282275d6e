"""Training of stacked replicates at one alignment strength λ.

L = L_task,A + L_task,B + λ·L_align (Fang et al., arXiv 2511.12121). At λ = 0 the alignment term
is not computed at all. Pairs without a label take part in L_align only, which the paper does not
have.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tuner.models.alignment import symmetric_info_nce
from tuner.models.compute.device import choose_device, full_precision, mixed_precision
from tuner.models.compute.randomness import random_state, seeded, set_random_state
from tuner.models.config import TrainingConfig
from tuner.models.encoders.pair import Branch, EncoderPair
from tuner.models.errors import TrainingDivergedError
from tuner.models.evaluation.similarity import (
    FEWEST_ROWS,
    similarities_and_null,
    spread_rows,
)
from tuner.models.outcome import (
    CURVES,
    KeptByAccuracy,
    Rule,
    TrainingOutcome,
    curve_names,
    joined,
    weights_name,
)
from tuner.models.rows import Rows, TrainingData
from tuner.models.training.checkpoint import Checkpoint
from tuner.models.training.kept import Keeper, Validation
from tuner.models.training.optimizer import StackedAdamW
from tuner.models.training.ranks import Ranks
from tuner.models.training.stacks import random_streams, stack_size
from tuner.models.training.tensors import RowTensors
from tuner.models.typing import Floats

# Rows that are evaluated at a time, in batches: without gradients, less memory than a step takes.
_EVALUATED = 4

# Of a checkpoint.
_PROGRESS = ("active", "curves")


def train(
    data: TrainingData,
    config: TrainingConfig,
    *,
    strength: float,
    seeds: Sequence[int],
    test: Rows | None = None,
    stack: int | None = None,
    device: str = "auto",
    checkpoint: Checkpoint | None = None,
) -> TrainingOutcome:
    """Train one encoder pair per seed at λ = `strength`.

    The result does not depend on `stack` but for rounding: replicates never mix.

    Args:
        data: Standardised rows.
        config: How to build and train, with encoders that are named: see
            `tuner.models.encoders.kinds.resolve`.
        strength: λ, at least 0.
        seeds: One per replicate. The same seed means the same initial weights and batch order at
            every λ.
        test: If given, also return the weights and the predictions for these rows, and in
            classification what the best validation accuracy keeps besides the least loss.
        stack: Replicates that share one optimizer step; None chooses by shape and device.
        device: `auto`, or a torch device.
        checkpoint: Where to go on from, and to keep what is not finished; it gives the same result.

    Raises:
        TrainingDivergedError: If a loss of any replicate is NaN or infinite.
        UnsupportedShapeError: If an encoder does not take inputs of its modality's shape.
        ValueError: If an encoder is still `auto`.
    """
    place = choose_device(device)
    size = stack or stack_size(config, rows=data.train.count, replicates=len(seeds), device=place)
    started = time.perf_counter()
    parts = (
        _StackTraining(
            data, config, strength, seeds[first : first + size], place, test, null_seed=seeds[0]
        ).run(checkpoint, first)
        for first in range(0, len(seeds), size)
    )
    return replace(reduce(joined, parts), seconds=time.perf_counter() - started)


def seconds_a_step(
    data: TrainingData,
    config: TrainingConfig,
    *,
    replicates: int,
    budget: float,
    device: str = "auto",
) -> float:
    """Try some steps at λ = 1, and return how many seconds one takes for each replicate.

    Args:
        data: Standardised rows.
        config: As of `train`.
        replicates: Seeds that are trained at a λ; as many of them share a step as in `train`.
        budget: Seconds to try for; one step is taken, however long that is.
        device: As of `train`.
    """
    place = choose_device(device)
    size = stack_size(config, rows=data.train.count, replicates=replicates, device=place)
    seeds = range(min(size, replicates))
    with seeded(0):
        return _StackTraining(data, config, 1.0, seeds, place).seconds_a_step(budget) / len(seeds)


class _StackTraining:
    """The training of one stack: its parameters, its optimizer and who is still active."""

    def __init__(
        self,
        data: TrainingData,
        config: TrainingConfig,
        strength: float,
        seeds: Sequence[int],
        device: torch.device,
        test: Rows | None = None,
        *,
        null_seed: int = 0,
    ) -> None:
        self._config, self._strength, self._seeds, self._device = config, strength, seeds, device
        self._null_seed = null_seed
        self._data, self._test, self._ranks = data, test, Ranks()
        self._at_a_time = _EVALUATED * config.batch_size
        self._train = self._tensors(data.train)
        same = data.train.same
        self._same = None if same is None else torch.from_numpy(same).to(self._train.place)
        self._validation = self._tensors(data.validation.labelled())
        streams = [random_streams(seed) for seed in seeds]
        self._orders = [order for _, order in streams]
        initial = [init for init, _ in streams]
        self._pair = EncoderPair(data.shapes, data.outputs, config, initial, padded=data.padded).to(
            device
        )
        self._optimizer = StackedAdamW(
            self._trained(), learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self._branches: dict[str, Branch] = {"a": self._pair.a, "b": self._pair.b}
        self._active = torch.arange(len(seeds))
        self._classifies = data.task == "classification"
        self._both = self._classifies and test is not None
        self._kept = {
            m: Keeper(branch, len(seeds), self._validation.count, both=self._both)
            for m, branch in self._branches.items()
        }
        self._fixed = {m: _data_of(branch) for m, branch in self._branches.items()}
        self._curves = {
            name: torch.full((len(seeds), config.epochs), torch.nan)
            for name in curve_names(data.task)
        }
        self._steps = 0

    def run(self, checkpoint: Checkpoint | None = None, part: int = 0) -> TrainingOutcome:
        with seeded(self._seeds[0]):  # for what a user's own encoder draws while it trains
            return self._run(checkpoint, part)

    def _run(self, checkpoint: Checkpoint | None, part: int) -> TrainingOutcome:
        state = None if checkpoint is None else checkpoint.load(part)
        # An earlier program kept less: its state is no beginning.
        epoch = self._restore(state) if state is not None and "kept" in state else 0
        while epoch < self._config.epochs and len(self._active):
            self._record(epoch, self._train_epoch())
            self._record(epoch, self._validate(epoch))
            self._retire(epoch)
            epoch += 1
            if checkpoint is not None and checkpoint.is_due() and self._ranks.own == 0:
                checkpoint.save(part, self._state(epoch))
        return self._outcome()

    def seconds_a_step(self, budget: float) -> float:
        """Train on the same batch for some seconds, and return how many a step takes."""
        batch = min(self._config.batch_size, self._train.count)
        order = torch.arange(batch).expand(len(self._seeds), batch).to(self._train.place)
        self._pair.train()
        self._step(order)  # the first makes what the others use
        steps, seconds, started = 0, 0.0, time.perf_counter()
        while seconds < budget:
            self._step(order)
            steps, seconds = steps + 1, time.perf_counter() - started
        return seconds / steps

    def _state(self, epoch: int) -> dict[str, Any]:
        """Return all that training goes on from: every tensor, and every source of randomness."""
        return {
            "epoch": epoch,
            "steps": self._steps,
            "tensors": {
                modality: {name: value.detach() for name, value in branch.tensors().items()}
                for modality, branch in self._branches.items()
            },
            "extra": {m: branch.extra_state() for m, branch in self._branches.items()},
            "optimizer": self._optimizer.state_dict(),
            "orders": [order.get_state() for order in self._orders],
            "random": random_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "kept": {m: keeper.state_dict() for m, keeper in self._kept.items()},
            **{name: getattr(self, f"_{name}") for name in _PROGRESS},
        }

    def _restore(self, state: dict[str, Any]) -> int:
        """Go back to a state, and return its epoch."""
        select = state["active"].to(self._device)
        for modality, branch in self._branches.items():
            for name, value in branch.tensors().items():
                value.data = state["tensors"][modality][name].to(self._device)
            for value in branch.fixed_tensors().values():
                value.data = value.data[select]
            branch.load_extra_state(state["extra"][modality])
        self._optimizer.load_state_dict(state["optimizer"])
        for order, value in zip(self._orders, state["orders"], strict=True):
            order.set_state(value)
        set_random_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])
        for modality, keeper in self._kept.items():
            keeper.load_state_dict(state["kept"][modality])
        for name in _PROGRESS:
            setattr(self, f"_{name}", state[name])
        self._steps = state["steps"]
        return int(state["epoch"])

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._pair.parameters() if parameter.requires_grad]

    def _train_epoch(self) -> dict[str, Tensor]:
        self._pair.train()
        rows = self._train.count
        batch = min(self._config.batch_size, rows)
        replicates = len(self._active)
        orders = torch.stack(
            [torch.randperm(rows, generator=self._orders[k]) for k in self._active]
        )
        sums = torch.zeros(3, replicates, device=self._device)
        steps = rows // batch
        orders = orders.to(self._train.place)
        batches = [orders[:, step * batch : (step + 1) * batch] for step in range(steps)]
        for order, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None:
                self._train.will_take(self._own(following))
            sums += self._step(order)
        self._steps += steps * replicates
        means = (sums / steps).cpu()
        return dict(zip(CURVES[:3], means, strict=True))

    def _step(self, order: Tensor) -> Tensor:
        """Take a step on a batch, of each replicate the rows `order` (replicates, batch)."""
        replicates, size = order.shape
        labelled = self._train.labelled[order].sum(-1).to(self._device)
        batch = self._train.take(self._own(order), replicates)
        embedding_a, output_a = self._apply("a", batch)
        embedding_b, output_b = self._apply("b", batch)
        task_a = self._task_loss(output_a, batch, labelled)
        task_b = self._task_loss(output_b, batch, labelled)
        total = task_a + task_b
        alignment = torch.zeros_like(task_a)
        if self._strength > 0:
            with self._mixed():
                projections = self._pair.a.project(embedding_a), self._pair.b.project(embedding_b)
            alignment = symmetric_info_nce(
                *(self._ranks.gather(part.to(total.dtype), size) for part in projections),
                temperature=self._config.temperature,
                same=None if self._same is None else self._same[order].to(self._device),
            )
            total = total + self._strength * alignment
        total.sum().backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        self._ranks.sum_gradients(self._pair.parameters())
        self._optimizer.step()
        tasks = self._ranks.sum(torch.stack([task_a.detach(), task_b.detach()]))
        return torch.cat([tasks, alignment.detach()[None]])

    def _tensors(self, rows: Rows) -> RowTensors:
        return RowTensors.of(rows, self._device)

    def _own(self, order: Tensor) -> Tensor:
        """Return what this rank takes of a batch, one replicate after another."""
        return order[:, self._ranks.share(order.shape[1])].reshape(-1)

    def _mixed(self) -> torch.autocast:
        return mixed_precision(self._device, self._config.precision)

    def _apply(
        self, modality: str, rows: RowTensors, *, exact: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embed and predict; the answers are float32, whatever the products were in.

        With `exact` these are float32, too: what is measured is what a registered encoder answers.
        """
        with full_precision(self._device) if exact else self._mixed():
            embedding, output = self._branches[modality](*rows.of_modality(modality))
        return embedding.to(rows.labelled.dtype), output.to(rows.labelled.dtype)

    def _task_loss(self, output: Tensor, rows: RowTensors, labelled: Tensor) -> Tensor:
        """Return the loss of each replicate's rows over so many labelled ones, (replicates,)."""
        return self._row_losses(output, rows).sum(-1) / labelled.clamp(min=1)

    def _row_losses(self, output: Tensor, rows: RowTensors) -> Tensor:
        """Return the loss of each row, 0 where it has no label, (replicates, rows)."""
        if self._classifies:
            return functional.cross_entropy(  # several times as fast as along the last axis
                output.mT, rows.y, reduction="none", ignore_index=-1
            )
        return (output.squeeze(-1) - rows.y).abs() * rows.labelled

    @torch.no_grad()
    def _validate(self, epoch: int) -> dict[str, Tensor]:
        curves = {}
        for modality, seen in self._validated().items():
            self._kept[modality].keep(self._branches[modality], self._active, seen, epoch)
            curves[f"validation_loss_{modality}"] = seen.loss
            if seen.accuracy is not None:
                curves[f"validation_accuracy_{modality}"] = seen.accuracy
        return curves

    def _validated(self) -> dict[str, Validation]:
        """Return what validation rows say of each modality."""
        self._pair.eval()
        replicates, rows = len(self._active), self._validation
        labelled = rows.labelled.sum().to(self._device)
        sums = {m: torch.zeros(2, replicates, device=self._device) for m in self._branches}
        each: dict[str, list[tuple[Tensor, ...]]] = {m: [] for m in self._branches}
        for part in rows.parts(self._at_a_time, replicates):
            for modality in self._branches:
                _, output = self._apply(modality, part)
                losses = self._row_losses(output, part)
                sums[modality][0] += losses.sum(-1) / labelled.clamp(min=1)
                if not self._classifies:
                    continue
                codes = output.argmax(-1)
                right = codes == part.y
                sums[modality][1] += right.sum(-1) / labelled.clamp(min=1)
                if self._both:
                    each[modality].append((losses, codes.int(), right))
        return {m: self._validation_of(sums[m], each[m]) for m in self._branches}

    def _validation_of(self, sums: Tensor, each: list[tuple[Tensor, ...]]) -> Validation:
        loss, accuracy = self._ranks.agree(sums).cpu()
        if not self._classifies:
            return Validation(loss=loss)
        if not self._both:
            return Validation(loss=loss, accuracy=accuracy)
        losses, codes, right = (torch.cat(part, -1).cpu() for part in zip(*each, strict=True))
        return Validation(loss=loss, accuracy=accuracy, losses=losses, codes=codes, right=right)

    def _record(self, epoch: int, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            lost = torch.nonzero(~torch.isfinite(value))
            if len(lost):
                replicate = int(self._active[lost[0, 0]])
                raise TrainingDivergedError(
                    f"{name} of the replicate with seed {self._seeds[replicate]} became "
                    f"{float(value[lost[0, 0]])} in epoch {epoch} at λ = {self._strength:.6g}"
                )
            self._curves[name][self._active, epoch] = value

    def _retire(self, epoch: int) -> None:
        """Take replicates out of the stack whose patience is at an end."""
        epochs = [keeper.weights["loss"].best.epoch for keeper in self._kept.values()]
        latest = torch.stack(epochs).amax(0)[self._active]
        going_on = epoch - latest < self._config.patience
        if bool(going_on.all()):
            return
        self._active = self._active[going_on]
        select = going_on.to(self._device)
        self._optimizer.select(select)
        others = [one for one in self._pair.parameters() if not one.requires_grad]
        for value in (*others, *self._pair.buffers()):
            value.data = value.data[select]

    @torch.no_grad()
    def _outcome(self) -> TrainingOutcome:
        self._pair.eval()  # one that goes on from its last epoch was not validated yet
        for modality, branch in self._branches.items():
            for name, value in branch.fixed_tensors().items():
                value.data = self._fixed[modality][name]
        by_loss = self._kept_by("loss")
        outcome = TrainingOutcome(
            strength=self._strength,
            seeds=np.asarray(self._seeds, dtype=np.int64),
            **by_loss,
            curves={name: values.numpy() for name, values in self._curves.items()},
            **self._similarity(),
            steps=self._steps,
            seconds=0.0,
            weights=None,
        )
        if self._both:
            crossed = {
                f"{rule}/{m}": one.codes.numpy()
                for m, keeper in self._kept.items()
                for rule, one in keeper.crossed.items()
            }
            by_accuracy = KeptByAccuracy(**self._kept_by("accuracy"), crossed=crossed)
            outcome = replace(outcome, by_accuracy=by_accuracy)
        return outcome if self._test is None else replace(outcome, weights=self._weights(outcome))

    def _kept_by(self, rule: Rule) -> dict[str, Any]:
        """Go back to the weights that a rule kept; return what they predict, and their epochs."""
        for modality, branch in self._branches.items():
            self._kept[modality].weights[rule].load_into(branch)
        test = None if self._test is None else self._tensors(self._test.labelled())
        return {
            "predictions": self._predict(self._validation),
            "test_predictions": None if test is None else self._predict(test),
            "best_epoch": {m: k.weights[rule].best.epoch.numpy() for m, k in self._kept.items()},
        }

    def _weights(self, outcome: TrainingOutcome) -> dict[str, dict[str, Floats]]:
        """The weights of the best replicate, of each modality and rule."""
        return {
            weights_name(modality, rule): kept.of_replicate(outcome.best_replicate(modality, rule))
            for modality, keeper in self._kept.items()
            for rule, kept in keeper.weights.items()
        }

    def _similarity(self) -> dict[str, Any]:
        """What of an outcome says how alike A and B are, of the weights that are loaded."""
        if self._data.validation.count < FEWEST_ROWS:
            return {"similarity": {}, "similarity_null": {}}
        rows = self._tensors(self._data.validation)
        index = torch.from_numpy(spread_rows(rows.count)).to(rows.place)
        rows = rows.take(index, 1).stacked(len(self._seeds))
        a, b = (self._apply(m, rows, exact=True)[0].cpu().numpy() for m in self._branches)
        compared = [
            similarities_and_null(one, other, seed=self._null_seed)
            for one, other in zip(a, b, strict=True)
        ]
        names = compared[0][0]
        return {
            "similarity": {
                name: np.array([measured[name] for measured, _ in compared]) for name in names
            },
            "similarity_null": {
                name: np.array([null[name] for _, null in compared], dtype=np.float32)
                for name in names
            },
        }

    def _predict(self, rows: RowTensors) -> dict[str, NDArray[np.generic]]:
        parts = [
            [
                self._data.decode(self._apply(m, part, exact=True)[1].cpu().numpy())
                for m in self._branches
            ]
            for part in rows.parts(self._at_a_time, len(self._seeds))
        ]
        whole = [np.concatenate(side, axis=1) for side in zip(*parts, strict=True)]
        return dict(zip(self._branches, whole, strict=True))


def _data_of(branch: Branch) -> dict[str, Tensor]:
    return {name: value.data for name, value in branch.fixed_tensors().items()}
