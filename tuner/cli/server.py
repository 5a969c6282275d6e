"""The commands that serve: `serve`, `key create`, `key list`, `key revoke`; `ui`, of MLflow."""

import os
import sys
from typing import Annotated

import typer

from tuner.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    runner: Annotated[
        bool, typer.Option(help="Run studies, too; --no-runner leaves them to others.")
    ] = True,
) -> None:
    """Serve the REST API and the web page, and run what is submitted.

    The first start writes a key of the user `admin` to TUNER_HOME/api-key. Studies go on when the
    service stops, and are taken up again where their own process died.
    """
    from tuner.service.incoming.offers import offers
    from tuner.service.serve import first_key, listen, serve

    settings = Settings()
    for offer in offers(settings).values():
        offer.script()  # what is wrong with one is told now, and not to its first user
    listener = listen(host, port)
    file = first_key(settings) or settings.folder / "api-key"
    place = f"in {file}" if file.is_file() else "make one with: tuner key create USER"
    address = f"[{host}]" if ":" in host else host
    typer.echo(f"web page  http://{address}:{port}", err=True)
    typer.echo(f"key       {place}", err=True)
    serve(settings, listener, run_studies=runner)


def key_create(
    user: Annotated[str, typer.Argument(help="Whose; a new user is written down.")],
    read_only: Annotated[bool, typer.Option("--read-only", help="It may not submit.")] = False,
) -> None:
    """Make a key and print it: it cannot be shown again."""
    from tuner.storage.accounts import create_key
    from tuner.storage.database import Database

    scopes = ("read",) if read_only else ("read", "write")
    typer.echo(create_key(Database(Settings().store_url), user, scopes))
    typer.echo(f"{user} sets TUNER_API_KEY to it, and TUNER_URL to this service.", err=True)


def key_list() -> None:
    """List keys by their ids: the keys themselves are kept nowhere."""
    from tuner.storage.accounts import keys
    from tuner.storage.database import Database

    for row, user in keys(Database(Settings().store_url)):
        state = "revoked" if row.revoked else "valid"
        typer.echo(f"{row.id}  {user}  {','.join(row.scopes)}  {row.created:%Y-%m-%d}  {state}")


def key_revoke(key: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows.")]) -> None:
    """Revoke a key at once."""
    from tuner.storage.accounts import revoke_key
    from tuner.storage.database import Database

    if not revoke_key(Database(Settings().store_url), key):
        raise typer.BadParameter(f"there is no key {key!r}: see tuner key list")


def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Show runs, curves and registered models in MLflow's web page."""
    settings = Settings()
    if settings.mlflow_tracking_uri and settings.mlflow_tracking_uri.startswith("http"):
        typer.echo(f"MLflow is at {settings.mlflow_tracking_uri}", err=True)
        return
    from tuner.tracking.connection import as_tracking_error, connect

    with as_tracking_error(settings.tracking_uri):
        # This builds a new database, too, in a way that Ctrl-C cannot harm.
        experiments = connect(settings.tracking_uri).search_experiments(
            max_results=10, order_by=["last_update_time DESC"]
        )
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONSAFEPATH": "1",  # nothing of the working directory is imported
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--backend-store-uri", settings.tracking_uri, "--workers", "1"]
    if settings.artifact_location:
        command += ["--default-artifact-root", settings.artifact_location]
    typer.echo(f"MLflow: http://{host}:{port} (Ctrl-C ends it)", err=True)
    for experiment in experiments:  # MLflow's own list leads to its pages for language models
        if experiment.experiment_id != "0":
            page = f"#/experiments/{experiment.experiment_id}?workflowType=machine_learning"
            typer.echo(f"  http://{host}:{port}/{page}  {experiment.name}", err=True)
    os.execve(sys.executable, command, environment)  # noqa: S606  # it takes our place
