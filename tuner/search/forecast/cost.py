"""What a study is expected to take, before anything of it is trained."""

from dataclasses import dataclass

from tuner.search.plan import Plan
from tuner.study.study import Study

_PROBE = 1.0  # seconds
_BESIDES = 20.0  # seconds that workers, profile, report and registry take of a small study


@dataclass(frozen=True, kw_only=True)
class ExpectedCost:
    """What a study takes if no training ends before its last epoch: an upper bound, mostly.

    Attributes:
        trainings: Of one replicate at one λ: settings, search, and λ = 0 and one λ confirmed.
        steps: Gradient steps of these.
        seconds: Of the whole study, from steps that were tried here; None if none could be.
        workers: Trials at a time; None where a cluster decides.
    """

    trainings: int
    steps: int
    seconds: float | None
    workers: int | None

    @classmethod
    def of(
        cls, study: Study, *, workers: int | None, time_budget: float | None = None
    ) -> "ExpectedCost":
        """Count the trainings of a study, and try a few of its steps; a second or two.

        Args:
            study: The study.
            workers: Trials at a time; None where a cluster decides.
            time_budget: Seconds after which no further search trial starts.
        """
        spec = study.spec
        totals = Plan(spec=spec, validation=study.validation).totals
        searched = sum(totals[phase] for phase in ("nuisance", "rung", "search"))
        search, confirm = searched * spec.replicates, 2 * len(spec.seeds("confirm"))
        rows, training = study.data.train.count, study.training
        each = training.epochs * (rows // min(training.batch_size, rows))
        step = None if workers is None else _seconds_a_step(study)
        seconds = None
        if step is not None and workers is not None:
            of_search = search * each * step / min(workers, spec.batch)
            of_confirm = confirm * each * step / min(workers, 2)
            seconds = _BESIDES + min(of_search, time_budget or of_search) + of_confirm
        return cls(
            trainings=search + confirm,
            steps=(search + confirm) * each,
            seconds=seconds,
            workers=workers,
        )


def _seconds_a_step(study: Study) -> float | None:
    """Seconds of a step of one replicate, on one of a trial's processes; None if it cannot be."""
    from tuner.models.training.loop import seconds_a_step

    try:
        return seconds_a_step(
            study.data, study.training, replicates=study.spec.replicates, budget=_PROBE
        )
    except (MemoryError, RuntimeError):  # workers may have more of what it takes
        return None
