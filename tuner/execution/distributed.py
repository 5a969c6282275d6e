"""Trains one trial in several processes, with Ray Train."""

import tempfile
from typing import Any

import ray

from tuner.execution.shared_rows import SharedRows
from tuner.execution.worker import Resources, train_in_worker
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.models.training.telling import listener, told_to
from tuner.study.trial import TrialRequest

_TIMEOUT = 600  # seconds that a rank waits for the others


@ray.remote(num_cpus=0)
class _Mailbox:
    """Where the first rank leaves what came of the training."""

    def __init__(self) -> None:
        self._content: Any = None

    def put(self, content: Any) -> None:
        self._content = content

    def take(self) -> Any:
        return self._content


def train_together(
    request: TrialRequest,
    data: TrainingData,
    config: TrainingConfig,
    test: Rows,
    *,
    resources: Resources,
    checkpoints: str | None = None,
    path: tuple[str, ...] = (),
) -> TrainingOutcome:
    """Train what was asked for on several ranks, as `train_in_worker` does on one.

    See `tuner.models.compute.ranks`.

    Raises:
        RuntimeError: If a rank fails.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": float(resources.cpus)} | ({"GPU": resources.gpus} if resources.gpus else {})
    mailbox = _Mailbox.remote()  # type: ignore[attr-defined]  # ray.remote adds it
    rows = SharedRows.of(data, test)
    asked = ray.put((request, rows, config, resources, checkpoints, path, listener()))
    with tempfile.TemporaryDirectory(prefix="tuner-train-") as scratch:
        TorchTrainer(
            _train_rank,
            train_loop_config={"asked": [asked], "mailbox": mailbox},
            torch_config=TorchConfig(timeout_s=_TIMEOUT),
            scaling_config=ScalingConfig(
                num_workers=resources.ranks,
                use_gpu=resources.gpus > 0,
                resources_per_worker=each,
            ),
            run_config=RunConfig(name="trial", storage_path=scratch),
        ).fit()
    return TrainingOutcome.from_bytes(ray.get(mailbox.take.remote()))


def _train_rank(given: dict[str, Any]) -> None:
    from ray.train import get_context

    request, rows, config, resources, checkpoints, path, hears = ray.get(given["asked"][0])
    data, test = rows.get()
    is_first = get_context().get_world_rank() == 0
    with told_to(hears if is_first else None):
        outcome = train_in_worker(
            request,
            data,
            config,
            test,
            threads=resources.cpus,
            checkpoints=checkpoints,
            gpus=resources.gpus,
            path=path,
        )
    if is_first:
        ray.get(given["mailbox"].put.remote(outcome.to_bytes()))
