"""What identifies a study: its options, flat or not, and their order."""

import pytest
from hypothesis import given
from pydantic import ValidationError

from tests.support.specs import spec_of_all_options_changed, specs
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.study.spec import OPTIONS, StudySpec, options_of, spec_from_options

DEFAULTS_OF_0_1_0 = {"trials": 6, "confirm_replicates": 12}


@pytest.mark.parametrize(
    ("options", "study"),
    [
        ({}, "b6a0c7fb2b82ab3e"),
        ({"trials": 12, "seed": 7}, "f3d1b4613a3abc39"),
    ],
)
def test_a_study_keeps_its_id_from_version_to_version(options, study):
    spec = spec_from_options(DEFAULTS_OF_0_1_0 | options)
    assert spec.study_id("0123456789abcdef") == study


def test_the_code_of_own_encoders_is_part_of_the_id():
    options = {"encoder_a": "cnn", "hidden": 64, "nuisance": "joint"} | DEFAULTS_OF_0_1_0
    assert spec_from_options(options).study_id("0123456789abcdef", "d") == "7070657c39294535"


@given(spec=specs())
def test_flat_options_say_all_of_a_spec(spec):
    same = spec_from_options(options_of(spec))
    assert same == spec
    assert same.study_id("0" * 16) == spec.study_id("0" * 16)


def test_options_are_those_that_differ_from_their_defaults():
    assert options_of(StudySpec()) == {}
    training = TrainingConfig(hidden=64, epochs=100)
    assert options_of(StudySpec(trials=12, training=training)) == {"trials": 12, "hidden": 64}
    assert options_of(spec_of_all_options_changed()).keys() == OPTIONS.keys()


def test_every_option_has_one_name_and_is_described():
    fields = [*StudySpec.model_fields, *TrainingConfig.model_fields]
    assert sorted(fields) == sorted([*OPTIONS, "training"])
    assert [name for name, field in OPTIONS.items() if not field.description] == []


@pytest.mark.parametrize("looks", [(16,), (20, 20), (40, 20)])
def test_each_look_has_more_seeds_than_the_one_before(looks):
    with pytest.raises(ValidationError, match=r"more seeds than the one before, 16 at first"):
        StudySpec(confirm_replicates=16, looks=looks)


def test_seeds_are_added_to_those_there_are():
    longer = StudySpec(confirm_replicates=4).extended(6).extended(9)
    parts = longer.confirmed_in_parts
    assert [len(part) for part in parts] == [4, 2, 3]
    assert sum(parts, ()) == longer.seeds("confirm")
    assert [shorter.looks for shorter in longer.shorter] == [(6,), ()]
    with pytest.raises(SpecError, match=r"--seeds 9: it has 9 confirming seeds already"):
        longer.extended(9)


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"prior": "shipped"}, "expecting(study, 'shipped', settings)"),
        ({"warm_start": "0123"}, "expecting(study, 'none', settings, warm_start='0123')"),
    ],
)
def test_who_names_the_past_is_told_how_a_study_goes_by_it(options, call):
    with pytest.raises(ValidationError) as refused:
        StudySpec(**options)
    assert call in str(refused.value)


@pytest.mark.parametrize("gpus", [1.5, -0.1])
def test_gpus_are_a_part_of_one_or_whole_ones(gpus):
    with pytest.raises(ValidationError, match="gpus"):
        StudySpec(gpus=gpus)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *((name, 1_000) for name in ("trials", "replicates", "batch", "nuisance_trials")),
        ("confirm_replicates", 10_000),
    ],
)
def test_what_would_take_years_is_refused(name, most):
    assert getattr(spec_from_options({name: most}), name) == most
    with pytest.raises(ValidationError, match=f"{name}\\n.* less than or equal to {most}"):
        spec_from_options({name: most + 1})


def test_seeds_that_are_added_are_bounded_as_well():
    assert StudySpec().extended(10_000).looks == (10_000,)
    with pytest.raises(SpecError, match=r"there may be 10,000 confirming seeds in all"):
        StudySpec().extended(10_001)
    with pytest.raises(ValidationError, match="looks"):
        StudySpec(looks=(10_001,))
