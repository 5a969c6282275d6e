"""The options of a study as flags, made of the fields that describe them."""

import os
import re
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tuner.data.options import DataOptions
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.reporting.command import command, flag
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.spec import OPTIONS, OptionError, StudySpec, option_errors, spec_from_options

Command = TypeVar("Command", bound=Callable[..., None])
Spec = TypeVar("Spec", StudySpec, ScriptSpec)
DATA_SET = (*DataOptions.model_fields, "seed")  # options that say how a data set is read
_OF_THE_STUDY = (*DATA_SET, "metric", "smallest_gain", "target", "cpus", "gpus", "ranks")
_SEARCH = "Search"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def study_options(*names: str) -> Callable[[Command], Command]:
    """Give a command options of a study, all unless some are named.

    The command takes an argument first, then flags of its own, and last `**options`.
    """

    def decorate(command: Command) -> Command:
        argument, *flags, _ = signature(command).parameters.values()
        options = [_parameter(name, OPTIONS[name]) for name in names or OPTIONS]
        vars(command)["__signature__"] = Signature([argument, *options, *flags])
        return command

    return decorate


def script_options(command: Command) -> Command:
    """Give a command the options of a study of training code, as `study_options` does."""
    argument, *flags, _ = signature(command).parameters.values()
    options = [_parameter(name, field) for name, field in ScriptSpec.model_fields.items()]
    vars(command)["__signature__"] = Signature([argument, *options, *flags])
    return command


def spec_of(options: Mapping[str, Any]) -> StudySpec:
    """Make a spec of what flags were set to.

    Raises:
        SpecError: If a value is not allowed: a line for each, by the name of its flag.
    """
    return _checked(spec_from_options, options)


def script_spec_of(options: Mapping[str, Any]) -> ScriptSpec:
    """Make a spec of training code: see `spec_of`."""
    return _checked(ScriptSpec.model_validate, options)


def _checked(make: Callable[[Mapping[str, Any]], Spec], options: Mapping[str, Any]) -> Spec:
    try:
        return make(options)
    except ValidationError as error:
        faults = option_errors(error.errors())
        raise SpecError("\n".join(map(_line, faults))) from None


def _line(fault: OptionError) -> str:
    if fault.option == "spec":
        return fault.reason
    values = fault.value if isinstance(fault.value, list | tuple) else (fault.value,)
    value = " ".join(map(str, values))
    return f"{flag(fault.option.split('.')[0])} {value}: {fault.reason}"


def _parameter(name: str, field: FieldInfo) -> Parameter:
    kind = get_origin(field.annotation)
    types = {Literal: str, Union: str, tuple: list[str], UnionType: str | None}
    option = typer.Option(flag(name), help=_help(field), rich_help_panel=_panel(name))
    return Parameter(
        name,
        Parameter.POSITIONAL_OR_KEYWORD,
        default=field.default,
        annotation=Annotated[types.get(kind, field.annotation), option],
    )


def _help(field: FieldInfo) -> str:
    """Write a description as a sentence, with the choices that there are."""
    text = field.description or ""
    text = text[0].upper() + text[1:] if text[0].isascii() else text  # no Λ for a λ
    if get_origin(field.annotation) is Literal:
        return f"{text}. One of {', '.join(get_args(field.annotation))}."
    return f"{text}; give it once for each." if isinstance(field.default, tuple) else f"{text}."


def _panel(name: str) -> str | None:
    if name in TrainingConfig.model_fields:
        return "Training"
    return None if name in _OF_THE_STUDY else _SEARCH


def seconds(duration: str) -> float:
    """Read a duration such as `1h30m`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise typer.BadParameter(f"{duration!r}: write 90s, 10m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def suggest(data: str, options: Mapping[str, Any], subcommand: str, use: str) -> None:
    """Say what to do next with a data set, on standard error, off what scripts read."""
    typer.echo(f"Next: {command(spec_of(options), data, subcommand)}  ({use})", err=True)


def writable(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before anything is computed for it."""
    if path is None:
        return None
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}: make it first")
    if not os.access(path.parent, os.W_OK):
        raise typer.BadParameter(f"you may not write into {path.parent}: name another folder")
    return path


def new_file(path: Path, *, force: bool) -> None:
    """Refuse to replace a file unless that is asked for."""
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} is there already: choose another name, or --force")


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Path or URI of a file with a, b and y (.npz, .safetensors, .parquet, .csv, .tsv), "
        "a folder or quoted pattern of tables, a folder of .npy files, or a shipped example: mfeat",
    ),
]
StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="Its id, as `tuner run` prints it.")]
WhereData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Where its data are.",
        show_default="where `tuner run` found them",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at a time; never changes λ*.", show_default="all CPUs"),
]
TimeBudget = Annotated[
    float | None,
    typer.Option(
        parser=seconds,
        metavar="DURATION",
        help="Start no further batch of λs after this long, such as 90s, 10m or 1h30m.",
        rich_help_panel=_SEARCH,
    ),
]
