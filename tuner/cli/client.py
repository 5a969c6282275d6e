"""The commands of those who use a service: `submit`, `list`, `status`, `watch` and so on."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import TimeBudget, Workers, spec_of, study_options
from tuner.data.formats.sources import is_uri
from tuner.settings import Settings
from tuner.study.spec import options_of

if TYPE_CHECKING:
    from tuner.client import Client

Id = Annotated[str, typer.Argument(metavar="ID", help="Of a submitted study.")]


@study_options()
def submit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file here, or a URI or example over there.")
    ],
    workers: Workers = None,
    time_budget: TimeBudget = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="Any option by its name in the REST API: -o trials=12 -o step_budget=100000",
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told, signed, when the study ends.")
    ] = None,
    webhook_format: Annotated[
        str | None,
        typer.Option(metavar="standard|slack", help="slack: a sentence, as Slack takes it."),
    ] = None,
    email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Is told, too, if the service sends any.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Stay, and follow it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the service said.")] = False,
    **options: Any,
) -> None:
    """Submit a data set to the service at TUNER_URL, and print the study's id."""
    if Path(data).suffix and not is_uri(data) and not Path(data).is_file():
        raise typer.BadParameter(f"there is no file {data} here", param_hint="DATA")
    if not is_uri(data) and Path(data).is_dir():
        raise typer.BadParameter(
            f"{data} is a folder, and a service takes one file; `tuner run` reads folders",
            param_hint="DATA",
        )
    warm_start = options.pop("warm_start")
    request = options_of(spec_of(options)) | {
        "warm_start": warm_start,
        "workers": workers,
        "time_budget": time_budget,
    }
    with _service() as client:
        study = client.submit(
            data,
            webhook=webhook,
            webhook_format=webhook_format,
            email=email,
            **request | _options(option or []),
        )
        if as_json:
            typer.echo(json.dumps(study, indent=2))
        else:
            typer.echo(study["id"])
            _suggest(study)
        if follow:
            _follow(client, study["id"])


def _suggest(study: dict[str, Any]) -> None:
    """Say what to do next, on standard error, off what scripts read."""
    if study["answered_from_store"]:
        typer.echo(f"This question was answered before: tuner result {study['id']}", err=True)
    else:
        next_ = f"Next: tuner watch {study['id']}, and at its end tuner result {study['id']}"
        typer.echo(next_, err=True)


def show_list(
    state: Annotated[str | None, typer.Option("--status", help="Only such.")] = None,
    name: Annotated[str | None, typer.Option(help="Only such as have this in it.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List your studies, the latest first."""
    filters = {key: value for key, value in (("status", state), ("name", name)) if value}
    empty = True
    with _service() as client:
        for study in client.list(**filters):
            empty = False
            typer.echo(json.dumps(study) if as_json else _line(study))
    if empty:
        typer.echo("There are none: tuner submit DATA", err=True)


def status(study: Id, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Tell how a study stands."""
    with _service() as client:
        row = client.status(study)
    typer.echo(json.dumps(row, indent=2) if as_json else _line(row))


def watch(study: Id) -> None:
    """Follow a study to its end; Ctrl-C stops watching, not the study."""
    with _service() as client:
        _follow(client, study)


def result(
    study: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print the answer of a study."""
    from tuner.cli import console

    with _service() as client:
        answer = client.result(study, wait=wait)
    if as_json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        console.show_answer(answer)


def encoder(
    study: Id,
    modality: Annotated[str, typer.Argument(help="a or b.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write.")],
) -> None:
    """Download the best encoder of a modality: an MLflow model, zipped."""
    with _service() as client:
        typer.echo(client.download(study, modality, out))
    typer.echo("Next: unzip it into a folder; mlflow.pyfunc.load_model(FOLDER) loads it.", err=True)


def cancel(study: Id) -> None:
    """Stop a study; its finished trials are kept."""
    with _service() as client:
        typer.echo(_line(client.cancel(study)))
    typer.echo("Submitted again, it goes on from what is finished.", err=True)


def delete(study: Id) -> None:
    """Delete a study, its trials and its data."""
    with _service() as client:
        client.delete(study)
    typer.echo(f"Deleted {study}.", err=True)


def share(
    study: Id,
    user: Annotated[str, typer.Argument(help="Who may look at it.")],
    remove: Annotated[bool, typer.Option("--remove", help="They may no more.")] = False,
) -> None:
    """Let another user see a study, its answer and its encoders; print who may."""
    with _service() as client:
        for name in client.share(study, user, remove=remove):
            typer.echo(name)


def webhook_secret() -> None:
    """Print what your webhooks are signed with, after standardwebhooks.com."""
    with _service() as client:
        typer.echo(client.webhook_secret())


def _service() -> "Client":
    """Return a client of the service at TUNER_URL."""
    from tuner.client import Client

    file = Settings().home.expanduser() / "api-key"
    key = os.environ.get("TUNER_API_KEY") or (file.read_text().strip() if file.is_file() else "")
    if not key:
        typer.echo("Error: set TUNER_API_KEY to a key of the service (tuner key create)", err=True)
        raise typer.Exit(2)
    return Client(os.environ.get("TUNER_URL", "http://127.0.0.1:8080"), key)


def _follow(client: "Client", study: str) -> None:
    for event in client.watch(study):
        content = event.content
        if event.kind == "progress":
            best = "" if content["best"] is None else f", best so far λ = {content['best'][0]:.3g}"
            typer.echo(f"{content['phase']} {content['done']}/{content['total']}{best}", err=True)
        else:
            typer.echo(str(content.get("error") or content["status"]), err=True)


def _line(study: dict[str, Any]) -> str:
    words = [study["id"], f"{study['status']:9}", study["name"], f"{study['trials']} trials"]
    if study["lambda"] is not None:
        words.append(f"λ* = {study['lambda']:.6g}, {study['verdict']}")
    if study["error"]:
        words.append(study["error"])
    return "  ".join(words)


def _options(pairs: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r}: write NAME=VALUE", param_hint="--option")
        try:
            options[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.replace("-", "_")] = value
    return options
