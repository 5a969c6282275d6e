"""What a person sees in the terminal: progress on standard error, the answer on standard output."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from tuner.analysis.gains.forecast import Forecast
from tuner.analysis.gains.needs import deciding_seeds
from tuner.cli.local import LocalStudies
from tuner.data.inspection import Inspection
from tuner.data.memory.blocks import OnStep
from tuner.errors import SpecError
from tuner.reporting.wording import (
    ATOM_TITLES,
    expectation,
    forecast_words,
    guess_words,
    headline,
    hindsight,
    needs_words,
    nuisance_words,
    prior_words,
    together_rows,
    together_words,
)
from tuner.settings import Settings
from tuner.study.answer import Answer, Interval, TargetAnswer
from tuner.study.budget import Budget
from tuner.study.progress import Progress as StudyProgress
from tuner.study.result import InformationSummary, StudyResult
from tuner.study.scoring.targets import Target
from tuner.study.scripts.result import ScriptResult
from tuner.study.scripts.study import ScriptStudy
from tuner.study.spec import StudySpec
from tuner.study.study import Study, read_dataset

if TYPE_CHECKING:
    from tuner.prediction.earlier import EarlierStudy

_STYLE = {"align": "bold green", "do not align": "bold red", "undecided": "bold yellow"}
_SELDOM = 10.0  # seconds between two lines about the same trainings, where there is no terminal
_UNUSED_SHOWN = 40  # arrays that are not used; a table may have thousands of columns
_ORDER: tuple[Target, ...] = ("joint", "a", "b")
# Names and reasons are what users write: brackets and colons in them mean nothing here.
_err = Console(stderr=True, highlight=False, markup=False, emoji=False)
_out = Console(highlight=False, markup=False, emoji=False)


def run(
    source: str,
    spec: StudySpec,
    settings: Settings,
    workers: int | None,
    time_budget: float | None,
    prior: str = "none",
    earlier: "EarlierStudy | None" = None,
) -> StudyResult:
    """Read the data and answer the question, showing how it goes."""
    study = _read(source, spec, settings, prior, earlier).within(Budget(seconds=time_budget))
    return _answer(study, source, settings, workers)


def plan(source: str, spec: StudySpec, settings: Settings) -> Forecast:
    """Read the data and try what the question would take, showing how it goes."""
    from tuner.pilot import pilot

    study = _read(source, spec, settings)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as bar:
        task = bar.add_task("reading the profile", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, description=f"training λ {min(done + 1, total)} of {total}")

        return pilot(study, settings, source=source, on_progress=report)


def show_forecast(told: Forecast, workers: int) -> None:
    """Print what a study would take, and be able to show."""
    for words in forecast_words(told, workers):
        _out.print(words)


def _read(
    source: str,
    spec: StudySpec,
    settings: Settings,
    prior: str = "none",
    earlier: "EarlierStudy | None" = None,
) -> Study:
    with reading(source) as on_step:
        dataset = read_dataset(spec, source, max_bytes=settings.max_data, on_step=on_step)
        on_step("standardising it")
        study = Study.of(spec, dataset)
        if prior != "none" or earlier is not None:
            from tuner.past import begun

            on_step("asking past studies")
            study = begun(study, prior, settings, earlier)
    show_warnings(study)
    return study


def show_warnings(study: Study) -> None:
    """Print what is doubtful in the data of a study."""
    for warning in (*study.dataset.warnings, *study.inputs.warnings[len(study.dataset.warnings) :]):
        _err.print(f"Warning: {warning}", style="yellow", soft_wrap=True)


def extend(
    study_id: str,
    seeds: int | None,
    settings: Settings,
    workers: int | None,
    *,
    source: str | None,
) -> StudyResult:
    """Add seeds to a study, showing how it goes."""
    from tuner.answered import extension

    with reading(f"study {study_id}") as on_step:
        study, source = extension(study_id, seeds, settings, source=source, on_step=on_step)
    added = len(study.spec.confirmed_in_parts[-1])
    _err.print(f"{added} confirming seeds are added to those of study {study_id}")
    return _answer(study, source, settings, workers)


def _answer(study: Study, source: str, settings: Settings, workers: int | None) -> StudyResult:
    from tuner.drivers.orchestrator import run_study

    dataset = study.dataset
    _err.print(
        f"Study {study.id}: {dataset.name}, {dataset.rows} pairs "
        f"({dataset.a.name} with {dataset.b.name}), {dataset.task}, {study.metric.name}, "
        f"{study.training.encoder_a} with {study.training.encoder_b} encoder"
    )
    for side, are_ids in zip((dataset.a, dataset.b), study.data.scaling.ids, strict=True):
        if are_ids and side.holds != "text":
            _err.print(f"{side.name} holds ids that its encoder embeds: they stay as they are")
    for words in _cost_words(study, settings, workers):
        _err.print(words)
    trained = []
    with progress_shown(study.metric.name) as show_progress:

        def report(progress: StudyProgress) -> None:
            trained.append(progress.done)
            show_progress(progress)

        result = run_study(
            study,
            settings,
            workers=workers,
            on_progress=report,
            on_step=show_progress.step,
            source=source,
        )
    if not trained:
        _err.print("This question was answered before: here is the answer from the store.")
    return result


def _cost_words(study: Study, settings: Settings, workers: int | None) -> tuple[str, ...]:
    """What a new study that may take minutes is going to cost: a second or two to find out."""
    from tuner.cli.cost import cost_words
    from tuner.execution.cluster import default_workers
    from tuner.search.forecast.cost import ExpectedCost, may_take_minutes

    if not may_take_minutes(study) or _is_begun(study, settings):
        return ()
    address = settings.ray_address
    at_a_time = workers or (None if address else default_workers(address, study.spec))
    with reading("the study") as on_step:
        on_step("what it is going to take")
        cost = ExpectedCost.of(study, workers=at_a_time, time_budget=study.budget.seconds)
    return cost_words(cost)


def _is_begun(study: Study, settings: Settings) -> bool:
    with LocalStudies(settings) as studies, suppress(SpecError):
        return bool(studies.status(study.id))
    return False


@contextmanager
def reading(source: str) -> Iterator[OnStep]:
    """Show at a terminal what is being read of a data set, and for how long, until it is read."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as bar:
        task = bar.add_task(f"{source}: opening it", total=None)
        yield lambda step: bar.update(task, description=f"{source}: {step}")


class ProgressShown:
    """Shows how far a study is, in a bar or, where there is no terminal, in lines.

    Args:
        bar: The bar.
        shown: Whether it can be seen.
        metric: The name of the best score.
        price: Of an hour of a training; what it costs is shown, too.
    """

    def __init__(self, bar: Progress, metric: str, price: float | None, *, shown: bool) -> None:
        self._bar, self._metric, self._price, self._shown = bar, metric, price, shown
        self._task = bar.add_task("starting workers", total=None, count="", note="")
        self._printed: tuple[float, int] = (0.0, -1)

    def step(self, words: str) -> None:
        """Show what is done before the first training."""
        self._bar.update(self._task, description=words)

    def __call__(self, progress: StudyProgress) -> None:
        """Show how far it is."""
        count = f"{progress.done}/{progress.total}"
        note = _note(progress, self._metric, self._price)
        self._bar.update(
            self._task,
            description=progress.phase,
            completed=progress.share,
            total=1.0,
            count=count,
            note=note,
        )
        now, told = self._printed
        is_due = time.monotonic() >= now + _SELDOM or progress.done != told
        if not self._shown and is_due:
            self._printed = (time.monotonic(), progress.done)
            _err.print(f"{progress.phase} {count} {note}")


@contextmanager
def progress_shown(metric: str, price: float | None = None) -> Iterator[ProgressShown]:
    """Show progress, with the best score by that name; at a terminal as a bar.

    Args:
        metric: That name.
        price: Of an hour of a training: what it costs is shown, too.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    shown = _err.is_terminal  # elsewhere lines are printed
    with Progress(*columns, console=_err, refresh_per_second=4, disable=not shown) as bar:
        yield ProgressShown(bar, metric, price, shown=shown)


def _note(progress: StudyProgress, metric: str, price: float | None) -> str:
    parts = progress.words(metric)
    if price is not None and progress.training_seconds:
        spent = _cost(progress.training_seconds, price)
        parts.append(f"{spent:.2f} spent of about {spent / progress.share:.2f}")
    return ", ".join(parts)


def _cost(seconds: float, price: float) -> float:
    return seconds / 3600 * price


def show(result: StudyResult, settings: Settings) -> None:
    """Print the answer, and where to look next."""
    show_answer(result)
    _where_next(result, settings)


def show_answer(result: StudyResult) -> None:
    """Print the answer."""
    _out.print(f"\nAlignment strength for {result.name} ({result.metric.name})\n")
    if result.information is not None:
        _out.print(f"{expectation(result.information)}", style="italic")
        if seen := hindsight(result.information, result.joint.verdict):
            _out.print(seen, style="italic")
        _out.print()
    _out.print(headline(result), style="bold")
    for words in result.warnings:
        _out.print(words, style="yellow")
    _out.print()
    for target in _ORDER:
        _show_target(target, result)
    _show_together(result)
    for words in guess_words(result):
        _out.print(words, style="yellow")
    _show_search(result)
    for partial in result.stopped:
        _out.print(
            f"stopped by halving: λ = {partial.strength:.3g}, after {partial.epochs} epochs at "
            f"{partial.joint.mean:.4f}"
        )
    for failure in result.failures:
        _out.print(f"failed: λ = {failure.strength:.6g} ({failure.phase}): {failure.reason}")


def _show_search(result: StudyResult) -> None:
    """What it began from."""
    if result.warm_start is not None:
        _out.print(f"The search began where study {result.warm_start} saw the best λ.")
    for words in prior_words(result):
        _out.print(words)
    if result.nuisance is not None:
        _out.print(nuisance_words(result.nuisance))


def _show_target(target: Target, result: StudyResult) -> None:
    _show_answer(target, result.answers[target], needs_words(target, result))


def _show_together(result: StudyResult) -> None:
    if (words := together_words(result)) is None:
        return
    table = Table(title="Both encoders together", title_justify="left")
    for heading in ("", "λ = 0", "λ tested", "gain", "95 % interval"):
        table.add_column(heading)
    for row in together_rows(result):
        table.add_row(*row)
    _out.print(table)
    _out.print(Padding(words, (0, 0, 1, 0)))


def _show_answer(target: Target, answer: Answer | TargetAnswer, needed: str | None) -> None:
    strength, verdict = Text(f"λ* = {answer.strength:.6g}", "bold"), answer.verdict
    _out.print(Text.assemble(f"{target:6} ", strength, "  ", (verdict, _STYLE[verdict])))
    gain, interval = answer.tested
    if gain is not None and interval is not None:
        words = f"{_number(gain, '{:+.4f}')} {_interval(interval, '{:+.4f}')}"
        _out.print(f"       gain on test rows at λ = {answer.candidate:.3g}: {words}")
    _out.print(f"       the best λ is in {_interval(answer.interval, '{:.3g}')} (95 %)")
    _out.print(Padding(" ".join(filter(None, (answer.evidence, needed))), (0, 0, 1, 7)))


def tune(
    study: ScriptStudy,
    settings: Settings,
    workers: int | None,
    *,
    timeout: float | None = None,
    price: float | None = None,
) -> ScriptResult:
    """Answer a study of training code, showing how it goes.

    Args:
        study: What is asked.
        settings: Where things are kept.
        workers: Trainings at a time.
        timeout: Seconds that a training may take.
        price: Of an hour of a training: what the study costs is shown.
    """
    from tuner.drivers.tuning import tune_study
    from tuner.search.seeds import SeedPlan

    spec = study.spec
    _err.print(f"Study {study.id}: {study.script.name}")
    plan = SeedPlan(study=study)
    totals = plan.totals(())
    whole = totals["search"]
    trainings = totals["rung"] * plan.rung_part + whole + 2 * spec.confirm_replicates
    count = f"{trainings:.1f}".removesuffix(".0")
    halved = "" if spec.halving == 1 else f", {whole // spec.replicates} of them in full"
    _err.print(
        f"{spec.trials} λs with {spec.replicates} seeds each{halved}, then λ = 0 and the best with "
        f"{spec.confirm_replicates} fresh ones: {count} trainings"
    )
    if price is not None:
        _err.print(
            f"Each hour that a training takes costs {trainings * price:.2f} in all, {price:g} a "
            "training"
        )
    trained = []
    with progress_shown("score", price) as show_progress:

        def report(progress: StudyProgress) -> None:
            trained.append(progress.done)
            show_progress(progress)

        result = tune_study(study, settings, workers=workers, timeout=timeout, on_progress=report)
    if not trained:
        _err.print("This question was answered before: here is the answer from the store.")
    return result


def show_script(result: ScriptResult) -> None:
    """Print the answer of a study of training code."""
    _out.print(f"\nAlignment strength for {result.name}\n")
    _out.print(result.headline, style="bold")
    for words in result.warnings:
        _out.print(words, style="yellow")
    _out.print()
    for target, answer in result.targets.items():
        _show_answer(target, answer, "")
    for partial in result.stopped:
        scores = ", ".join(f"{target} {score.mean:.4g}" for target, score in partial.scores.items())
        _out.print(
            f"stopped by halving: λ = {partial.strength:.3g}, after 1/{1 / partial.share:.0f} of a "
            f"training at {scores}"
        )
    for failure in result.failures:
        _out.print(f"failed: λ = {failure.strength:.6g} ({failure.phase}): {failure.reason}")


def where_logs_are(result: ScriptResult, settings: Settings, price: float | None) -> None:
    """Print what a study of training code took and cost, and where to look next."""
    cost = result.cost
    _out.print(
        f"\n{cost.trainings} trainings of {cost.training_seconds:.0f} s in all, "
        f"{cost.wall_seconds:.0f} s"
    )
    if price is not None:
        _out.print(f"cost     {_cost(cost.training_seconds, price):.2f}, at {price:g} an hour")
    _out.print(f"report   {settings.reports(result.study) / 'report.html'}", soft_wrap=True)
    _out.print(f"logs     {settings.trainings(result.study)}", soft_wrap=True)
    if result.saved is not None:
        _out.print(f"saved    {result.saved}", soft_wrap=True)
    if result.model is not None:
        _out.print(f"model    models:/{result.model.name}/{result.model.version}")
    _out.print("runs     tuner ui")
    _how_to_decide(result)


def _where_next(result: StudyResult, settings: Settings) -> None:
    _out.print()
    cost = result.cost
    _out.print(
        f"{cost.trainings} trainings, {cost.gradient_steps} gradient steps, "
        f"{cost.wall_seconds:.0f} s"
    )
    _out.print(f"report   {settings.reports(result.study) / 'report.html'}", soft_wrap=True)
    for model in (result.modalities.a.model, result.modalities.b.model):
        if model is not None:
            _out.print(f"model    models:/{model.name}/{model.version}", soft_wrap=True)
    _out.print("runs     tuner ui")
    _how_to_decide(result)


def _how_to_decide(result: StudyResult | ScriptResult) -> None:
    with suppress(SpecError):  # decided, or not to be decided so
        seeds = deciding_seeds(result)
        _out.print(f"decide   tuner extend {result.study}  adds seeds until there are {seeds:,}")


def show_information(name: str, information: InformationSummary, groups: int | None = None) -> None:
    """Print an information profile of rows of so many groups, if of groups."""
    table = Table(title=f"What {name} tells of the label", title_justify="left")
    for heading in ("information", "bits", "95 % interval"):
        table.add_column(heading)
    for atom, title in ATOM_TITLES.items():
        estimate = getattr(information, atom)
        interval = _interval((estimate.low, estimate.high), "{:.3f}")
        table.add_row(f"{atom}, {title}", f"{estimate.value:.3f}", interval)
    _out.print(table)
    rows = f"{information.rows} rows" + ("" if groups is None else f" of {groups} groups")
    _out.print(f"The label has {information.entropy:.3f} bits; {rows} were used.")
    if information.reason is not None:
        _out.print(f"Not reliable: {information.reason}.")
    _out.print(expectation(information))


def show_comparison(studies: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> None:
    """Print studies side by side.

    Args:
        studies: Their ids.
        rows: What each has, by what that is called; where they differ it is marked.
    """
    table = Table()
    for heading in ("", *studies):
        table.add_column(heading, overflow="fold")
    for name, values in rows.items():
        differs = any(value != values[0] for value in values)
        cells = (Text(_cell(value)) for value in values)
        table.add_row(Text(f"{name} ≠" if differs else name, "bold" if differs else "dim"), *cells)
    _out.print(table)
    _out.print("≠: they differ.")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_cell, value))}]"
    return str(value)


def show_inspection(inspection: Inspection) -> None:
    """Print what is in a file, how it is read, and what is doubtful."""
    if inspection.arrays:  # beside errors, where they are told
        (_err if inspection.dataset is None else _out).print(_contents(inspection))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for what, words in inspection.reading.items():
        table.add_row(Text(what, "bold"), Text(words, overflow="fold"))
    if inspection.dataset is not None:
        _out.print(f"{inspection.source}: valid, {inspection.dataset.rows:,} pairs", style="bold")
        _out.print(table)
    for warning in inspection.warnings:
        _err.print(f"Warning: {warning}", style="yellow", soft_wrap=True)
    for error in inspection.errors:
        _err.print(f"Error: {inspection.source}: {error}", style="red", soft_wrap=True)


def _contents(inspection: Inspection) -> Table:
    table = Table()
    for heading in ("array", "shape", "values", "used as"):
        table.add_column(heading)
    used = [array for array in inspection.arrays if array.use]
    unused = [array for array in inspection.arrays if not array.use]
    shown = used + unused[:_UNUSED_SHOWN]
    for array in (array for array in inspection.arrays if array in shown):
        shape = " × ".join(f"{size:,}" for size in array.shape)
        style = None if array.use else "dim"
        cells = (array.name, shape, array.kind, array.use or "not used")
        table.add_row(*(Text(cell) for cell in cells), style=style)
    if more := unused[_UNUSED_SHOWN:]:
        table.add_row(Text(f"and {len(more):,} more"), "", "", Text("not used"), style="dim")
    return table


def _interval(interval: Interval, style: str) -> str:
    return f"[{', '.join(_number(end, style) for end in interval)}]"


def _number(value: float, style: str) -> str:
    return style.format(value).replace("-", "\N{MINUS SIGN}")
