"""The command `tuner`.

Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.
"""

import atexit
import errno
import gc
import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from tuner.cli import client, data, server, studies
from tuner.cli.past import corpus
from tuner.cli.past.predict import predict
from tuner.cli.run import extend, plan, publish, run, tune
from tuner.cli.scripts import agent
from tuner.cli.scripts.check import check
from tuner.data import DataError
from tuner.errors import ServiceError, SpecError, TunerError
from tuner.execution.garbage import collect_seldom
from tuner.execution.interrupts import have_interrupts, raise_on_interrupt
from tuner.models.errors import EncoderModuleError, UnsupportedShapeError
from tuner.settings import Settings
from tuner.study.spec import option_errors

_SERVICE = "Service"
_BAD_INPUT = (400, 404, 409, 413, 422)  # HTTP statuses

_OF_SYSTEM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENOTDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
)
_MEND = (
    "What is finished is safe: make room, get the rights or name another folder (TUNER_HOME), and "
    "run the command again."
)

app = typer.Typer(
    name="tuner",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Find the contrastive alignment strength λ that a paired data set wants.

Trains one encoder per modality with L = L_task + λ·L_align at many λ, and tells which λ is best
for each modality's own predictions, whether that beats λ = 0, and how sure it is.

- `tuner run mfeat`: the shipped example. Which λ do two views of digits want?
- `tuner inspect my-data.npz`: what is in my file, and how is it read?
- `tuner profile my-data.npz`: what do the modalities share, and what to expect of alignment?
- `tuner predict my-data.npz`: what do past studies lead one to expect, before any training?
- `tuner plan my-data.npz`: what would it take, and how small a gain would it show?
- `tuner run my-data.npz`: the same question about my data.
- `tuner tune my_train:train`, `tuner tune -- COMMAND {strength} {seed} {out}`: λ inside the
  training code that I have.
- `tuner ui`: look at runs, curves and models in MLflow.
- `tuner serve`: a service for many, with a web page; `tuner submit my-data.npz` asks it.
""",
)
keys = typer.Typer(no_args_is_help=True, help="API keys of the service on this machine.")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tuner {version('alignment-tuner')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Keep subcommands even where there is only one."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what was raised into words and an exit code."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        have_interrupts(signal.SIG_IGN)  # it ends already
        typer.echo(str(interrupt) or "Interrupted.", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if (told := _told(error)) is None:
            raise
        raise _exit(*told) from None


def _told(error: Exception) -> tuple[int, str] | None:
    """Return the exit code of what was raised, and words; None of what nobody has thought of."""
    match error:
        case DataError() | SpecError() | UnsupportedShapeError() | EncoderModuleError():
            return 2, str(error)
        case ServiceError():
            return 2 if error.status in _BAD_INPUT else 1, str(error)
        case TunerError():
            return 1, str(error)
        case OSError() if error.errno in _OF_SYSTEM or _is_of_home(error.filename):
            where = f" ({error.filename})" if error.filename else ""
            return 1, f"{error.strerror}{where}. {_MEND}"
        case ValidationError() if error.title == Settings.__name__:
            faults = option_errors(error.errors())
            return 2, "\n".join(f"{_variable(f.option)}: {f.reason}" for f in faults)
    words = _database_words(error)
    return None if words is None else (1, words)


def _is_of_home(file: object) -> bool:
    """Whether a path is that of the folder for studies, above it or in it."""
    if not isinstance(file, str):
        return False
    path, home = Path(file).absolute(), Settings().home.expanduser().absolute()
    return path.is_relative_to(home) or home.is_relative_to(path)


def _database_words(error: Exception) -> str | None:
    """Tell what is wrong with a database that an error comes of; None if it is none's fault."""
    if "sqlalchemy" not in sys.modules:
        return None
    from tuner.storage.database import fault_of_database

    if (fault := fault_of_database(error)) is None:
        return None
    if Settings().database_url is not None:
        return (
            f"a database cannot be used: {fault}. What is finished is safe: see that it answers, "
            "or to TUNER_DATABASE_URL, and run the command again."
        )
    return f"a database in {Settings().home.absolute()} cannot be used: {fault}. {_MEND}"


def _exit(code: int, reason: str) -> typer.Exit:
    typer.echo(f"Error: {reason}", err=True)
    return typer.Exit(code)


def _variable(setting: str) -> str:
    """Return the environment variable of a setting, by its field or its alias."""
    prefix = "TUNER_" if setting in Settings.model_fields else ""
    return prefix + setting.upper()


def _add(
    to: typer.Typer, commands: dict[str, Callable[..., None]], panel: str | None = None
) -> None:
    for name, command in commands.items():
        to.command(name, rich_help_panel=panel)(exit_codes()(command))


_add(
    app,
    {
        "run": run,
        "predict": predict,
        "plan": plan,
        "extend": extend,
        "tune": tune,
        "publish": publish,
        "inspect": data.inspect,
        "validate": data.validate,
        "profile": data.profile,
        "synthesize": data.synthesize,
        "check": check,
        "list": studies.show_list,
        "result": studies.result,
        "report": studies.report,
        "compare": studies.compare,
        "ui": server.ui,
    },
)
app.add_typer(corpus.app, name="corpus")
_add(
    corpus.app,
    {
        "add": corpus.add,
        "list": corpus.show_list,
        "export": corpus.export,
        "forget": corpus.forget,
    },
)
_add(app, {"serve": server.serve}, _SERVICE)
app.add_typer(keys, name="key", rich_help_panel=_SERVICE)
_add(keys, {"create": server.key_create, "list": server.key_list, "revoke": server.key_revoke})
_add(
    app,
    {
        "submit": client.submit,
        "agent": agent.work,
        "status": client.status,
        "watch": client.watch,
        "encoder": client.encoder,
        "cancel": client.cancel,
        "delete": client.delete,
        "share": client.share,
        "link": client.link,
        "edit": client.edit,
        "webhook-secret": client.webhook_secret,
    },
    _SERVICE,
)


def _print_what_the_terminal_can() -> None:
    """Print ? where a terminal has no letter λ, as in Latin-1: that is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")


def main() -> NoReturn:
    """Run the command and exit with its code."""
    _print_what_the_terminal_can()
    raise_on_interrupt()
    collect_seldom()
    atexit.register(gc.freeze)  # Python would look through all that it loaded, for two seconds
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        sys.stderr.write("Error: the folder that you are in is gone: go to another (cd).\n")
        sys.exit(2)
    sys.path.append(str(folder))  # where MODULE:NAME is looked for, after what is installed
    app()
    raise AssertionError("a command ends by exiting")
