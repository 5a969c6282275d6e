"""What a study is expected to take, before anything of it is trained."""

import math
from dataclasses import dataclass, replace
from functools import partial

from tuner.models.training.stacks import part_size
from tuner.search.plan import Plan
from tuner.study.study import Study

_PROBE = 1.0  # seconds
_BESIDES = 20.0  # seconds that workers, profile, report and registry take of a small study
_LONG = 600.0  # seconds from which on it is said what would be shorter
_HALVING = 3
_FEWEST_EPOCHS = 5
# Numbers that pass through the encoders of a study, from which on it may take minutes: of an mlp,
# and of any other.
_MANY = {True: 1e10, False: 1e8}


@dataclass(frozen=True, kw_only=True)
class Shorter:
    """The same study by another option.

    Attributes:
        option: With its value, as a spec names it.
        value: Of the option; seconds of a time budget.
        seconds: Of the whole study then.
    """

    option: str
    value: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ExpectedCost:
    """What a study takes if no training ends before its last epoch: an upper bound, mostly.

    Attributes:
        trainings: Of one replicate at one λ: settings, search, and λ = 0 and one λ confirmed.
        steps: Gradient steps of these.
        epochs: Of a training, at most.
        seconds: Of the whole study, from steps that were tried here; None if none could be.
        workers: Trials at a time; None where a cluster decides.
        shorter: What would make a long study shorter, and how long it would take.
    """

    trainings: int
    steps: int
    epochs: int
    seconds: float | None
    workers: int | None
    shorter: tuple[Shorter, ...] = ()

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
        counted = _Counted.of(study)
        step = None if workers is None else _seconds_a_step(study)
        seconds, shorter = None, list[Shorter]()
        if step is not None and workers is not None:
            seconds = counted.seconds(step, workers, time_budget)
            if seconds > _LONG:
                shorter = _shorter(study, step, workers, time_budget)
        return cls(
            trainings=counted.trainings,
            steps=counted.steps,
            epochs=study.epochs,
            seconds=seconds,
            workers=workers,
            shorter=tuple(shorter),
        )


def may_take_minutes(study: Study) -> bool:
    """Whether a study is worth trying some of its steps for, by the numbers that it looks at."""
    values = sum(math.prod(shape) for shape in study.data.shapes)
    seen = _Counted.of(study).steps * min(study.training.batch_size, study.data.train.count)
    is_mlp = {study.training.encoder_a, study.training.encoder_b} == {"mlp"}
    return seen * values > _MANY[is_mlp]


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """Trainings of a study.

    Attributes:
        trainings: Of all phases.
        searched: Gradient steps of all but the confirmation.
        confirmed: Gradient steps of that.
        at_a_time: Workers that the search may keep busy at least.
        confirming: Those that the confirmation may.
    """

    trainings: int
    searched: int
    confirmed: int
    at_a_time: int
    confirming: int

    @classmethod
    def of(cls, study: Study) -> "_Counted":
        spec, plan = study.planned, Plan(spec=study.planned, validation=study.validation)
        totals, confirm = plan.totals, 2 * len(spec.seeds("confirm"))
        size = partial(
            part_size,
            study.training,
            rows=study.data.train.count,
            shapes=study.data.shapes,
            on_cpu=not spec.gpus,
        )
        in_full = (totals["nuisance"] + totals["search"]) * spec.replicates
        steps = study.training.steps_of(study.data.train.count)
        return cls(
            trainings=in_full + totals["rung"] * spec.replicates + confirm,
            searched=(in_full * study.epochs + int(plan.rung_work) * spec.replicates) * steps,
            confirmed=confirm * study.epochs * steps,
            at_a_time=spec.batch * math.ceil(spec.replicates / size(spec.replicates)),
            confirming=2 * math.ceil(confirm / 2 / size(confirm // 2)),
        )

    @property
    def steps(self) -> int:
        """All of them."""
        return self.searched + self.confirmed

    def seconds(self, step: float, workers: int, time_budget: float | None = None) -> float:
        of_search = self.searched * step / min(workers, self.at_a_time)
        return (
            _BESIDES + min(of_search, time_budget or of_search) + self.after_search(step, workers)
        )

    def after_search(self, step: float, workers: int) -> float:
        return self.confirmed * step / min(workers, self.confirming)


def _shorter(study: Study, step: float, workers: int, time_budget: float | None) -> list[Shorter]:
    """Try options that change what is searched, or how long is trained; those that pay."""
    counted, spec = _Counted.of(study), study.spec
    whole = counted.seconds(step, workers, time_budget)
    found = []
    for option, value in (
        ("halving", _HALVING if spec.halving == 1 else 1),
        ("epochs", max(_FEWEST_EPOCHS, study.epochs // 4)),
    ):
        other = _with(study, option, value)
        found.append(
            Shorter(
                option=option,
                value=value,
                seconds=_Counted.of(other).seconds(step, workers, time_budget),
            )
        )
    if time_budget is None:
        budget = _round(counted.searched * step / min(workers, counted.at_a_time) / 4)
        seconds = counted.seconds(step, workers, budget)
        found.append(Shorter(option="time_budget", value=budget, seconds=seconds))
    return [each for each in found if each.seconds < whole]


def _round(seconds: float) -> int:
    """Whole minutes."""
    return max(1, round(seconds / 60)) * 60


def _with(study: Study, option: str, value: int) -> Study:
    if option == "epochs":
        changed = {"epochs": value}
        return replace(
            study,
            spec=study.spec.model_copy(
                update={"training": study.spec.training.model_copy(update=changed)}
            ),
            training=study.training.model_copy(update=changed),
        )
    return replace(study, spec=study.spec.model_copy(update={option: value}))


def _seconds_a_step(study: Study) -> float | None:
    """Seconds of a step of one replicate, on one of a trial's processes; None if it cannot be."""
    from tuner.models.training.loop import seconds_a_step

    try:
        return seconds_a_step(
            study.data, study.training, replicates=study.spec.replicates, budget=_PROBE
        )
    except (MemoryError, RuntimeError):  # workers may have more of what it takes
        return None
