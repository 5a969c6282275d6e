"""`tuner inspect`, `tuner validate`, `tuner profile` and `tuner synthesize`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.cli.options import (
    DATA_SET,
    AsJson,
    Data,
    new_file,
    spec_of,
    study_options,
    suggest,
    writable,
)
from tuner.data import PairedDataset
from tuner.data.information.atoms import NAMES as ATOMS
from tuner.data.inspection import Inspection
from tuner.data.inspection import inspect as read_inspection
from tuner.data.synthetic import WorldConfig, make_world
from tuner.settings import Settings

_WORLD = WorldConfig()


@study_options(*DATA_SET)
def inspect(data: Data, as_json: AsJson = False, **options: Any) -> None:
    """Show what is in DATA, how it is read, and what is doubtful of it.

    `tuner validate` shows the same, and exits with 2 where it cannot be used.
    """
    _inspect(data, options, as_json=as_json)


@study_options(*DATA_SET)
def validate(data: Data, as_json: AsJson = False, **options: Any) -> None:
    """Check DATA, and say everything that is wrong with it; exit 2 if anything is."""
    if _inspect(data, options, as_json=as_json).dataset is None:
        raise typer.Exit(2)


def _inspect(data: str, options: Mapping[str, Any], *, as_json: bool) -> Inspection:
    spec = spec_of(options)
    from tuner.cli import console

    with console.reading(data) as on_step:
        inspection = read_inspection(
            data,
            seed=spec.seed,
            max_bytes=Settings().max_data,
            on_step=on_step,
            **spec.data_options,
        )
    if as_json:
        sys.stdout.write(json.dumps(inspection.as_dict(), ensure_ascii=False, indent=2) + "\n")
        return inspection
    console.show_inspection(inspection)
    if inspection.dataset is not None:
        suggest(data, options, "profile", "tells what the modalities share")
        suggest(data, options, "run", "finds λ*")
    return inspection


@study_options(*DATA_SET)
def profile(data: Data, as_json: AsJson = False, **options: Any) -> None:
    """Show how the modalities of DATA share what they tell of the label, in bits.

    Takes seconds. The shares tell what to expect of alignment, not λ*: `tuner run` finds that.
    """
    from tuner.cli import console

    dataset = _read(data, options)
    from tuner.data.information.profile import information_profile
    from tuner.study.result import InformationSummary

    found = information_profile(dataset, seed=options["seed"])
    information = InformationSummary.of(found)
    if as_json:
        sys.stdout.write(information.model_dump_json(indent=2) + "\n")
        return
    console.show_information(dataset.name, information, found.groups)
    suggest(data, options, "run", "finds λ*")


def synthesize(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.npz", help="The file to write.", callback=writable)
    ],
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
    shared_nuisances: Annotated[
        int | None,
        typer.Option(
            help="Bits that both see and the label does not know.",
            show_default="8 less --redundant",
        ),
    ] = _WORLD.shared_nuisances,
    noise: Annotated[float, typer.Option(help="Of each observed feature.")] = _WORLD.noise,
    depth_a: Annotated[
        int, typer.Option(help="Layers of the tanh network that A is seen through.")
    ] = _WORLD.depth_a,
    depth_b: Annotated[int, typer.Option(help="The same for B.")] = _WORLD.depth_b,
    seed: Annotated[int, typer.Option(help="What all of it is drawn from.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a synthetic data set whose shared, unique and synergistic information is known.

    What is neither redundant nor synergistic of the 8 label features is split between A and B.
    """
    config = {name: value for name, value in locals().items() if name in vars(_WORLD)}
    _write_world(out, config, seed=seed, force=force)


def _write_world(out: Path, options: Mapping[str, Any], *, seed: int, force: bool) -> None:
    new_file(out, force=force)
    try:
        config = WorldConfig(**options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    world = make_world(config, seed=seed, name=out.stem)
    world.save(out)
    shares = ", ".join(f"{name} {getattr(world.truth, name):.3f}" for name in ATOMS)
    typer.echo(f"{out}: {config.rows} pairs; the bits behind them tell of the label: {shares} bits")
    typer.echo("R: both modalities, U_a and U_b: one alone, S: only the two together.", err=True)
    suggest(str(out), {}, "profile", "estimates these from the pairs")
    suggest(str(out), {}, "run", "finds λ*")


def _read(source: str, options: Mapping[str, Any]) -> PairedDataset:
    spec = spec_of(options)
    from tuner.cli import console
    from tuner.study.study import read_dataset

    with console.reading(source) as on_step:
        return read_dataset(spec, source, max_bytes=Settings().max_data, on_step=on_step)
