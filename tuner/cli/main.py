"""The command `tuner`.

Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.
"""

import atexit
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from tuner.cli.client import add_commands
from tuner.data import DataError, PairedDataset
from tuner.data.information.atoms import NAMES as ATOMS
from tuner.data.synthetic import WorldConfig, make_world
from tuner.errors import SpecError, TunerError
from tuner.execution.interrupts import raise_on_interrupt
from tuner.models.config import TrainingConfig
from tuner.models.errors import EncoderModuleError, UnsupportedShapeError
from tuner.settings import Settings
from tuner.study.spec import StudySpec, spec_from_options

_DEFAULTS = StudySpec()
_WORLD = WorldConfig()
_TRAINING = TrainingConfig()
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

app = typer.Typer(
    name="tuner",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Find the contrastive alignment strength λ that a paired data set wants.

Trains one encoder per modality with L = L_task + λ·L_align at many λ, and tells which λ is best
for each modality's own predictions, whether that beats λ = 0, and how sure it is.

- `tuner run mfeat`: the shipped example. Which λ do two views of digits want?
- `tuner validate my-data.npz`: is my file as it should be?
- `tuner profile my-data.npz`: what do the modalities share, and what to expect of alignment?
- `tuner run my-data.npz`: the same question about my data.
- `tuner ui`: look at runs, curves and models in MLflow.
- `tuner serve`: a service for many, with a web page; `tuner submit my-data.npz` asks it.
""",
)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turn what was raised into words and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _say("Interrupted. The same command goes on from what is finished.")
        raise typer.Exit(130) from None
    except (DataError, SpecError, UnsupportedShapeError, EncoderModuleError) as error:
        _say(f"Error: {error}")
        raise typer.Exit(2) from None
    except TunerError as error:
        _say(f"Error: {error}")
        raise typer.Exit(1) from None
    except ValidationError as error:
        for fault in error.errors():
            option = "--" + "-".join(str(part) for part in fault["loc"]).replace("_", "-")
            _say(f"Error: {option} {fault['input']}: {fault['msg']}")
        raise typer.Exit(2) from None


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


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.callback()
def _root() -> None:
    """Keep subcommands even where there is only one."""


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Path or URI of an .npz or .parquet file with a, b and y, or a shipped example: mfeat",
    ),
]
NameA = Annotated[str | None, typer.Option("--a", help="Array of modality A.", show_default="a")]
NameB = Annotated[str | None, typer.Option("--b", help="Array of modality B.", show_default="b")]
NameY = Annotated[str | None, typer.Option("--y", help="Array of labels.", show_default="y")]
Task = Annotated[str, typer.Option(help="auto, classification or regression.")]
Seed = Annotated[int, typer.Option(help="Of splits, initial weights, batches and search.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
SEARCH, TRAINING = "Search", "Training"
_ENCODERS = (
    "Of A: mlp (features), transformer (time, features), cnn or vit (images), "
    "logmel-transformer or logmel-cnn (waveforms: samples, 1), auto, MODULE:NAME of your own: "
    "NAME(row_shape, embedding_width) returns a torch.nn.Module, or hf:PATH: a pretrained model in "
    "a local Hugging Face folder."
)


@app.command()
@_exit_codes()
def run(
    data: Data,
    a: NameA = None,
    b: NameB = None,
    y: NameY = None,
    task: Task = _DEFAULTS.task,
    metric: Annotated[
        str, typer.Option(help="auto, accuracy, balanced_accuracy, macro_f1, mae or r2.")
    ] = _DEFAULTS.metric,
    name: Annotated[
        str | None, typer.Option(help="Of the study and its models.", show_default="the data's")
    ] = None,
    seed: Seed = _DEFAULTS.seed,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at a time; never changes λ*.", show_default="all CPUs"),
    ] = None,
    cpus: Annotated[
        int, typer.Option(min=1, help="CPUs of a process that trains.")
    ] = _DEFAULTS.cpus,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of such a process; .25 packs four on one.")
    ] = _DEFAULTS.gpus,
    ranks: Annotated[
        int, typer.Option(min=1, help="Processes that train one trial together.")
    ] = _DEFAULTS.ranks,
    as_json: AsJson = False,
    trials: Annotated[
        int, typer.Option(help="λs to try, λ = 0 included.", rich_help_panel=SEARCH)
    ] = _DEFAULTS.trials,
    replicates: Annotated[
        int, typer.Option(help="Seeds trained at every λ.", rich_help_panel=SEARCH)
    ] = _DEFAULTS.replicates,
    confirm_replicates: Annotated[
        int,
        typer.Option(help="Fresh seeds that confirm λ* on test rows.", rich_help_panel=SEARCH),
    ] = _DEFAULTS.confirm_replicates,
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="Start no further batch of λs after this long, such as 90s, 10m or 1h30m.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    max_lambda: Annotated[
        float, typer.Option(help="The largest λ to try.", rich_help_panel=SEARCH)
    ] = _DEFAULTS.max_lambda,
    sampler: Annotated[
        str, typer.Option(help="gp, tpe, random or grid.", rich_help_panel=SEARCH)
    ] = _DEFAULTS.sampler,
    nuisance: Annotated[
        str,
        typer.Option(
            help="Search learning rate, weight decay, width and temperature before λ: none, "
            "first (at λ = 0) or joint (with λ).",
            rich_help_panel=SEARCH,
        ),
    ] = _DEFAULTS.nuisance,
    nuisance_trials: Annotated[
        int, typer.Option(help="Settings tried, the given one included.", rich_help_panel=SEARCH)
    ] = _DEFAULTS.nuisance_trials,
    halving: Annotated[
        int,
        typer.Option(
            help="For long trainings: only one λ in so many goes on to η times the epochs; "
            "1 trains all in full.",
            rich_help_panel=SEARCH,
        ),
    ] = _DEFAULTS.halving,
    warm_start: Annotated[
        str | None,
        typer.Option(
            help="Id of an earlier study of these data: begin where it saw the best λ.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    encoder_a: Annotated[
        str, typer.Option(help=_ENCODERS, rich_help_panel=TRAINING)
    ] = _TRAINING.encoder_a,
    encoder_b: Annotated[
        str, typer.Option(help="The same for B.", rich_help_panel=TRAINING)
    ] = _TRAINING.encoder_b,
    pretrained: Annotated[
        str,
        typer.Option(help="An hf: encoder is frozen or fine-tuned.", rich_help_panel=TRAINING),
    ] = _TRAINING.pretrained,
    depth: Annotated[
        int,
        typer.Option(
            help="Hidden layers, blocks or stages of an encoder.", rich_help_panel=TRAINING
        ),
    ] = _TRAINING.depth,
    hidden: Annotated[
        int, typer.Option(help="Width of an encoder's layers.", rich_help_panel=TRAINING)
    ] = _TRAINING.hidden,
    embedding: Annotated[
        int, typer.Option(help="Width of an embedding.", rich_help_panel=TRAINING)
    ] = _TRAINING.embedding,
    heads: Annotated[
        int, typer.Option(help="Of a transformer or vit.", rich_help_panel=TRAINING)
    ] = _TRAINING.heads,
    patch: Annotated[
        int, typer.Option(help="Pixels a side of a vit's patch.", rich_help_panel=TRAINING)
    ] = _TRAINING.patch,
    projection: Annotated[
        str, typer.Option(help="Before the loss: mlp, linear or none.", rich_help_panel=TRAINING)
    ] = _TRAINING.projection,
    temperature: Annotated[
        float, typer.Option(help="τ of the alignment loss.", rich_help_panel=TRAINING)
    ] = _TRAINING.temperature,
    epochs: Annotated[
        int, typer.Option(help="Epochs at most.", rich_help_panel=TRAINING)
    ] = _TRAINING.epochs,
    patience: Annotated[
        int, typer.Option(help="Epochs without progress.", rich_help_panel=TRAINING)
    ] = _TRAINING.patience,
    batch_size: Annotated[
        int, typer.Option(help="Pairs in a batch.", rich_help_panel=TRAINING)
    ] = _TRAINING.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Of AdamW.", rich_help_panel=TRAINING)
    ] = _TRAINING.learning_rate,
    sample_rate: Annotated[
        int, typer.Option(help="Of waveforms, samples a second.", rich_help_panel=TRAINING)
    ] = _TRAINING.sample_rate,
    precision: Annotated[
        str, typer.Option(help="auto, float32 or bfloat16.", rich_help_panel=TRAINING)
    ] = _TRAINING.precision,
) -> None:
    """Find λ* of DATA and register the best encoder of each modality.

    Interrupt it with Ctrl-C or lose the machine: the same command goes on with what is finished.
    The same command on the same data gives the same λ*, however many workers it has.
    """
    known = StudySpec.model_fields | TrainingConfig.model_fields
    given = {field: value for field, value in locals().items() if field in known}
    from tuner.cli import console

    if warm_start is not None:
        given["warm_start"] = console.warm_start(warm_start, Settings())
    spec = spec_from_options(given)
    budget = None if time_budget is None else _seconds(time_budget)

    with _output_for_the_answer():
        result = console.run(data, spec, Settings(), workers, budget)
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        console.show(result, Settings())


def _read(
    source: str, a: str | None, b: str | None, y: str | None, task: str, seed: int
) -> PairedDataset:
    from tuner.data import read

    limit = Settings().max_data
    return read(source, a=a, b=b, y=y, task=_task(task), seed=seed, max_bytes=limit)


@app.command()
@_exit_codes()
def validate(
    data: Data,
    a: NameA = None,
    b: NameB = None,
    y: NameY = None,
    task: Task = _DEFAULTS.task,
    seed: Seed = _DEFAULTS.seed,
) -> None:
    """Check DATA and say everything that is wrong with it; exit 2 if anything is."""
    from tuner.cli import console

    console.show_dataset(_read(data, a, b, y, task, seed))


@app.command()
@_exit_codes()
def profile(
    data: Data,
    a: NameA = None,
    b: NameB = None,
    y: NameY = None,
    task: Task = _DEFAULTS.task,
    seed: Seed = _DEFAULTS.seed,
    as_json: AsJson = False,
) -> None:
    """Show how the modalities of DATA share what they tell of the label, in bits.

    Takes seconds. The shares tell what to expect of alignment, not λ*: `tuner run` finds that.
    """
    from tuner.cli import console
    from tuner.data.information.profile import information_profile
    from tuner.study.result import InformationSummary

    dataset = _read(data, a, b, y, task, seed)
    information = InformationSummary.of(information_profile(dataset, seed=seed))
    if as_json:
        sys.stdout.write(information.model_dump_json(indent=2) + "\n")
    else:
        console.show_information(dataset.name, information)


@app.command()
@_exit_codes()
def synthesize(
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The file to write.")],
    redundant: Annotated[
        int, typer.Option(help="Label features, of 8, that both modalities see.")
    ] = _WORLD.redundant,
    synergistic: Annotated[
        int, typer.Option(help="Label features that are the XOR of a bit of A and one of B.")
    ] = _WORLD.synergistic,
    rows: Annotated[int, typer.Option(help="Pairs.")] = _WORLD.rows,
    labelled: Annotated[
        int | None,
        typer.Option(help="Training pairs that keep their label.", show_default="all"),
    ] = _WORLD.labelled,
    classes: Annotated[int, typer.Option(help="Of the label.")] = _WORLD.classes,
    label_noise: Annotated[
        float, typer.Option(help="Share of labels that are drawn anew.")
    ] = _WORLD.label_noise,
    continuous: Annotated[
        bool,
        typer.Option("--continuous/--discrete", help="Mixed latents, or the bits as they are."),
    ] = _WORLD.continuous,
    nuisances: Annotated[
        int, typer.Option(help="Latents of each modality that the label does not know.")
    ] = _WORLD.nuisances,
    noise: Annotated[float, typer.Option(help="Of each observed feature.")] = _WORLD.noise,
    depth_a: Annotated[
        int, typer.Option(help="Layers of the tanh network that A is seen through.")
    ] = _WORLD.depth_a,
    depth_b: Annotated[int, typer.Option(help="The same for B.")] = _WORLD.depth_b,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a synthetic data set whose shared, unique and synergistic information is known.

    What is neither redundant nor synergistic of the 8 label features is split between A and B.
    """
    given = {name: value for name, value in locals().items() if name in vars(_WORLD)}
    if out.exists() and not force:
        raise typer.BadParameter(f"{out} is there already: choose another name, or --force")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}: make it first")
    try:
        config = WorldConfig(**given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    world = make_world(config, seed=seed, name=out.stem)
    world.save(out)
    told = ", ".join(f"{name} {getattr(world.truth, name):.3f}" for name in ATOMS)
    typer.echo(f"{out}: {config.rows} pairs; the bits behind them tell of the label: {told} bits")


@app.command()
@_exit_codes()
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
        found = connect(settings.tracking_uri).search_experiments(
            max_results=10, order_by=["last_update_time DESC"]
        )
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONSAFEPATH": "1",  # nothing of the working directory is imported
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--backend-store-uri", settings.tracking_uri, "--workers", "1"]
    if settings.artifact_location:
        command += ["--default-artifact-root", settings.artifact_location]
    typer.echo(f"MLflow: http://{host}:{port} (Ctrl-C ends it)", err=True)
    for experiment in found:  # MLflow's own list leads to its pages for language models
        if experiment.experiment_id != "0":
            page = f"#/experiments/{experiment.experiment_id}?workflowType=machine_learning"
            typer.echo(f"  http://{host}:{port}/{page}  {experiment.name}", err=True)
    os.execve(sys.executable, command, environment)  # noqa: S606  # it takes our place


add_commands(app)


def main() -> NoReturn:
    """Run the command and exit with its code."""
    raise_on_interrupt()
    atexit.register(gc.freeze)  # Python would look through all that it loaded, for two seconds
    app()
    raise AssertionError("a command ends by exiting")


def _task(name: str) -> Any:
    return StudySpec.model_validate({"task": name}).task


def _seconds(duration: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise typer.BadParameter(
            f"{duration!r}: write 90s, 10m or 1h30m", param_hint="--time-budget"
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
