"""The commands that look at studies, of this machine or of a service."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.client import is_service, line_of, service
from tuner.cli.local import LocalStudies
from tuner.cli.options import writable
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.client import Client
    from tuner.study.result import StudyResult
    from tuner.study.scripts.result import ScriptResult

Id = Annotated[str, typer.Argument(metavar="ID", help="Of a study.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Of a service, instead of the store of this machine.",
        show_default="TUNER_URL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json")]
_ROWS = ("name", "status", "verdict", "lambda", "interval", "gain", "gain_interval", "metric")


def show_list(
    state: Annotated[str | None, typer.Option("--status", help="Only such.")] = None,
    name: Annotated[str | None, typer.Option(help="Only such as have this in it.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List studies, the latest first: of this machine, or yours of a service."""
    filters = {key: value for key, value in (("status", state), ("name", name)) if value}
    empty = True
    with _studies(url) as studies:
        for study in studies.list(**filters):
            empty = False
            typer.echo(json.dumps(study) if as_json else line_of(study))
    if empty:
        next_ = "tuner submit DATA" if is_service(url) else "tuner run DATA"
        typer.echo(f"There are none: {next_}", err=True)


def result(
    study: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is there.")] = False,
    url: Url = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The λ-curve, as a table.")] = False,
) -> None:
    """Print the answer of a study."""
    with _studies(url) as studies:
        answer = studies.result(study, wait=wait)
    if as_csv:
        from tuner.reporting.table import curve_csv

        sys.stdout.write(curve_csv(answer))
    elif as_json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        _show(answer)


def _show(answer: "StudyResult | ScriptResult") -> None:
    from tuner.cli import console
    from tuner.study.scripts.result import ScriptResult

    if isinstance(answer, ScriptResult):
        console.show_script(answer)
    else:
        console.show_answer(answer)


def report(
    study: Id,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Where to write it.",
            show_default="where it lies",
            callback=writable,
        ),
    ] = None,
    url: Url = None,
) -> None:
    """Print where the report of a study is; it is made again, or fetched, if it is not here."""
    with _studies(url) as studies:
        place = studies.report(study, out)
    typer.echo(place.absolute())


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="ID ID …", help="Two studies or more.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the answers of studies side by side, and the options in which they differ."""
    if len(studies) < 2:
        raise typer.BadParameter("name two studies or more", param_hint="ID")
    with _studies(url) as store:
        views = [store.status(study) for study in studies]
    options = _differing([_options(view) for view in views])
    if as_json:
        told = [
            {
                "study": view["study"],
                **{row: view[row] for row in _ROWS},
                "fingerprint": view["fingerprint"],
                "options": mine,
            }
            for view, mine in zip(views, options, strict=True)
        ]
        typer.echo(json.dumps({"studies": told}, indent=2))
        return
    from tuner.cli import console

    rows = {row: [view[row] for view in views] for row in _ROWS}
    rows["data"] = [view["fingerprint"][:8] for view in views]
    rows |= {name: [mine[name] for mine in options] for name in (options[0] if options else ())}
    console.show_comparison([view["study"] for view in views], rows)


def _studies(url: str | None) -> "Client | LocalStudies":
    """Return the studies of the service that is named, or else of this machine."""
    return service(url) if is_service(url) else LocalStudies(Settings())


def _options(view: dict[str, Any]) -> dict[str, Any]:
    """The options of a study, flat."""
    spec = dict(view["spec"])
    options: dict[str, Any] = spec | spec.pop("training", {}) | view["options"]
    return options


def _differing(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the options that not all studies have alike; None where one has none."""
    names = [name for each in options for name in each if name != "training"]
    differing = [
        name
        for name in dict.fromkeys(names)
        if any(each.get(name) != options[0].get(name) for each in options)
    ]
    return [{name: each.get(name) for name in differing} for each in options]
