import pytest
from pydantic import ValidationError

from tuner.study.spec import StudySpec, option_errors, spec_from_options


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        (
            {"trials": 2, "trails": 9},
            [
                ("trials", 2, "trials: Input should be greater than or equal to 3"),
                ("trails", 9, "trails: Extra inputs are not permitted"),
            ],
        ),
        ({"depth": 0}, [("depth", 0, "depth: Input should be greater than or equal to 1")]),
        (
            {"warm_start": {"study": "s1", "interval": (0.5, 0.0)}},
            [
                (
                    "warm_start.interval.1",
                    0.0,
                    "warm_start.interval.1: Input should be greater than 0",
                )
            ],
        ),
    ],
)
def test_every_option_that_is_wrong_is_named(options, errors):
    with pytest.raises(ValidationError) as caught:
        spec_from_options(options)
    faults = option_errors(caught.value.errors())
    assert [(each.option, each.value, str(each)) for each in faults] == errors


def test_what_is_wrong_with_all_of_them_is_told_of_the_spec():
    with pytest.raises(ValidationError) as caught:
        StudySpec.model_validate([])
    assert [each.option for each in option_errors(caught.value.errors())] == ["spec"]
