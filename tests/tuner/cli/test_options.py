"""Flags are the fields of a spec: what the report prints as a command is read as that spec."""

import shlex

import pytest
import typer
from hypothesis import example, given
from typer.main import get_command

from tests.support.specs import spec_of_all_options_changed, specs
from tuner.cli.main import app
from tuner.cli.options import spec_of
from tuner.errors import SpecError
from tuner.reporting.command import command, flag
from tuner.study.spec import OPTIONS, StudySpec


def flags_of(line: str) -> dict:
    """Parse a line as the command does, and return what each option of a study is set to."""
    _, name, *words = shlex.split(line)
    context = get_command(app).commands[name].make_context(name, words)
    return {option: context.params[option] for option in OPTIONS}


@pytest.mark.slow
@given(spec=specs())
@example(spec=StudySpec())
@example(spec=spec_of_all_options_changed())
@pytest.mark.parametrize("subcommand", ["run", "submit"])
def test_the_command_of_a_spec_is_read_as_that_spec(subcommand, spec):
    options = flags_of(command(spec, subcommand=subcommand))
    assert options.pop("warm_start") == (spec.warm_start and spec.warm_start.study)
    assert options.pop("prior") == (spec.prior and spec.prior.source)
    known = {"warm_start": spec.warm_start, "prior": spec.prior}
    same = spec_of(options).model_copy(update=known)
    assert same == spec
    assert same.study_id("0" * 16) == spec.study_id("0" * 16)


@pytest.mark.parametrize("subcommand", ["run", "submit"])
def test_every_option_has_its_flag_with_its_default_and_says_what_it_is(subcommand):
    parameters = {p.name: p for p in get_command(app).commands[subcommand].params}
    for name, field in OPTIONS.items():
        parameter = parameters[name]
        assert parameter.opts == [flag(name)]
        assert parameter.default == field.default
        assert parameter.help.lower().startswith(field.description.lower())


def test_what_is_wrong_is_told_by_the_names_of_flags():
    with pytest.raises(SpecError) as caught:
        spec_of({"max_lambda": -1.0, "nuisance_parameters": ["depth"], "subject_to": ["b>"]})
    bound, first, second = str(caught.value).splitlines()
    assert bound.startswith("--subject-to b>: 'b>' is no bound: write")
    assert first == "--max-lambda -1.0: Input should be greater than 0"
    assert second.startswith("--nuisance-parameters depth: Input should be 'learning_rate'")


@pytest.mark.parametrize(
    ("words", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_a_time_budget_is_a_duration(words, seconds):
    run = get_command(app).commands["run"]
    context = run.make_context("run", ["DATA", "--time-budget", words])
    assert context.params["time_budget"] == seconds


@pytest.mark.parametrize("words", ["soon", "90", "10 m", "m"])
def test_what_is_no_duration_is_refused(words):
    run = get_command(app).commands["run"]
    with pytest.raises(typer.BadParameter, match="90s, 10m or 1h30m"):
        run.make_context("run", ["DATA", "--time-budget", words])
