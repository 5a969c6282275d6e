"""The command that asks for a study, as the report prints it."""

import shlex
from collections.abc import Iterator
from typing import Any

from tuner.study.prior import Prior
from tuner.study.spec import StudySpec, WarmStart, options_of


def flag(option: str) -> str:
    """Return the flag of an option: `max_lambda` is `--max-lambda`."""
    return f"--{option.replace('_', '-')}"


def command(spec: StudySpec, data: str = "DATA", subcommand: str = "run") -> str:
    """Return the command that asks the same question of a data set.

    `tuner run` reads what is written here as this spec again; a warm start is named by its study,
    and a prior by where it is from.
    """
    words = (word for option in options_of(spec).items() for word in _words(*option))
    return shlex.join(["tuner", subcommand, data, *words])


def _words(option: str, value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for each in value:
            yield from _words(option, each)
    elif value is True:
        yield flag(option)
    elif isinstance(value, Prior):
        if value.source != "none":
            yield from (flag(option), value.source)
        if value.earlier is not None:
            yield from (flag("warm_start"), value.earlier.study)
    else:
        yield flag(option)
        if isinstance(value, WarmStart):
            yield value.study
        else:
            yield str(value)
