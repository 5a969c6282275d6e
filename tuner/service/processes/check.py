"""Checks a submission in a process of its own: `python -m tuner.service.processes.check`.

Reads JSON `{source, options, name}` from standard input and writes JSON: what the study would be,
or all that is wrong. Its memory is bounded: a hostile file ends this process, not the service.
"""

import json
import resource
import sys
from typing import Any

from pydantic import ValidationError

from tuner.data.memory.spool import memory


def check(source: str, options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return `{study, name, fingerprint, spec, warnings}`, or `{errors}`."""
    from tuner.data import DataError
    from tuner.errors import SpecError
    from tuner.models.errors import ModelError
    from tuner.settings import Settings
    from tuner.study.spec import option_errors, spec_from_options
    from tuner.study.study import Study, read_dataset

    try:
        spec = spec_from_options(options)
        dataset = read_dataset(spec, source, name, max_bytes=Settings().max_data, alone=True)
        spec = spec.model_copy(update={"name": dataset.name})  # nobody sees another's name for it
        study = Study.of(spec, dataset)
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


def main() -> None:
    """Check what standard input asks for."""
    limit = memory() // 2
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # mapped files do not count
    request = json.load(sys.stdin)
    try:
        study = check(request["source"], request["options"], request["name"])
    except MemoryError:
        study = {"errors": ["takes more memory than the service gives to a data set."]}
    json.dump(study, sys.stdout)


if __name__ == "__main__":
    main()
