"""`tuner run`, `tuner plan`, `tuner extend`, `tuner publish`; `tuner tune`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import (
    AsJson,
    Data,
    StudyId,
    TimeBudget,
    WhereData,
    Workers,
    script_options,
    script_spec_of,
    seconds,
    spec_of,
    study_options,
)
from tuner.cli.scripts import agent
from tuner.reporting.command import command
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.study.result import StudyResult
    from tuner.study.scripts.result import ScriptResult

Code = Annotated[
    list[str],
    typer.Argument(
        metavar="MODULE:FUNCTION | -- COMMAND…",
        help="A function that takes a `tuner.Trial`; or the words of a command after `--`, with "
        "{strength}, {seed} and {out} among them.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        parser=seconds,
        metavar="DURATION",
        help="End a training that takes longer, such as 90m or 6h: it failed then.",
    ),
]
Trainings = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trainings at a time; never changes λ*.",
        show_default="all CPUs and GPUs, by --cpus and --gpus",
    ),
]


CostPerHour = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PRICE",
        help="What an hour of a training costs, in any currency: the bill is told before the "
        "study, as it goes, and at its end.",
    ),
]


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
    earlier, prior = options.pop("warm_start"), options.pop("prior") or "none"
    spec = spec_of(options)  # before anything is loaded that takes seconds
    settings = Settings()
    with _taken_up_again():
        from tuner.cli import console

        begun = None
        if earlier is not None:
            from tuner.past import earlier_study

            begun = earlier_study(earlier, settings)
        result = console.run(data, spec, settings, workers, time_budget, prior, begun)
    _show(result, settings, as_json=as_json)


def extend(
    study: StudyId,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Confirming seeds there are to be in all.",
            show_default="as many as would decide it",
        ),
    ] = None,
    data: WhereData = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Add confirming seeds to a study that has its answer: for one that is undecided.

    Nothing is trained again. The longer study has an id, an answer and encoders of its own; its
    intervals allow for that the question is looked at once more. Interrupt it with Ctrl-C or lose
    the machine: the same command goes on with what is finished. A study of a service is extended
    on its page or by `Client.extend`.
    """
    settings = Settings()
    with _taken_up_again():
        from tuner.cli import console
        from tuner.drivers.tuning import longer

        tuned = longer(study, seeds, settings)
        if tuned is None:
            result = console.extend(study, seeds, settings, workers, source=data)
        else:
            told = console.tune(tuned, settings, workers)
    if tuned is None:
        _show(result, settings, as_json=as_json)
    else:
        _show_script(told, settings, as_json=as_json)


@study_options()
def plan(data: Data, workers: Workers = None, as_json: AsJson = False, **options: Any) -> None:
    """Say what `tuner run DATA` would take, and how small a gain it would be able to show.

    Three λs are trained for it, and scored on validation rows. Nothing is lost: `tuner run` with
    the same options goes on from them.
    """
    if options.pop("warm_start") is not None:
        raise typer.BadParameter("a pilot needs no earlier study", param_hint="--warm-start")
    if (options.pop("prior") or "none") != "none":
        raise typer.BadParameter(
            "a pilot goes by its own trainings: leave it out", param_hint="--prior"
        )
    spec, settings = spec_of(options), Settings()
    from tuner.cli import console

    with _output_for_the_answer():
        told = console.plan(data, spec, settings)
    if as_json:
        sys.stdout.write(told.model_dump_json(indent=2) + "\n")
        return
    from tuner.execution.cluster import default_workers

    console.show_forecast(told, workers or default_workers(None, spec))
    typer.echo(f"Next: {command(spec, data)}  (goes on from these trainings)", err=True)


def publish(study: StudyId, data: WhereData = None, as_json: AsJson = False) -> None:
    """Register the encoders of a study that has its answer, and log its runs, once more.

    For when MLflow was away, the disk was full or an encoder could not be exported at the end of
    `tuner run`. Nothing is trained. Exit code 1, with the reason, if something is missing still.
    """
    settings = Settings()
    with _output_for_the_answer():
        from tuner.answered import publish_study

        result = publish_study(study, settings, source=data)
    _show(result, settings, as_json=as_json)


@script_options
def tune(
    code: Code,
    workers: Trainings = None,
    timeout: Timeout = None,
    time_budget: TimeBudget = None,
    cost_per_hour: CostPerHour = None,
    submit_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Submit it to the service there, print the study's id, and train nothing here: "
            "`tuner agent` does, wherever it is run; the service itself of @NAME, code that it "
            "offers.",
        ),
    ] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Find λ* inside your own training code.

    The code trains once for a λ and a seed that it is given, and reports a score for each row of
    its validation data, at the end also of its test data. Here λs and seeds are chosen, trainings
    paired by seed, the best λ confirmed with fresh seeds on test rows, and the verdict told.

    Interrupt it with Ctrl-C or lose the machine: the same command goes on with the trainings that
    had ended. Code that is edited is another study.
    """
    spec, settings = script_spec_of(options), Settings()
    if submit_to is not None:
        if time_budget is not None:
            raise typer.BadParameter(
                "where others train, time is theirs: leave it out, or try fewer λs (--trials)",
                param_hint="--time-budget",
            )
        agent.submit(submit_to, code, spec)
        return
    with _taken_up_again():
        from tuner.cli import console
        from tuner.scripts.script import Script
        from tuner.study.budget import Budget
        from tuner.study.scripts.study import ScriptStudy

        study = ScriptStudy.of(spec, Script.of_words(code)).within(Budget(seconds=time_budget))
        result = console.tune(study, settings, workers, timeout=timeout, price=cost_per_hour)
    _show_script(result, settings, as_json=as_json, price=cost_per_hour)


def _show(result: "StudyResult", settings: Settings, *, as_json: bool) -> None:
    """Print an answer, and last what is missing of it."""
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        from tuner.cli import console

        console.show(result, settings)
    if result.missing:
        for reason in result.missing:
            typer.echo(f"Missing: {reason}", err=True)
        typer.echo(f"The answer stands. tuner publish {result.study}  tries again.", err=True)
        raise typer.Exit(1)


def _show_script(
    result: "ScriptResult", settings: Settings, *, as_json: bool, price: float | None = None
) -> None:
    """Print an answer about training code, and last what is missing of it."""
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        from tuner.cli import console

        console.show_script(result)
        console.where_logs_are(result, settings, price)
    for reason in result.missing:
        typer.echo(f"Missing: {reason}", err=True)
        typer.echo("The answer stands. The same command tries again.", err=True)
        raise typer.Exit(1)


@contextmanager
def _taken_up_again() -> Iterator[None]:
    """Work on a study, and where that is interrupted say that the same command goes on."""
    try:
        with _output_for_the_answer():
            yield
    except KeyboardInterrupt:
        words = "Interrupted. The same command goes on from what is finished."
        raise KeyboardInterrupt(words) from None


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
