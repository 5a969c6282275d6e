"""`tuner tune`, and how its answers are printed."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import AsJson, script_options, script_spec_of, seconds
from tuner.cli.run import output_for_the_answer
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.scripts.script import Script
    from tuner.study.progress import Progress
    from tuner.study.scripts.result import ScriptResult
    from tuner.study.scripts.study import ScriptStudy

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
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trainings at a time; never changes λ*.",
        show_default="all CPUs and GPUs, by --cpus and --gpus",
    ),
]


@script_options
def tune(
    code: Code,
    workers: Workers = None,
    timeout: Timeout = None,
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
    try:
        with output_for_the_answer():
            from tuner.study.scripts.study import ScriptStudy

            study = ScriptStudy.of(spec, _script(code))
            result = _answer(study, settings, workers, timeout)
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on from what is finished.", err=True)
        raise
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        show_script(result)
        typer.echo(f"logs     {settings.trainings(result.study)}")
        typer.echo("runs     tuner ui")
    for reason in result.missing:
        typer.echo(f"Missing: {reason}", err=True)
        typer.echo("The answer stands. The same command tries again.", err=True)
        raise typer.Exit(1)


def _script(words: Sequence[str]) -> "Script":
    """One word with a colon is a function; all else is a command."""
    from tuner.scripts.script import Script

    is_function = len(words) == 1 and ":" in words[0] and "{" not in words[0]
    return Script.of_function(words[0]) if is_function else Script.of_command(words)


def _answer(
    study: "ScriptStudy", settings: Settings, workers: int | None, timeout: float | None
) -> "ScriptResult":
    from tuner.cli import console
    from tuner.tuning import tune_study

    spec, name = study.spec, study.script.name
    typer.echo(f"Study {study.id}: {name}", err=True)
    typer.echo(
        f"{spec.trials} λs with {spec.replicates} seeds each, then λ = 0 and the best with "
        f"{spec.confirm_replicates} fresh ones: "
        f"{spec.trials * spec.replicates + 2 * spec.confirm_replicates} trainings",
        err=True,
    )
    trained = []
    with console.progress_shown("score") as show:

        def report(progress: "Progress") -> None:
            trained.append(progress.done)
            show(progress)

        result = tune_study(study, settings, workers=workers, timeout=timeout, on_progress=report)
    if not trained:
        typer.echo(
            "This question was answered before: here is the answer from the store.", err=True
        )
    return result


def show_script(result: "ScriptResult") -> None:
    """Print the answer of a study of training code."""
    typer.echo(f"\nAlignment strength for {result.name}\n")
    typer.secho(result.headline, bold=True)
    for words in result.warnings:
        typer.echo(words)
    typer.echo()
    for target, answer in result.targets.items():
        typer.echo(f"{target}  λ* = {answer.strength:.6g}  {answer.verdict}")
        gain, interval = answer.tested
        if gain is not None and interval is not None:
            ends = f"[{interval[0]:+.4g}, {interval[1]:+.4g}]"
            typer.echo(f"  gain on test rows at λ = {answer.candidate:.3g}: {gain:+.4g} {ends}")
        low, high = answer.interval
        typer.echo(f"  the best λ is in [{low:.3g}, {high:.3g}] (95 %)")
        typer.echo(f"  {answer.evidence}\n")
    for failure in result.failures:
        where = f"λ = {failure.strength:.6g} ({failure.phase})"
        typer.echo(f"failed: {where}: {failure.reason}")
    cost = result.cost
    typer.echo(f"{cost.trainings} trainings, {cost.training_seconds:.0f} s of training")
    if result.saved is not None:
        typer.echo(f"saved    {result.saved}")
