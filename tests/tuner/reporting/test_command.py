"""The command that a report prints; that it is read back is held by the tests of `tuner.cli`."""

import pytest

from tests.support.priors import families, prior
from tests.support.specs import spec_of_all_options_changed
from tuner.analysis.curves.families import NODES
from tuner.models.config import TrainingConfig
from tuner.reporting.command import command, flag
from tuner.study.prior import EarlierShare
from tuner.study.spec import OPTIONS, StudySpec, WarmStart


def test_the_command_repeats_the_question():
    assert command(StudySpec()) == "tuner run DATA"
    training = TrainingConfig(encoder_a="cnn", temperature=0.5, batch_size=64)
    spec = StudySpec(
        name="it's", trials=30, confirm_replicates=4, max_lambda=2.0, seed=3, training=training
    )
    expected = (
        "tuner run DATA --name 'it'\"'\"'s' --trials 30 --confirm-replicates 4 --max-lambda 2.0 "
        "--seed 3 --encoder-a cnn --temperature 0.5 --batch-size 64"
    )
    assert command(spec) == expected


def test_it_says_every_option_that_makes_another_study():
    words = command(spec_of_all_options_changed()).split()
    assert {flag(name) for name in OPTIONS} == {word for word in words if word.startswith("--")}


def test_several_values_repeat_the_flag():
    spec = StudySpec(cpus=2, nuisance_parameters=("hidden", "temperature"))
    repeated = "--nuisance-parameters hidden --nuisance-parameters temperature"
    assert command(spec) == f"tuner run DATA {repeated} --cpus 2"


def test_a_warm_start_is_named_by_its_study():
    spec = StudySpec(warm_start=WarmStart(study="0123456789abcdef", interval=(0.1, 2.0)))
    assert command(spec) == "tuner run DATA --warm-start 0123456789abcdef"


@pytest.mark.parametrize(("source", "flags"), [("none", ""), ("own", "--prior own ")])
def test_so_is_one_of_other_data_beside_the_prior_that_it_is_a_part_of(source, flags):
    share = EarlierShare(study="0123456789abcdef", name="theirs", weight=0.1)
    told = prior(families(0.02 * NODES)).model_copy(update={"source": source, "earlier": share})
    line = f"tuner run DATA {flags}--warm-start 0123456789abcdef"
    assert command(StudySpec(prior=told)) == line
