"""Reports from a Lightning trainer.

```python
trial = tuner.current_trial(strength=args.lam, seed=args.seed)
module = MyModule(lam=trial.strength)  # its validation_step returns {"acc": correct}
trainer = Trainer(callbacks=[tuner_callback("acc")])
```
"""

import sys
from collections.abc import Mapping, Sized
from typing import Any

from tuner.errors import ScriptError
from tuner.scripts.integrations.batches import Batches
from tuner.scripts.scores import ROW_ID
from tuner.scripts.trial import Trial

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def tuner_callback(*targets: str) -> Any:
    """Return a callback for `Trainer(callbacks=[…])`, which does nothing outside of a study.

    What the last validation of a training scored is reported. In confirmations `trainer.test`
    reports the test rows.

    Args:
        targets: Names in the dictionary that `validation_step` and `test_step` return: (batch,) one
            score per row each; `row_id` is taken from it, too, if it is there. Rows are those of
            the first data loader.

    Raises:
        ScriptError: If Lightning was not imported before.
    """
    package = next((sys.modules[name] for name in _PACKAGES if name in sys.modules), None)
    if package is None:
        raise ScriptError("import lightning.pytorch before you ask for its callback")
    trial = Trial.of_environment()
    if trial is None:
        return type("TunerCallback", (package.Callback,), {})()
    return type("TunerCallback", (LightningReports, package.Callback), {})(trial, targets)


class LightningReports:
    """What the callback does at which hook.

    Args:
        trial: Where it reports.
        targets: What it reports.
    """

    def __init__(self, trial: Trial, targets: tuple[str, ...]) -> None:
        self._trial, self._targets = trial, targets
        self._batches = Batches()

    def on_validation_epoch_start(self, *_: Any) -> None:
        """Begin anew."""
        self._batches = Batches()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self, trainer: Any, _module: Any, outputs: Any, _batch: Any, _number: int, loader: int = 0
    ) -> None:
        """Note what a step returned."""
        if loader == 0 and not trainer.sanity_checking:
            self._batches.add(self._of_rows(outputs, "validation_step"))

    def on_test_batch_end(
        self, _trainer: Any, _module: Any, outputs: Any, _batch: Any, _number: int, loader: int = 0
    ) -> None:
        """Note what a step returned, in confirmations."""
        if loader == 0 and self._trial.confirming:
            self._batches.add(self._of_rows(outputs, "test_step"))

    def on_validation_end(self, trainer: Any, _module: Any) -> None:
        """Report the rows, and the numbers that were logged."""
        if trainer.sanity_checking:
            return
        self._trial.report(**self._batches.joined(_rows(trainer.val_dataloaders)))
        self._trial.epoch(**{name: float(v) for name, v in trainer.callback_metrics.items()})

    def on_test_end(self, trainer: Any, _module: Any) -> None:
        """Report the rows, in confirmations."""
        if self._trial.confirming:
            self._trial.report_test(**self._batches.joined(_rows(trainer.test_dataloaders)))

    def _of_rows(self, outputs: Any, step: str) -> dict[str, Any]:
        told = outputs if isinstance(outputs, Mapping) else {}
        if missing := [name for name in self._targets if name not in told]:
            raise ScriptError(
                f"{step} has to return a dictionary with {missing[0]!r}: one score per row of the "
                f"batch, as {{{missing[0]!r}: correct}}"
            )
        return {name: told[name] for name in (*self._targets, ROW_ID) if name in told}


def _rows(loaders: Any) -> int | None:
    """Return how many rows the first data loader has, if it tells."""
    loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
    dataset = getattr(loader, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else None
