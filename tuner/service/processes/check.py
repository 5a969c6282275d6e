"""Looks at data in a process of its own: `python -m tuner.service.processes.check BYTES`.

Reads JSON `{task, source, options, name}` from standard input and writes JSON: for the task `check`
what the study would be, for `inspect` what is in the data, or else all that is wrong. Its memory is
bounded by BYTES: a hostile file ends this process, not the service.
"""

import json
import resource
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.data.inspection import Inspection
    from tuner.study.spec import StudySpec


def check(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return `{study, name, fingerprint, spec, warnings}`, or `{errors}`.

    Args:
        source: Path or URI of the data, or a shipped example.
        options: Of the spec and of the budget.
        name: What the data are called, if they say so.
    """
    from pydantic import ValidationError

    from tuner.data import DataError
    from tuner.errors import SpecError
    from tuner.models.errors import ModelError
    from tuner.study.budget import Budget
    from tuner.study.spec import option_errors, spec_from_options
    from tuner.study.study import Study, read_dataset

    budget = Budget.of(options)
    try:
        spec = spec_from_options({n: v for n, v in options.items() if n not in budget.options})
        dataset = read_dataset(spec, source, name, **_bounds())
        spec = spec.model_copy(update={"name": dataset.name})  # nobody sees another's name for it
        check_room(spec)
        study = Study.of(spec, dataset).within(budget)
        study.check_encoders()
    except ValidationError as error:
        return {"errors": [str(fault) for fault in option_errors(error.errors())]}
    except DataError as error:
        return {"errors": list(error.findings)}
    except (SpecError, ModelError) as error:
        return {"errors": [str(error)]}
    return {
        "study": study.id,
        "name": study.name,
        "fingerprint": dataset.fingerprint,
        "spec": spec.model_dump(mode="json"),
        "warnings": list(dataset.warnings),
    }


def check_room(spec: "StudySpec") -> None:
    """Do nothing if a training of a study can begin on this machine, or a cluster is to run it.

    Raises:
        SpecError: If it never can: more would be started than the machine bears.
    """
    from tuner.errors import SpecError
    from tuner.execution.room import Room
    from tuner.settings import Settings

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
    from tuner.execution.cluster import default_workers
    from tuner.models.errors import ModelError
    from tuner.search.cost import ExpectedCost
    from tuner.settings import Settings
    from tuner.study.study import Study

    if found.dataset is None:
        return None, None
    try:
        check_room(spec)
        study = Study.of(spec, found.dataset)
    except (SpecError, ModelError) as error:
        return None, str(error)
    address = Settings().ray_address
    here = None if address else default_workers(address, spec)
    cost = ExpectedCost.of(study, workers=workers or here, time_budget=time_budget)
    return asdict(cost), None


def _bounds() -> dict[str, Any]:
    """How much of a stranger's data is read, and from where."""
    from tuner.settings import Settings

    settings = Settings()
    return {"max_bytes": settings.max_data, "alone": True, "reach": settings.sources}


_TASKS = {"check": check, "inspect": inspect}


def main() -> None:
    """Do what standard input asks for."""
    limit = int(sys.argv[1])  # before anything is loaded that plans with the memory there is
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # mapped files do not count
    request = json.load(sys.stdin)
    try:
        look = _TASKS[request["task"]]
        found = look(request["source"], request["options"], request["name"])
    except MemoryError:
        found = {"errors": ["takes more memory than the service gives to a data set."]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
