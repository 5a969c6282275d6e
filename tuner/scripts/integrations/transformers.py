"""Reports from a Hugging Face trainer.

```python
trainer = Trainer(model, args, …)
report_from(trainer, acc=lambda p: p.predictions.argmax(-1) == p.label_ids)
```
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from tuner.scripts.integrations.batches import Batches
from tuner.scripts.trial import Trial

Score = Callable[[Any], Any]


def report_from(trainer: Any, **scores: Score) -> None:
    """Let a trainer report; nothing changes outside of a study.

    What its last evaluation scored is reported. In confirmations `trainer.predict(rows)`, or an
    evaluation with `metric_key_prefix="test"`, reports the test rows.

    Args:
        trainer: A `transformers.Trainer`.
        scores: By target: a function of the `EvalPrediction` that `compute_metrics` is given;
            returns (rows,) one score per row.
    """
    trial = Trial.of_environment()
    if trial is None:
        return
    reports = TransformersReports(trial, scores, trainer.compute_metrics)
    trainer.compute_metrics = reports.compute_metrics
    base = sys.modules["transformers"].TrainerCallback
    hooks = {"on_evaluate": _hook(reports.evaluated), "on_predict": _hook(reports.predicted)}
    trainer.add_callback(type("TunerCallback", (base,), hooks)())


def _hook(function: Callable[[Mapping[str, Any]], None]) -> Callable[..., None]:
    """Return a method of a callback that hands on the metrics that it is told."""

    def hook(_callback: Any, *_: Any, metrics: Mapping[str, Any], **_others: Any) -> None:
        function(metrics)

    return hook


class TransformersReports:
    """Scores of rows, noted where metrics are computed and reported where it is known of which.

    Args:
        trial: Where they are reported.
        scores: By target.
        metrics: The trainer's own `compute_metrics`.
    """

    def __init__(
        self, trial: Trial, scores: Mapping[str, Score], metrics: Callable[..., Any] | None
    ) -> None:
        self._trial, self._scores, self._metrics = trial, scores, metrics
        self._batches = Batches()

    def compute_metrics(self, prediction: Any, **options: Any) -> dict[str, Any]:
        """Note the scores of rows, and compute what was computed before."""
        self._batches.add({name: score(prediction) for name, score in self._scores.items()})
        return {} if self._metrics is None else self._metrics(prediction, **options)

    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Report what was noted: validation rows, unless the names of the metrics say test."""
        if any(name.startswith("test_") for name in metrics):
            self.predicted(metrics)
            return
        self._trial.report(**self._batches.taken())
        numbers = {name: v for name, v in metrics.items() if isinstance(v, int | float)}
        self._trial.epoch(**numbers)

    def predicted(self, _metrics: Mapping[str, Any]) -> None:
        """Report what was noted as test rows, in confirmations."""
        scores = self._batches.taken()
        if self._trial.confirming:
            self._trial.report_test(**scores)
