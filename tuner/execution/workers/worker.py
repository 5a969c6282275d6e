"""One trial on a Ray Tune worker: a λ, trained with every replicate's seed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from fsspec.core import url_to_fs
from ray import tune
from ray.exceptions import OutOfMemoryError, RayActorError

from tuner.errors import ScriptError
from tuner.execution.garbage import loading
from tuner.execution.workers.board import Board
from tuner.execution.workers.shared_rows import SharedRows
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.models.training.telling import Advance, Listener, told_to
from tuner.study.scoring.validation import ValidationFolds
from tuner.study.trial import Train, TrialRequest

if TYPE_CHECKING:
    from tuner.models.training.checkpoint import Checkpoint


def train_request(
    request: TrialRequest,
    data: TrainingData,
    config: TrainingConfig,
    test: Rows,
    *,
    checkpoints: str | None = None,
    device: str = "auto",
) -> TrainingOutcome:
    """Train what was asked for; only a confirmation sees test rows.

    What came of a part of a request is kept with its checkpoints, until `forget_parts`.

    Args:
        request: What is asked for.
        data: Training and validation rows.
        config: How to train.
        test: Test rows.
        checkpoints: Folder or URI of the study's unfinished trainings; None keeps none.
        device: `auto`, or a torch device.
    """
    from tuner.models.compute.ranks import Ranks
    from tuner.models.training.checkpoint import Checkpoint
    from tuner.models.training.loop import train

    among = request.part_of or request.seeds
    # Seeds of a trial may be trained one after the other, on other rows.
    place = f"{checkpoints}/{_folder(request)}-{among[0]}"
    checkpoint = None if checkpoints is None else Checkpoint(place)
    first = among.index(request.seeds[0])
    part = range(first, first + len(request.seeds)) if request.part_of else None
    if checkpoint and part and (kept := _kept(checkpoint, part, request)) is not None:
        return kept
    try:
        outcome = train(
            data,
            request.training(config),
            strength=request.strength,
            seeds=request.seeds,
            among=among,
            test=test if request.phase == "confirm" else None,
            device=device,
            checkpoint=checkpoint,
        )
        if checkpoint is not None and part is not None and Ranks().own == 0:
            checkpoint.save_outcome(part, outcome)
        return outcome
    finally:  # a worker that was killed leaves it
        if checkpoint is not None:
            checkpoint.remove(part)


def _kept(checkpoint: "Checkpoint", part: range, request: TrialRequest) -> TrainingOutcome | None:
    """What came of a part before the study was interrupted, if it was kept."""
    outcome = checkpoint.load_outcome(part)
    if outcome is None or outcome.strength != request.strength:
        return None
    return outcome if outcome.seeds.tolist() == list(request.seeds) else None


def forget_parts(request: TrialRequest, checkpoints: str) -> None:
    """Take away what is kept of the parts of a request, once it is written down whole.

    Args:
        request: The request.
        checkpoints: As of `train_request`.
    """
    files, folder = url_to_fs(checkpoints)
    for place in files.glob(f"{folder}/{_folder(request)}-*"):
        with suppress(FileNotFoundError):
            files.rm(place, recursive=True)


def _folder(request: TrialRequest) -> str:
    return f"{request.phase}-{request.number}"


def train_in_worker(
    request: TrialRequest,
    data: TrainingData,
    config: TrainingConfig,
    test: Rows,
    *,
    threads: int,
    checkpoints: str | None,
    gpus: float = 0.0,
    path: tuple[str, ...] = (),
) -> TrainingOutcome:
    """Train in a process that does nothing else: see `train_request`.

    `gpus` is what the process was given, and trains on: the CPU alone if it is 0. `path` is where
    the driver looks for modules: those of users' encoders lie there.

    Raises:
        DeviceError: If the GPUs are not there.
    """
    with loading():
        import tuner.models.training.loop  # noqa: F401
        from tuner.models.compute.device import given_device, prepare_process
        from tuner.models.encoders.source import extend_search_path

    extend_search_path(path)
    prepare_process(threads)
    device = str(given_device(gpus))
    return train_request(request, data, config, test, checkpoints=checkpoints, device=device)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a trial takes of a cluster.

    Attributes:
        cpus: CPUs, hence threads, of a process that trains.
        gpus: GPUs of it, or the part of one.
        ranks: Processes that train the trial together.
    """

    cpus: int = 1
    gpus: float = 0.0
    ranks: int = 1

    def of_worker(self) -> tune.PlacementGroupFactory:
        """Return what Tune's worker takes, all of it or nothing: else studies wait for each other.

        Where ranks do the work a bundle each is theirs, and the worker, which waits for them, takes
        a byte, because Ray wants it to take something.
        """
        each = {"CPU": float(self.cpus)} | ({"GPU": self.gpus} if self.gpus else {})
        alone = self.ranks == 1
        bundles = [each] if alone else [{"memory": 1.0}, *[each] * self.ranks]
        return tune.PlacementGroupFactory(bundles)


class Job(Protocol):
    """What a worker does, once it has what that takes."""

    def parts(self, request: TrialRequest) -> Sequence[TrialRequest]:
        """Return the parts of a request that are trained each by itself, maybe at a time.

        They are alike however many workers there are. A request that has none is its own.
        """

    def begin(self) -> Callable[[TrialRequest], TrainingOutcome]:
        """Return what trains a request; called in the worker, once."""

    def end(self) -> None:
        """Let go of what it took."""


def _all_of_them(config: TrainingConfig, replicates: int) -> int:
    del config
    return replicates


@dataclass(frozen=True, kw_only=True)
class TrainOnRows:
    """Trains encoders on rows that all workers of a machine share.

    Attributes:
        rows: Training, validation and test rows of the split; then those of each fold, if there
            are any.
        config: How to train.
        train: What does it.
        fold_of_seed: On which fold a confirming seed is tested.
        validation_folds: Those of which each seed is of one; their rows are those of `rows`.
        part_size: Given how a request is trained and how many seeds it has, how many of them a
            part has: see `tuner.models.training.stacks.part_size`.
        board: Where it says how far a training is.
    """

    rows: tuple[SharedRows, ...]
    config: TrainingConfig
    train: Train
    fold_of_seed: Mapping[int, int] = field(default_factory=dict)
    validation_folds: ValidationFolds | None = None
    part_size: Callable[[TrainingConfig, int], int] = _all_of_them
    board: Board = field(default_factory=Board)

    def parts(self, request: TrialRequest) -> Sequence[TrialRequest]:
        """Return the parts of a request, each of seeds that are trained on the same rows."""
        folds, config = self.validation_folds, request.training(self.config)
        parts = []
        for seeds in [request.seeds] if folds is None else folds.dealt(request.seeds):
            size = self.part_size(config, len(seeds))
            parts += [seeds[first : first + size] for first in range(0, len(seeds), size)]
        return [request] if len(parts) == 1 else [request.part(part) for part in parts]

    def begin(self) -> Callable[[TrialRequest], TrainingOutcome]:
        """Map the rows; those of a fold once they are wanted."""
        rows = cache(lambda which: self.rows[which].get())
        rows(0)

        def train(asked: TrialRequest) -> TrainingOutcome:
            hears, folds = self.board.writer(asked), self.validation_folds

            def on(request: TrialRequest, which: int, before: int) -> TrainingOutcome:
                data, test = rows(which)
                with told_to(partial(_tell, hears, before)):
                    return self.train(request, data, self.config, test)

            if folds is None:
                return on(asked, self._which(asked), 0)
            return folds.trained(asked, on)

        return train

    def _which(self, request: TrialRequest) -> int:
        if request.phase != "confirm" or not self.fold_of_seed:
            return 0
        return 1 + self.fold_of_seed[request.seeds[0]]

    def end(self) -> None:
        """Unmap them."""
        for rows in self.rows:
            rows.close()


def _tell(hears: Listener, before: int, advance: Advance) -> None:
    """Tell how far a trial is, of which so many replicates are trained already."""
    hears(replace(advance, ended=before + advance.ended))


class TrialWorker(tune.Trainable):
    """Trains one request a step.

    What training raises is the request's result, not a fault of the worker: the same seeds would
    raise it again. Only the death of the process is worth another attempt, or that of its GPU: it
    can use none any more, and another process may.
    """

    def setup(  # type: ignore[override]  # noqa: D102  # `with_parameters` adds the others
        self,
        config: dict[str, Any],
        job: Job,
    ) -> None:
        del config
        self._job, self._train = job, job.begin()
        self._request: TrialRequest | None = None

    def assign(self, request: TrialRequest) -> None:
        """Say what the next step trains."""
        self._request = request

    def step(self) -> dict[str, Any]:  # noqa: D102
        request, self._request = self._request, None
        if request is None:  # it is new, and says so; or others were faster
            return {}
        try:
            outcome = self._train(request)
        except (DeviceError, RayActorError, OutOfMemoryError):  # the last two of a rank
            raise
        except ScriptError as error:  # says all in a sentence
            return {"reason": str(error)}
        except Exception as error:  # noqa: BLE001  # reported, with its kind and message
            return {"reason": f"{type(error).__name__}: {error}"}
        return {
            "outcome": [outcome.to_bytes()]
        }  # a list: whoever takes it out of there has it alone

    def cleanup(self) -> None:  # noqa: D102
        self._job.end()
