"""`tuner check`: a user's own training, tried before a study of it."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import AsJson
from tuner.cli.run import Code, Timeout
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.scripts.check import Finding

_MARKS = {
    "good": ("ok", typer.colors.GREEN),
    "doubt": ("doubt", typer.colors.YELLOW),
    "fault": ("fault", typer.colors.RED),
    "unseen": ("?", typer.colors.BLUE),
}


def check(
    script: Code,
    seed: Annotated[int, typer.Option(help="One seed that is tried; the next is the other.")] = 0,
    max_lambda: Annotated[float, typer.Option(min=1e-3, help="The largest λ of the study.")] = 4.0,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Try a training of your own at a few λ, before a study of it is paid for.

    Is the seed used, and λ? Do trainings repeat, report the same rows, and pair by their seeds? It
    takes seven trainings: let them be short ones. Exit code 1 if a study would not work.
    """
    from tuner.scripts.check import check as findings_of
    from tuner.scripts.script import Script

    tried = Script.of_words(script)
    folder = Settings().home.expanduser().absolute() / "checks" / tried.digest[:12]
    findings = findings_of(
        tried, folder=folder, seed=seed, large=max_lambda, timeout=timeout, on_training=_say
    )
    told = list(findings if as_json else _shown(findings))
    works = all(finding.status != "fault" for finding in told)
    if as_json:
        _write(tried.name, folder, told, works=works)
    elif works:
        typer.echo("A study can be made of it.")
    else:
        typer.echo("A study of it would not work: mend what is marked as a fault first.")
    if not works:
        raise typer.Exit(1)


def _write(name: str, folder: Path, findings: Iterable["Finding"], *, works: bool) -> None:
    told = {
        "script": name,
        "works": works,
        "findings": [asdict(finding) for finding in findings],
        "logs": str(folder),
    }
    sys.stdout.write(json.dumps(told, ensure_ascii=False, indent=2) + "\n")


def _say(number: int, strength: float, seed: int) -> None:
    from tuner.scripts.check import TRAININGS

    typer.echo(f"training {number} of {TRAININGS}: λ = {strength:g}, seed {seed}", err=True)


def _shown(findings: Iterable["Finding"]) -> Iterator["Finding"]:
    """Print each as it is found."""
    for finding in findings:
        mark, colour = _MARKS[finding.status]
        typer.echo(f"{typer.style(f'{mark:6}', fg=colour, bold=True)} {finding.words}")
        yield finding
