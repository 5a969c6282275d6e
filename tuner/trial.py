"""One trial on a Ray Tune worker: a λ, trained with every replicate's seed."""

from collections.abc import Callable
from typing import Any

from ray import tune

from models.config import TrainingConfig
from models.outcome import TrainingOutcome
from models.rows import Rows, TrainingData
from tuner.outcome import TrialRequest, pack

# A seam: tests put a stand-in for training here.
Train = Callable[[TrialRequest, TrainingData, TrainingConfig, Rows], TrainingOutcome]


def train_request(
    request: TrialRequest, data: TrainingData, config: TrainingConfig, test: Rows
) -> TrainingOutcome:
    """Train what was asked for; only a confirmation sees test rows."""
    from models.training import train

    return train(
        data,
        request.training(config),
        strength=request.strength,
        seeds=request.seeds,
        test=test if request.phase == "confirm" else None,
    )


class TrialWorker(tune.Trainable):
    """Trains one request per Tune trial; the actor is used again for the next.

    What training raises is the trial's result, not a fault of the worker: the same seeds would
    raise it again. Only the death of the process is worth another attempt.
    """

    def setup(  # type: ignore[override]  # noqa: D102  # `with_parameters` adds the others
        self,
        config: dict[str, Any],
        data: TrainingData,
        training: TrainingConfig,
        test: Rows,
        train: Train,
    ) -> None:
        from models.device import prepare_process

        prepare_process()
        self._request: TrialRequest = config["request"]
        self._data, self._training, self._test, self._train = data, training, test, train

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: D102
        self._request = new_config["request"]
        return True

    def step(self) -> dict[str, Any]:  # noqa: D102
        try:
            outcome = self._train(self._request, self._data, self._training, self._test)
        except Exception as error:  # noqa: BLE001  # reported, with its kind and message
            return {"done": True, "reason": f"{type(error).__name__}: {error}"}
        return {"done": True, "outcome": pack(outcome)}
