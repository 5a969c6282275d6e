"""Looks at data in processes of their own: what `tuner.service.processes.zygote` starts.

A request is JSON `{task, source, options, name, memory}`. The answer is, too: for the task `check`
what the study would be, for `inspect` what is in the data, for `plan` what a study would show, for
`predict` what past studies lead one to expect of it, or
else all that is wrong. A process may have so many bytes of memory: a hostile file ends it, not the
service.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any

from tuner.service.processes.zygote import serve

if TYPE_CHECKING:
    from tuner.data.inspection import Inspection
    from tuner.models.config import TrainingConfig
    from tuner.models.outcome import TrainingOutcome
    from tuner.models.rows import Rows, TrainingData
    from tuner.study.spec import StudySpec
    from tuner.study.study import Study
    from tuner.study.trial import TrialRequest


Look = Callable[[str, dict[str, Any], str | None], dict[str, Any]]
_NICE = 10  # a pilot leaves the CPUs to studies


def _or_errors(look: Look) -> Look:
    """Let a look return `{errors}` where data and options are not as they should be."""

    @wraps(look)
    def told(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
        from pydantic import ValidationError

        from tuner.data import DataError
        from tuner.errors import SpecError, StudyFailedError
        from tuner.models.errors import ModelError
        from tuner.study.spec import option_errors

        try:
            return look(source, options, name)
        except ValidationError as error:
            return {"errors": [str(fault) for fault in option_errors(error.errors())]}
        except DataError as error:
            return {"errors": list(error.findings)}
        except (SpecError, ModelError, StudyFailedError) as error:
            return {"errors": [str(error)]}

    return told


def _study(source: str, options: dict[str, Any], name: str | None) -> "Study":
    """Read the data and make the study that is asked of them."""
    from tuner.study.budget import Budget
    from tuner.study.spec import spec_from_options
    from tuner.study.study import Study, read_dataset

    budget = Budget.of(options)
    spec = spec_from_options({n: v for n, v in options.items() if n not in budget.options})
    dataset = read_dataset(spec, source, name, **_bounds())
    spec = spec.model_copy(update={"name": dataset.name})  # nobody sees another's name for it
    check_room(spec)
    study = Study.of(spec, dataset).within(budget)
    study.check_encoders()
    return study


@_or_errors
def check(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return `{study, name, fingerprint, spec, warnings}`, or `{errors}`.

    Args:
        source: Path or URI of the data, or a shipped example.
        options: Of the spec and of the budget; `earlier`, what `EarlierStudy` holds of a study to
            begin with.
        name: What the data are called, if they say so.
    """
    from tuner.past import begun
    from tuner.prediction.earlier import EarlierStudy
    from tuner.settings import Settings

    told, prior = options.pop("earlier", None), "none"
    if isinstance(options.get("prior"), str):  # else what a study that is extended expected
        prior = options.pop("prior")
    earlier = None if told is None else EarlierStudy.model_validate(told)
    study = begun(_study(source, options, name), prior, Settings(), earlier)
    return {
        "study": study.id,
        "name": study.name,
        "fingerprint": study.dataset.fingerprint,
        "spec": study.spec.model_dump(mode="json"),
        "warnings": list(study.dataset.warnings),
    }


@_or_errors
def plan(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return what `Forecast` holds, `{workers, words}` besides, or `{errors}`.

    Its pilot trains on CPUs, whatever the study would.
    """
    from tuner.errors import SpecError
    from tuner.models.compute.device import prepare_process
    from tuner.models.training.loop import train
    from tuner.reporting.wording import forecast_words
    from tuner.search.forecast.pilot import check_pilot, forecast_by_pilot

    workers = options.pop("workers", None)
    study = _study(source, options, name)
    check_pilot(study.spec)
    if study.spec.gpus:
        raise SpecError(
            "a pilot of a service trains on CPUs: leave --gpus out, or run tuner plan on a machine "
            "that has them"
        )
    os.nice(_NICE)
    prepare_process(study.spec.cpus)

    def searched(
        request: "TrialRequest", data: "TrainingData", config: "TrainingConfig", _: "Rows"
    ) -> "TrainingOutcome":
        return train(
            data,
            request.training(config),
            strength=request.strength,
            seeds=request.seeds,
            device="cpu",
        )

    told = forecast_by_pilot(study, (), lambda request: study.trained(request, searched))
    workers = workers or _workers(study.spec)
    words = forecast_words(told, workers)
    return told.model_dump(mode="json") | {"workers": workers, "words": words}


@_or_errors
def predict(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return what `Prediction` holds, and `{words}` besides, or `{errors}`.

    Past studies are those that come with the program and those that the operator has added.
    """
    from tuner.past import known
    from tuner.prediction.prediction import predict
    from tuner.reporting.prediction import prediction_words
    from tuner.settings import Settings

    options.pop("workers", None)
    told = predict(_study(source, options, name), known(Settings()))
    return told.model_dump(mode="json") | {"words": list(prediction_words(told))}


def check_room(spec: "StudySpec") -> None:
    """Do nothing if a training of a study can begin on this machine, or a cluster is to run it.

    Raises:
        SpecError: If it never can: more would be started than the machine bears, or processes
            that train together would share a GPU.
    """
    from tuner.errors import SpecError
    from tuner.execution.room import Room, check_sharing
    from tuner.settings import Settings

    check_sharing(spec)
    if Settings().ray_address is not None:  # what that will have is seen once the study runs
        return
    words = Room.of_this_machine().lacks(spec)
    if words is not None:
        raise SpecError(f"gpus, cpus, ranks: the study {words}: ask for less")


def inspect(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return what `tuner.data.inspection.Inspection.as_dict` does, or `{errors}` of the options.

    Besides, `findings`, `{field, text, severity}` each, and `cost`: see `ExpectedCost`.
    """
    from pydantic import ValidationError

    from tuner.data.inspection import inspect
    from tuner.study.budget import Budget
    from tuner.study.spec import option_errors, spec_from_options

    workers = options.pop("workers", None)
    budget = Budget.of(options)
    options = {name: value for name, value in options.items() if name not in budget.options}
    try:
        spec = spec_from_options(options)
    except ValidationError as error:
        return {"errors": [str(fault) for fault in option_errors(error.errors())]}
    how = spec.data_options | {"name": spec.name or name}
    found = inspect(source, seed=spec.seed, **_bounds(), **how)
    cost, fault = _cost(spec, found, workers, budget.seconds)
    errors = [*found.errors, *([] if fault is None else [fault])]
    told = found.as_dict() | {"cost": cost, "valid": found.dataset is not None and not errors}
    told["findings"] = [
        {"field": found.field(text), "text": text, "severity": severity}
        for severity, texts in (("error", errors), ("warning", found.warnings))
        for text in texts
    ]
    return told | {"errors": errors}


def _cost(
    spec: "StudySpec", found: "Inspection", workers: int | None, time_budget: float | None
) -> tuple[dict[str, Any] | None, str | None]:
    """What a study of these data would take, or why there can be none."""
    from tuner.errors import SpecError
    from tuner.models.errors import ModelError
    from tuner.search.forecast.cost import ExpectedCost
    from tuner.study.study import Study

    if found.dataset is None:
        return None, None
    try:
        check_room(spec)
        study = Study.of(spec, found.dataset)
    except (SpecError, ModelError) as error:
        return None, str(error)
    cost = ExpectedCost.of(study, workers=workers or _workers(spec), time_budget=time_budget)
    return asdict(cost), None


def _workers(spec: "StudySpec") -> int | None:
    """How many trials of a study this machine trains at a time; None where a cluster decides."""
    from tuner.execution.cluster import default_workers
    from tuner.settings import Settings

    address = Settings().ray_address
    return None if address else default_workers(address, spec)


def _bounds() -> dict[str, Any]:
    """How much of a stranger's data is read, and from where."""
    from tuner.settings import Settings

    settings = Settings()
    return {"max_bytes": settings.max_data, "alone": True, "reach": settings.sources}


_TASKS = {"check": check, "inspect": inspect, "plan": plan, "predict": predict}


def answered(message: bytes) -> bytes:
    """Do what a request asks for."""
    request = json.loads(message)
    limit = request["memory"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # mapped files do not count
    try:
        look = _TASKS[request["task"]]
        found = look(request["source"], request["options"], request["name"])
    except MemoryError:
        found = {"errors": ["takes more memory than the service gives to a data set."]}
    return json.dumps(found).encode()


def main() -> None:
    """Load what every check needs, by one of them, and look at what the service sends."""
    import tuner.data.inspection
    import tuner.models.training.loop
    import tuner.reporting.wording
    import tuner.search.forecast.cost
    import tuner.search.forecast.pilot  # noqa: F401

    check("mfeat", {}, None)
    serve(int(sys.argv[1]), answered)


if __name__ == "__main__":
    main()
