"""`tuner predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cli.options import AsJson, Data, spec_of, study_options, suggest, writable
from tuner.errors import SpecError
from tuner.settings import Settings

if TYPE_CHECKING:
    from tuner.prediction.answer import Prediction

_FORMS = (".png", ".svg", ".pdf")


@study_options()
def predict(
    data: Data,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the curves: .png, .svg or .pdf.", callback=writable
        ),
    ] = None,
    **options: Any,
) -> None:
    """Predict the λ-curve of DATA from past studies, without a training, in seconds.

    What is expected to come of `tuner run` with the same options: whether alignment helps, at which
    λ to begin, and how large a study would decide it. Outside of what past studies have seen it
    says what is outside, and predicts nothing.
    """
    if plot is not None and plot.suffix.lower() not in _FORMS:
        raise SpecError(f"--plot {plot}: its name has to end with one of {', '.join(_FORMS)}")
    if (options.pop("prior") or "none") != "none":
        raise typer.BadParameter("this is what it would say: leave it out", param_hint="--prior")
    if options.pop("warm_start") is not None:
        raise typer.BadParameter(
            "a study of yours has its part once `tuner corpus add` has it: leave it out",
            param_hint="--warm-start",
        )
    spec = spec_of(options)
    from tuner.cli import console
    from tuner.past import known
    from tuner.prediction.prediction import predict as predict_study
    from tuner.reporting.prediction import prediction_words
    from tuner.study.study import Study, read_dataset

    settings = Settings()
    with console.reading(data) as on_step:
        dataset = read_dataset(spec, data, max_bytes=settings.max_data, on_step=on_step)
        on_step("asking past studies")
        study = Study.of(spec, dataset)
        told = predict_study(study, known(settings))
    console.show_warnings(study)
    if plot is not None:
        _draw(told, plot)
    if as_json:
        sys.stdout.write(told.model_dump_json(indent=2) + "\n")
        return
    for line in prediction_words(told):
        typer.echo(line)
    suggest(data, options, "plan", "trains three λs, and says what a study would show")
    suggest(data, options, "run", "finds λ*")


def _draw(told: "Prediction", plot: Path) -> None:
    from tuner.data.memory.scratch import written_whole
    from tuner.reporting.prediction import draw_prediction

    if not told.targets:
        typer.echo(f"Warning: {plot} is not drawn: there is no prediction", err=True)
        return
    with written_whole(plot) as aside:
        draw_prediction(told).savefig(aside, format=plot.suffix[1:].lower())
