"""`tuner corpus`: the past studies that predictions are made from."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import WhereData, new_file, writable
from tuner.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Past studies that `tuner predict` goes by: those that come with the program, and yours.",
)
Studies = Annotated[
    list[str], typer.Argument(metavar="STUDY…", help="Their ids, as `tuner run` prints them.")
]


def add(studies: Studies, where: WhereData = None) -> None:
    """Add finished studies of this machine to your own: they leave it by `export` alone."""
    from tuner import past

    for record in past.add(studies, Settings(), source=where):
        typer.echo(f"added {record.study}  {record.name}")


def show_list(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """List all of them, yours last."""
    from tuner import past

    corpus = past.known(Settings())
    for record in corpus.records:
        told = {"study": record.study, "name": record.name, "source": record.source}
        told |= {"licence": record.licence, "origin": record.origin}
        words = f"{record.study or 'shipped':16}  {record.name}  ({record.source})"
        typer.echo(json.dumps(told, ensure_ascii=False) if as_json else words)
    code = "other code than is here trained what is shipped" if corpus.is_stale else ""
    typer.echo(f"{len(corpus.records)} records, digest {corpus.digest}  {code}".rstrip(), err=True)


def export(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.json.gz", help="The file to write.", callback=writable)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write your own to a file: curves and what was known before training, but no rows."""
    from tuner import past
    from tuner.prediction.corpus import Corpus, training_code

    new_file(out, force=force)
    records = past.own(Settings())
    Corpus(records=records, code=training_code()).write(out)
    sys.stdout.write(f"{out}: {len(records)} of your own studies\n")


def forget(studies: Studies) -> None:
    """Remove studies from your own."""
    from tuner import past

    typer.echo(f"{past.forget(studies, Settings())} of your own are left")
