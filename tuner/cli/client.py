"""The commands of those who use a service: `submit`, `list`, `status`, `watch` and so on."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import TimeBudget, Workers, spec_of, study_options, writable
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
    _check_file(data)
    request = {"warm_start": options.pop("warm_start"), "workers": workers}
    request |= {"prior": options.pop("prior")}
    request |= {"time_budget": time_budget, "email": email}
    request |= {"webhook": webhook, "webhook_format": webhook_format}
    with service() as client:
        asked = options_of(spec_of(options)) | request | _options(option or [])
        study = client.submit(data, **asked)
        if as_json:
            typer.echo(json.dumps(study, indent=2))
        else:
            typer.echo(study["study"])
            _suggest(study)
        if follow:
            _follow(client, study["id"])


def _check_file(data: str) -> None:
    """Do nothing if that is a file, a URI, or may be an example."""
    if Path(data).suffix and not is_uri(data) and not Path(data).is_file():
        raise typer.BadParameter(f"there is no file {data} here", param_hint="DATA")
    if not is_uri(data) and Path(data).is_dir():
        raise typer.BadParameter(
            f"{data} is a folder, and a service takes one file; `tuner run` reads folders",
            param_hint="DATA",
        )


def _suggest(study: dict[str, Any]) -> None:
    """Say what to do next, on standard error, off what scripts read."""
    if study["answered_from_store"]:
        typer.echo(f"This question was answered before: tuner result {study['study']}", err=True)
    else:
        next_ = f"Next: tuner watch {study['study']}, and at its end tuner result {study['study']}"
        typer.echo(next_, err=True)


def status(study: Id, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Tell how a study stands."""
    with service() as client:
        row = client.status(study)
    typer.echo(json.dumps(row, indent=2) if as_json else line_of(row))


def watch(study: Id) -> None:
    """Follow a study to its end; Ctrl-C stops watching, not the study."""
    with service() as client:
        _follow(client, study)


def encoder(
    study: Id,
    modality: Annotated[str, typer.Argument(help="a or b.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT.zip", help="The file to write.", callback=writable)
    ],
) -> None:
    """Download the best encoder of a modality: an MLflow model, zipped."""
    with service() as client:
        typer.echo(client.download(study, modality, out))
    typer.echo("Next: unzip it into a folder; mlflow.pyfunc.load_model(FOLDER) loads it.", err=True)


def cancel(study: Id) -> None:
    """Stop a study; its finished trials are kept."""
    with service() as client:
        typer.echo(line_of(client.cancel(study)))
    typer.echo("Submitted again, it goes on from what is finished.", err=True)


def delete(study: Id) -> None:
    """Delete a study, its trials and its data."""
    with service() as client:
        client.delete(study)
    typer.echo(f"Deleted {study}.", err=True)


def share(
    study: Id,
    user: Annotated[str, typer.Argument(help="Who may look at it.")],
    remove: Annotated[bool, typer.Option("--remove", help="They may no more.")] = False,
) -> None:
    """Let another user see a study, its answer and its encoders; print who may."""
    with service() as client:
        for name in client.share(study, user, remove=remove):
            typer.echo(name)


def edit(
    study: Id,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    note: Annotated[str | None, typer.Option(help="Text beside it.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Of its tags, all that it is to have.")
    ] = None,
    archive: Annotated[
        bool | None, typer.Option("--archive/--unarchive", help="Put it aside, or bring it back.")
    ] = None,
) -> None:
    """Rename a study, or set its note, its tags, and whether it is archived."""
    wishes = {"name": name, "note": note, "tags": tag, "archived": archive}
    changes = {what: value for what, value in wishes.items() if value is not None}
    if not changes:
        raise typer.BadParameter("say what to change: --name, --note, --tag or --archive")
    with service() as client:
        typer.echo(line_of(client.edit(study, **changes)))


def link(
    study: Id,
    days: Annotated[int, typer.Option(min=1, max=365, help="For how long.")] = 30,
    list_: Annotated[bool, typer.Option("--list", help="List its links, make none.")] = False,
    revoke: Annotated[
        str | None, typer.Option(metavar="LINK", help="Let that of this id show it no more.")
    ] = None,
) -> None:
    """Print a link that shows a study to whoever has it, without an account."""
    with service() as client:
        if revoke is not None:
            client.revoke_link(study, revoke)
            typer.echo(f"Revoked {revoke}.", err=True)
        elif list_:
            for each in client.links(study):
                typer.echo(f"{each['id']}  until {each['expires']}")
        else:
            made = client.link(study, days)
            typer.echo(made["url"])
            words = f"It is shown only now, and ends {made['expires']}; before that by:"
            typer.echo(f"{words} tuner link {study} --revoke {made['id']}", err=True)


def webhook_secret() -> None:
    """Print what your webhooks are signed with, after standardwebhooks.com."""
    with service() as client:
        typer.echo(client.webhook_secret())


def is_service(url: str | None = None) -> bool:
    """Whether a service is meant, and not the store of this machine."""
    return url is not None or any(name in os.environ for name in ("TUNER_URL", "TUNER_API_KEY"))


def service(url: str | None = None, **options: float) -> "Client":
    """Return a client of a service, of that at TUNER_URL if none is named, with its `options`."""
    from tuner.client import Client

    file = Settings().home.expanduser() / "api-key"
    key = os.environ.get("TUNER_API_KEY") or (file.read_text().strip() if file.is_file() else "")
    if not key:
        typer.echo("Error: set TUNER_API_KEY to a key of the service (tuner key create)", err=True)
        raise typer.Exit(2)
    return Client(url or os.environ.get("TUNER_URL", "http://127.0.0.1:8080"), key, **options)


def _follow(client: "Client", study: str) -> None:
    for event in client.watch(study):
        content = event.content
        if event.kind == "progress":
            best = "" if content["best"] is None else f", best so far λ = {content['best'][0]:.3g}"
            under_way = "".join(
                f", λ = {one['strength']:.3g} in epoch {int(one['epoch']) + 1} of {one['epochs']}"
                for one in content.get("under_way", ())[:2]
            )
            count = f"{content['phase']} {content['done']}/{content['total']}"
            typer.echo(f"{count}{best}{under_way}", err=True)
        else:
            words = content.get("error") or content.get("step") or content["status"]
            typer.echo(str(words), err=True)


def line_of(study: dict[str, Any]) -> str:
    """Say how a study stands."""
    words = [study["study"], f"{study['status']:9}", study["name"], f"{study['trials']} trials"]
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
