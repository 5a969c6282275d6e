"""Training of stacked replicates at one alignment strength λ: see `objective`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tuner.models.compute.device import choose_device, described, deterministic
from tuner.models.compute.randomness import (
    random_state,
    random_streams,
    seeded,
    set_random_state,
)
from tuner.models.compute.ranks import Ranks
from tuner.models.compute.replay import Replay, recorder
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module
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
from tuner.models.training.memory import Portion, in_portions, replicates_that_fit
from tuner.models.training.objective import Objective
from tuner.models.training.optimizer import StackedAdamW
from tuner.models.training.stacks import stack_size
from tuner.models.training.telling import Teller
from tuner.models.training.tensors import RowTensors
from tuner.models.training.together import PairMeasurements
from tuner.models.typing import Floats

# Rows that are evaluated at a time, in batches: without gradients, less memory than a step takes.
_EVALUATED = 4
_FEWEST_TRIED = 5  # steps that tell how long one takes
_PATIENCE = 3  # times the seconds that are given to fewer

# Of a checkpoint.
_PROGRESS = ("active", "curves")


def train(
    data: TrainingData,
    config: TrainingConfig,
    *,
    strength: float,
    seeds: Sequence[int],
    test: Rows | None = None,
    among: Sequence[int] | None = None,
    stack: int | None = None,
    device: str = "auto",
    checkpoint: Checkpoint | None = None,
) -> TrainingOutcome:
    """Train one encoder pair per seed at λ = `strength`.

    The result does not depend on `stack` but for rounding: replicates never mix. Where memory runs
    out, smaller stacks are trained, then one replicate with a part of its batch at a time.

    Args:
        data: Standardised rows.
        config: How to build and train, with encoders that are named: see `encoders.kinds.resolve`.
        strength: λ, at least 0.
        seeds: One per replicate. The same seed means the same initial weights and batch order at
            every λ.
        test: If given, also return the weights and the predictions for these rows, and in
            classification what the best validation accuracy keeps besides the least loss.
        among: Seeds of the whole trial, if `seeds` are a part of it: see `stacks.part_size`. They
            are trained as if all were; None if they are all.
        stack: Replicates that share a step, at most; None chooses by shape and by memory.
        device: `auto`, or a torch device.
        checkpoint: Where to go on from, and to keep what is not finished; it gives the same result.

    Raises:
        TrainingDivergedError: If a loss of any replicate is NaN or infinite.
        NoMemoryError: If memory runs out for the least that can be trained at a time.
        DeviceError: If the GPU is lost, or lacks the precision that is asked for.
        UnsupportedShapeError: If an encoder does not take inputs of its modality's shape.
        ValueError: If an encoder is still `auto`.
    """
    place, started = choose_device(device), time.perf_counter()
    stacks = _Stacks(data, config, strength, seeds, among or seeds, place, test, checkpoint)
    with deterministic(place) as nondeterministic:
        outcome = stacks.train(stack)
    how = described(place, config.precision, nondeterministic, stacks.not_replayed)
    return replace(outcome, seconds=time.perf_counter() - started, environment=how)


@dataclass(frozen=True, eq=False)
class _Stacks:
    """What `train` is asked for, as one stack of replicates after another."""

    data: TrainingData
    config: TrainingConfig
    strength: float
    seeds: Sequence[int]
    among: Sequence[int]
    device: torch.device
    test: Rows | None
    checkpoint: Checkpoint | None
    not_replayed: list[str] = field(default_factory=list)

    def train(self, most: int | None) -> TrainingOutcome:
        """Train stacks of `most` replicates, or of as many as are fast and fit in memory."""
        count, config = len(self.seeds), self.config
        size = most or _stack_size(self.data, config, len(self.among), self.device)
        if most is None:
            size = replicates_that_fit(size, self._rehearse, self.device)
        whole = Portion(replicates=size)
        return reduce(
            joined, in_portions(self._trained, whole, count, config.batch_size, self.device)
        )

    def _rehearse(self) -> int:
        return self._stack(self.seeds[:1]).rehearse()

    def _trained(self, first: int, portion: Portion) -> TrainingOutcome:
        own = self.seeds[first : first + portion.replicates]
        teller = Teller(
            ended=first,
            stacked=len(own),
            epochs=self.config.epochs,
            patience=self.config.patience,
        )
        place = list(self.among).index(self.seeds[0]) + first
        return self._stack(own, portion.rows).run(teller, self.checkpoint, place)

    def _stack(self, own: Sequence[int], rows: int | None = None) -> "_StackTraining":
        return _StackTraining(
            self.data,
            self.config,
            self.strength,
            own,
            self.device,
            self.test,
            null_seed=self.among[0],
            rows=rows,
            not_replayed=self.not_replayed,
        )


def _stack_size(
    data: TrainingData, config: TrainingConfig, replicates: int, device: torch.device
) -> int:
    on_cpu = device.type == "cpu"
    return stack_size(
        config, rows=data.train.count, shapes=data.shapes, replicates=replicates, on_cpu=on_cpu
    )


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
        budget: Seconds to try for, three times that if steps are long; one is taken, however long.
        device: As of `train`.
    """
    place = choose_device(device)
    size = _stack_size(data, config, replicates, place)
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
        rows: int | None = None,
        not_replayed: list[str] | None = None,
    ) -> None:
        self._config, self._strength, self._seeds, self._device = config, strength, seeds, device
        self._null_seed = null_seed
        self._data, self._test, self._ranks = data, test, Ranks()
        self._rows = rows
        self._at_a_time = rows or _EVALUATED * config.batch_size
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
        self._not_replayed = [] if not_replayed is None else not_replayed
        self._replayed = self._replay()
        self._classifies = data.task == "classification"
        self._objective = self._objective_of(rows)
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

    def _objective_of(self, rows: int | None) -> Objective:
        return Objective(
            self._pair,
            self._config,
            strength=self._strength,
            classifies=self._classifies,
            device=self._device,
            ranks=self._ranks,
            rows=None if self._pair.mixes_rows else rows,
        )

    @property
    def _own_seeds(self) -> list[int]:
        return [int(seed) for seed in self._seeds]

    def run(
        self, teller: Teller, checkpoint: Checkpoint | None = None, part: int = 0
    ) -> TrainingOutcome:
        with seeded(self._seeds[0]):  # for what a user's own encoder draws while it trains
            return self._run(teller, checkpoint, part)

    def _run(self, teller: Teller, checkpoint: Checkpoint | None, part: int) -> TrainingOutcome:
        state = None if checkpoint is None else checkpoint.load(part)
        epoch = self._restore(state) if state is not None and self._is_ours(state) else 0
        while epoch < self._config.epochs and len(self._active):
            self._record(epoch, self._train_epoch(epoch, teller))
            self._record(epoch, self._validate(epoch))
            self._retire(epoch)
            epoch += 1
            if checkpoint is not None and checkpoint.is_due() and self._ranks.own == 0:
                checkpoint.save(part, self._state(epoch))
        return self._outcome()

    def seconds_a_step(self, budget: float) -> float:
        """Train on the same batch for some seconds, and return the median that a step takes.

        A machine that is busy for one of them does not decide: if steps are long there are more.
        """
        batch = min(self._config.batch_size, self._train.count)
        order = torch.arange(batch).expand(len(self._seeds), batch).to(self._train.place)
        self._pair.train()
        self._step(order)  # the first makes what the others use
        while not self._replayed.is_settled:
            self._replayed(order)
        times = [time.perf_counter()]
        while times[-1] < times[0] + budget * (1 if len(times) > _FEWEST_TRIED else _PATIENCE):
            float(self._replayed(order).sum())  # waits for the device
            times.append(time.perf_counter())
        return float(np.median(np.diff(times)))

    def _is_ours(self, state: dict[str, Any]) -> bool:
        """Whether training goes on from a state, or has to begin.

        An earlier program kept less, and a stack of other size, for which memory ran out or did not
        yet, has other seeds.
        """
        return "kept" in state and state.get("seeds", self._own_seeds) == self._own_seeds

    def _state(self, epoch: int) -> dict[str, Any]:
        """Return all that training goes on from: every tensor, and every source of randomness."""
        return {
            "epoch": epoch,
            "seeds": self._own_seeds,
            "steps": self._steps,
            "tensors": {
                modality: {name: value.detach() for name, value in branch.tensors().items()}
                for modality, branch in self._branches.items()
            },
            "extra": {m: branch.extra_state() for m, branch in self._branches.items()},
            "optimizer": self._optimizer.state_dict(),
            "orders": [order.get_state() for order in self._orders],
            "random": random_state(),
            "random_cuda": [torch.cuda.get_rng_state()] if self._device.type == "cuda" else [],
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
            torch.cuda.set_rng_state(state["random_cuda"][0])
        for modality, keeper in self._kept.items():
            keeper.load_state_dict(state["kept"][modality])
        for name in _PROGRESS:
            setattr(self, f"_{name}", state[name])
        self._steps = state["steps"]
        return int(state["epoch"])

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._pair.parameters() if parameter.requires_grad]

    def _train_epoch(self, epoch: int, teller: Teller) -> dict[str, Tensor]:
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
        for done, (order, following) in enumerate(zip(batches, [*batches[1:], None], strict=True)):
            teller.at(epoch + done / steps)
            if following is not None:
                self._train.will_take(self._own(following))
            sums += self._replayed(order)
        self._steps += steps * replicates
        means = (sums / steps).cpu()
        return dict(zip(CURVES[:3], means, strict=True))

    def _step(self, order: Tensor) -> Tensor:
        """Take a step on a batch, of each replicate the rows `order` (replicates, batch)."""
        replicates, size = order.shape
        labelled = self._train.labelled[order].sum(-1).to(self._device)
        batch = self._train.take(self._own(order), replicates)
        same = None if self._same is None else self._same[order].to(self._device)
        try:
            losses = self._objective.backward(batch, labelled, size=size, same=same)
        except RuntimeError:
            self._optimizer.forget()  # of a part of the step
            raise
        self._ranks.sum_gradients(self._pair.parameters())
        self._optimizer.step()
        return torch.cat([self._ranks.sum(losses[:2]), losses[2:]])

    def _replay(self) -> Replay:
        """What takes the steps of the replicates that are active."""
        why = self._why_anew()
        if why and self._device.type == "cuda":
            self._not_replayed.append(why)
        able = None if why else recorder(self._device)
        return Replay(self._step, self._changed, able, self._not_replayed.append)

    def _why_anew(self) -> str | None:
        """Say why no step can be replayed, if that is known beforehand."""
        if is_module(self._config.encoder_a) or is_module(self._config.encoder_b):
            return "what an encoder of one's own does may change"
        if self._rows is not None:
            return "memory is short"
        if self._train.place.type != self._device.type:
            return "rows lie in memory"
        return "several processes train together" if self._ranks.count > 1 else None

    def _changed(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        return [
            *(parameter.data for parameter in self._pair.parameters()),
            *self._pair.buffers(),
            *(value for values in self._optimizer.state_dict().values() for value in values),
        ]

    def rehearse(self) -> int:
        """Do what training does once; return the bytes of the rows, for all replicates the same."""
        with seeded(self._seeds[0]):
            self._pair.train()
            batch = torch.arange(min(self._config.batch_size, self._train.count))
            self._step(batch.to(self._train.place).expand(len(self._active), -1))
            self._validated(once=True)
        return self._train.device_bytes + self._validation.device_bytes

    def _tensors(self, rows: Rows) -> RowTensors:
        return RowTensors.of(rows, self._device)

    def _own(self, order: Tensor) -> Tensor:
        """Return what this rank takes of a batch, one replicate after another."""
        return order[:, self._ranks.share(order.shape[1])].reshape(-1)

    @torch.no_grad()
    def _validate(self, epoch: int) -> dict[str, Tensor]:
        curves = {}
        for modality, seen in self._validated().items():
            self._kept[modality].keep(self._branches[modality], self._active, seen, epoch)
            curves[f"validation_loss_{modality}"] = seen.loss
            if seen.accuracy is not None:
                curves[f"validation_accuracy_{modality}"] = seen.accuracy
        return curves

    @torch.no_grad()
    def _validated(self, *, once: bool = False) -> dict[str, Validation]:
        """Return what validation rows, or only the first that are looked at, say of each side."""
        self._pair.eval()
        replicates, rows = len(self._active), self._validation
        labelled = rows.labelled.sum().to(self._device)
        sums = {m: torch.zeros(2, replicates, device=self._device) for m in self._branches}
        each: dict[str, list[tuple[Tensor, ...]]] = {m: [] for m in self._branches}
        for part in rows.parts(self._at_a_time, replicates):
            for modality in self._branches:
                _, output = self._objective.apply(modality, part)
                losses = self._objective.row_losses(output, part)
                sums[modality][0] += losses.sum(-1) / labelled.clamp(min=1)
                if not self._classifies:
                    continue
                codes = output.argmax(-1)
                right = codes == part.y
                sums[modality][1] += right.sum(-1) / labelled.clamp(min=1)
                if self._both:
                    each[modality].append((losses, codes.int(), right))
            if once:
                break
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
        select = going_on.nonzero().squeeze(1).to(self._device)  # see `BestWeights.keep`
        self._optimizer.select(select)
        others = [one for one in self._pair.parameters() if not one.requires_grad]
        for value in (*others, *self._pair.buffers()):
            value.data = value.data[select]
        self._replayed = self._replay()  # other shapes

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
        if self._test is None:
            return outcome
        return replace(outcome, weights=self._weights(outcome), together=self._together(self._test))

    def _together(self, test: Rows) -> dict[str, NDArray[np.generic]]:
        """What both encoders do together on test rows."""
        measurements = PairMeasurements(
            self._data,
            self._objective,
            self._branches,
            self._kept,
            at_a_time=self._at_a_time,
            replicates=len(self._seeds),
        )
        return measurements.measure(self._train, self._tensors(test.labelled()))

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
        parts = list(rows.split(self._rows or rows.count))
        a, b = (
            torch.cat([self._objective.apply(m, part, exact=True)[0].cpu() for part in parts], 1)
            for m in self._branches
        )
        compared = [
            similarities_and_null(one, other, seed=self._null_seed)
            for one, other in zip(a.numpy(), b.numpy(), strict=True)
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
                self._data.decode(self._objective.apply(m, part, exact=True)[1].cpu().numpy())
                for m in self._branches
            ]
            for part in rows.parts(self._at_a_time, len(self._seeds))
        ]
        whole = [np.concatenate(side, axis=1) for side in zip(*parts, strict=True)]
        return dict(zip(self._branches, whole, strict=True))


def _data_of(branch: Branch) -> dict[str, Tensor]:
    return {name: value.data for name, value in branch.fixed_tensors().items()}
