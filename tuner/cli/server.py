"""The commands of those who run a service: `serve`, `key create`, `key list`, `key revoke`."""

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
    from tuner.service.serve import first_key, listen, serve

    settings = Settings()
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
