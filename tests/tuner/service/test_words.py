"""What is written for the command is said in the words of REST and of the page."""

import pytest

from tuner.service.app import create_app
from tuner.service.words import said, title
from tuner.settings import Settings
from tuner.study.spec import OPTIONS


@pytest.mark.parametrize(
    ("text", "rest", "page"),
    [
        (
            "Use --task regression.",
            'Use "task": "regression".',
            "Use “Task”: regression.",
        ),
        (
            "Choose arrays with --a, --b and --y.",
            'Choose arrays with "a", "b" and "y".',
            "Choose arrays with “Array of A”, “Array of B” and “Label”.",
        ),
        (
            "samples that happen to be equal, use --keep-copies-apart.",
            'samples that happen to be equal, use "keep_copies_apart".',
            "samples that happen to be equal, use “Keep copies apart”.",
        ),
        ("--split none to", '"split": "none" to', "“Split”: none to"),
        ("Use --a-size 32x32.", 'Use "a_size": "32x32".', "Use “Size of A's images”: 32x32."),
        ("--gpus 2: the study", '"gpus": 2: the study', "“GPUs”: 2: the study"),
        ("--missing 'not there'", '"missing": "not there"', "“Missing”: 'not there'"),
        ("'--' and a--b stay, -1 too", *["'--' and a--b stay, -1 too"] * 2),
    ],
)
def test_options_have_the_names_of_the_interface(text, rest, page):
    assert said(text, "rest") == rest
    assert said(text, "page").replace("Stands for a missing label", "Missing") == page


def test_every_option_has_its_title_in_the_document(tmp_path):
    document = create_app(Settings(home=tmp_path), run_studies=False).openapi()
    options = document["components"]["schemas"]["SubmitOptions"]["properties"]
    assert options.keys() >= OPTIONS.keys()
    assert {name: option["title"] for name, option in options.items()} == {
        name: title(name) for name in options
    }
    assert len({option["title"] for option in options.values()}) == len(options)
