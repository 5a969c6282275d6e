"""The commands around the service: `serve`, `key …`, `submit`, `list`, `status` and so on."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.errors import ServiceError
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.client import Client

SERVICE = "Service"
keys_app = typer.Typer(no_args_is_help=True, help="API keys of the service on this machine.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Of a submitted study.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(rich_help_panel=SERVICE)(serve)
    app.add_typer(keys_app, name="key", rich_help_panel=SERVICE)
    for name, command in (
        ("submit", submit),
        ("list", show_list),
        ("status", status),
        ("watch", watch),
        ("result", result),
        ("encoder", encoder),
        ("cancel", cancel),
        ("delete", delete),
        ("share", share),
        ("webhook-secret", webhook_secret),
    ):
        app.command(name, rich_help_panel=SERVICE)(command)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    runner: Annotated[
        bool, typer.Option(help="Run studies, too; --no-runner leaves them to others.")
    ] = True,
) -> None:
    """Serve the REST API and the web page, and run what is submitted.

    The first start writes a key to TUNER_HOME/api-key. Studies go on when the service stops, and
    are taken up again where their own process died.
    """
    from tuner.service.serve import first_key, serve

    settings = Settings()
    made = first_key(settings)
    typer.echo(f"web page  http://{host}:{port}", err=True)
    typer.echo(f"key       in {made or settings.folder / 'api-key'}", err=True)
    serve(settings, host, port, run_studies=runner)


@keys_app.command("create")
def key_create(
    user: Annotated[str, typer.Argument(help="Whose; a new user is written down.")],
    read_only: Annotated[bool, typer.Option("--read-only", help="It may not submit.")] = False,
) -> None:
    """Make a key and print it: it cannot be shown again."""
    from tuner.storage.accounts import create_key
    from tuner.storage.database import Database

    scopes = ("read",) if read_only else ("read", "write")
    typer.echo(create_key(Database(Settings().store_url), user, scopes))


@keys_app.command("list")
def key_list() -> None:
    """List keys by their ids: the keys themselves are kept nowhere."""
    from tuner.storage.accounts import keys
    from tuner.storage.database import Database

    for row, user in keys(Database(Settings().store_url)):
        state = "revoked" if row.revoked else "valid"
        typer.echo(f"{row.id}  {user}  {','.join(row.scopes)}  {row.created:%Y-%m-%d}  {state}")


@keys_app.command("revoke")
def key_revoke(key: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows.")]) -> None:
    """Revoke a key at once."""
    from tuner.storage.accounts import revoke_key
    from tuner.storage.database import Database

    if not revoke_key(Database(Settings().store_url), key):
        raise typer.BadParameter(f"there is no key {key!r}: see tuner key list")


def submit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file here, or a URI or example over there.")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", metavar="NAME=VALUE", help="Any of `tuner run`: -o trials=12 -o a=fou"
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told, signed, when the study ends.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Stay, and follow it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the service said.")] = False,
) -> None:
    """Submit a data set to the service at TUNER_URL, and print the study's id."""
    with _service() as client:
        study = client.submit(data, webhook=webhook, **_options(option or []))
        if as_json:
            typer.echo(json.dumps(study, indent=2))
        else:
            typer.echo(study["id"])
            if study["answered_from_store"]:
                typer.echo("This question was answered before: tuner result", err=True)
        if follow:
            _follow(client, study["id"])


def show_list(
    state: Annotated[str | None, typer.Option("--status", help="Only such.")] = None,
    name: Annotated[str | None, typer.Option(help="Only such as have this in it.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List your studies, the latest first."""
    asked = {key: value for key, value in (("status", state), ("name", name)) if value}
    with _service() as client:
        for study in client.list(**asked):
            typer.echo(json.dumps(study) if as_json else _line(study))


def status(study: Id, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Tell how a study stands."""
    with _service() as client:
        told = client.status(study)
        typer.echo(json.dumps(told, indent=2) if as_json else _line(told))


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


def cancel(study: Id) -> None:
    """Stop a study; its finished trials are kept."""
    with _service() as client:
        typer.echo(_line(client.cancel(study)))


def delete(study: Id) -> None:
    """Delete a study, its trials and its data."""
    with _service() as client:
        client.delete(study)


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


@contextmanager
def _service() -> Iterator["Client"]:
    """A client of TUNER_URL; what the service refuses becomes words and an exit code."""
    from tuner.client import Client

    settings = Settings()
    url = os.environ.get("TUNER_URL", "http://127.0.0.1:8080")
    file = settings.home.expanduser() / "api-key"
    key = os.environ.get("TUNER_API_KEY") or (file.read_text().strip() if file.is_file() else "")
    if not key:
        typer.echo("Error: set TUNER_API_KEY to a key of the service (tuner key create)", err=True)
        raise typer.Exit(2)
    try:
        with Client(url, key) as client:
            yield client
    except ServiceError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if error.status in (400, 404, 409, 413, 422) else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _follow(client: "Client", study: str) -> None:
    for event in client.watch(study):
        if event.kind == "progress":
            at = event.content
            best = "" if at["best"] is None else f", best so far λ = {at['best'][0]:.3g}"
            typer.echo(f"{at['phase']} {at['done']}/{at['total']}{best}", err=True)
        else:
            typer.echo(str(event.content.get("error") or event.content["status"]), err=True)


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
