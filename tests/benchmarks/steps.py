"""Model-steps per second on one core: `python -m tests.benchmarks.steps ours|plain BATCH`."""

import sys

import numpy as np

from tests.benchmarks.plain_loop import steps_per_second
from tuner.data import Standardizer
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.rows import Rows, Scaling, TrainingData
from tuner.models.training.loop import train

SECONDS = 4.0
REPLICATES = 8


def main() -> None:
    who, batch = sys.argv[1], int(sys.argv[2])
    config = TrainingConfig(
        encoder_a="mlp", encoder_b="mlp", batch_size=batch, epochs=1000, patience=1000
    )
    data = _data()
    if who == "plain":
        speed = steps_per_second(data, config, seconds=SECONDS)
    else:
        prepare_process()
        config = config.model_copy(update={"epochs": 4})
        outcome = train(data, config, strength=1.0, seeds=range(REPLICATES))
        epochs = max(4, round(4 * SECONDS / outcome.seconds))
        config = config.model_copy(update={"epochs": epochs})
        outcome = train(data, config, strength=1.0, seeds=range(REPLICATES))
        speed = outcome.steps / outcome.seconds
    sys.stdout.write(str(speed))


def _data() -> TrainingData:
    rng = np.random.default_rng(0)

    def rows(count: int) -> Rows:
        return Rows(
            a=rng.normal(size=(count, 76)).astype(np.float32),
            b=rng.normal(size=(count, 64)).astype(np.float32),
            target=rng.integers(0, 10, count),
            is_labelled=np.ones(count, dtype=bool),
        )

    plain = Standardizer(mean=np.zeros(1, np.float32), scale=np.ones(1, np.float32))
    return TrainingData(
        train=rows(2048),
        validation=rows(16),
        task="classification",
        outputs=10,
        shapes=((76,), (64,)),
        scaling=Scaling(a=plain, b=plain),
    )


if __name__ == "__main__":
    main()
