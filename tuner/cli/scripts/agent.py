"""`tuner agent`: trains for a study of a service; and how such a study is submitted."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.client import service
from tuner.cli.options import seconds
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.study.scripts.spec import ScriptSpec

_AWAY = 3600.0  # seconds that the service may be away
_LONGEST = 64  # letters of what code is called


def work(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the service.")],
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Id of the study.")],
    code: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:FUNCTION | -- COMMAND…",
            help="The code, as `tuner tune` takes it.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="What this worker is called, as no other is: begun anew by the same name it goes "
            "on with the training that it had.",
            show_default="the machine's name and a number",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="DURATION",
            help="End a training that takes longer, such as 90m or 6h: it failed then.",
        ),
    ] = None,
) -> None:
    """Train for a study of a service, one training after the other, until it is done.

    Run as many as there are machines, jobs or GPUs: no two get the same λ and seed. Ctrl-C gives
    the training back; of one that is killed nothing is heard, and after five minutes another gets
    its training. The service may be away for an hour meanwhile. The key is TUNER_API_KEY.
    """
    from tuner.agent import Agent, worker_name
    from tuner.scripts.script import Script

    script = Script.of_words(code)
    with service(url, patience=_AWAY) as client:
        Agent(
            client=client,
            study=study,
            script=script,
            folder=Settings().trainings(study),
            worker=name or worker_name(),
            timeout=timeout,
            on_training=_say,
        ).work()
    typer.echo(f"The study is done: tuner result {study} --url {url}", err=True)


def submit(url: str, code: list[str], spec: "ScriptSpec") -> None:
    """Submit a study of code that agents train, or @NAME the service, and print its id."""
    from tuner.scripts.script import Script

    options = spec.model_dump(mode="json", exclude_unset=True)
    if len(code) == 1 and code[0].startswith("@"):
        with service(url) as client:
            study = client.submit_script(code[0][1:], **options)
        typer.echo(study["id"])
        typer.echo(f"Next: TUNER_URL={url} tuner watch {study['id']}", err=True)
        return
    script = Script.of_words(code)
    called = script.name if len(script.name) <= _LONGEST else f"{script.name[: _LONGEST - 1]}…"
    with service(url) as client:
        study = client.submit_elsewhere(called, script.digest, **options)
    typer.echo(study["id"])
    words = code[0] if script.function else f"-- {' '.join(code)}"
    typer.echo(
        f"Next, wherever it is to be trained: tuner agent {url} {study['id']} {words}", err=True
    )


def _say(asked: dict[str, Any], words: str) -> None:
    typer.echo(
        f"{asked['phase']} λ = {asked['strength']:.4g}, seed {asked['seed']}: {words}", err=True
    )
