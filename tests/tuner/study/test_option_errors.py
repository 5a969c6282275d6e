import pytest
from pydantic import ValidationError

from tuner.study.spec import StudySpec, option_errors, spec_from_options

FOLDS = "folds: Input should be "


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
        (
            {"b_size": "32"},
            [
                (
                    "b_size",
                    "32",
                    "b_size: '32' is not of the form: HEIGHTxWIDTH that B's encoded images (PNG, "
                    "JPEG) are resized to, such as 32x32",
                )
            ],
        ),
        ({"folds": 40}, [("folds", 40, f"{FOLDS}less than or equal to 5, or 'auto'")]),
        ({"folds": "few"}, [("folds", "few", f"{FOLDS}a valid integer, or 'auto'")]),
        (
            {"gpus": 1.5},
            [("gpus", 1.5, "gpus: more than one GPU has to be a whole number of them")],
        ),
        (
            {"looks": [20, 18]},
            [
                (
                    "looks",
                    [20, 18],
                    "looks: each has more seeds than the one before, 16 at first, not (20, 18)",
                )
            ],
        ),
        (
            {"nuisance_parameters": ["depth"]},
            [
                (
                    "nuisance_parameters.0",
                    "depth",
                    "nuisance_parameters.0: Input should be 'learning_rate', 'weight_decay', "
                    "'temperature' or 'hidden'",
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
