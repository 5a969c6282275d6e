"""`tuner run`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from tuner.cli.options import AsJson, Data, TimeBudget, Workers, spec_of, study_options
from tuner.settings import Settings


@study_options()
def run(
    data: Data,
    workers: Workers = None,
    time_budget: TimeBudget = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Find λ* of DATA and register the best encoder of each modality.

    Interrupt it with Ctrl-C or lose the machine: the same command goes on with what is finished.
    The same command on the same data gives the same λ*, however many workers it has. Where the
    answer is there but an encoder could not be registered, the last lines say why; exit code 1.
    """
    earlier = options.pop("warm_start")
    spec = spec_of(options)  # before anything is loaded that takes seconds
    settings = Settings()
    try:
        from tuner.cli import console

        if earlier is not None:
            from tuner.storage import studies

            start = studies.warm_start(earlier, settings.store_url)
            spec = spec.model_copy(update={"warm_start": start})
        with _output_for_the_answer():
            result = console.run(data, spec, settings, workers, time_budget)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on from what is finished.", err=True)
        raise
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        console.show(result, settings)
    for reason in result.missing:
        typer.echo(reason, err=True)
    if result.missing:
        raise typer.Exit(1)


@contextmanager
def _output_for_the_answer() -> Iterator[None]:
    """Send what libraries and child processes print to standard error meanwhile."""
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(answer, 1)
        os.close(answer)
