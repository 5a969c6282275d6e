"""What a person reads in the terminal."""

import io

import pytest
from rich.console import Console

from tests.support.hostile import hostile
from tuner.cli import console
from tuner.settings import Settings
from tuner.study.result import (
    CrossCovarianceGate,
    Guess,
    GuessComparison,
    InformationSummary,
    IntervalEstimate,
)

HOSTILE = "[/] [red]x[/red] :smile:"


def test_the_answer_tells_each_encoder_and_both(classification, capsys):
    console.show_answer(classification.result)
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split() for line in lines if "λ* =" in line]
    assert heads == [
        ["joint", "λ*", "=", "0", "undecided"],
        ["a", "λ*", "=", "0.4", "align"],
        ["b", "λ*", "=", "0", "do", "not", "align"],
    ]
    gains = [line.split(": ")[1] for line in lines if "gain on test rows at λ = 0.4" in line]
    assert gains[0] == "+0.0010 [−0.0200, +0.0220]"
    assert [float(gain.split()[0]) for gain in gains[1:]] == pytest.approx(
        [side.test.gain for _, side in classification.result.modalities], abs=5e-5
    )
    assert "failed: λ = 3 (search): TrainingDivergedError" in " ".join(lines)


def test_a_terminal_shows_what_is_done_before_the_first_training(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(console, "_err", Console(file=screen, force_terminal=True, width=100))
    with console.progress_shown("accuracy") as shown:
        for words in ("starting Ray", "handing over the data"):
            shown.step(words)
    told = screen.getvalue()
    assert told.rfind("handing over the data") > told.rfind("starting")


def test_it_says_where_to_look_next(classification, capsys, tmp_path):
    result = hostile(classification).result
    console.show(result, Settings(home=tmp_path))
    words = capsys.readouterr().out
    assert str(tmp_path / "reports" / result.study / "report.html") in words
    assert "model    models:/x-a/3" in words
    assert "tuner ui" in words


def test_what_users_write_is_shown_as_it_is(classification, capsys):
    result = classification.result
    failures = (result.failures[0].model_copy(update={"reason": HOSTILE}),)
    console.show_answer(result.model_copy(update={"name": HOSTILE, "failures": failures}))
    assert capsys.readouterr().out.count(HOSTILE) == 2


def test_a_profile_names_a_data_set_as_it_is_called(capsys):
    part = IntervalEstimate(value=0.25, low=0.2, high=0.3)
    gate = CrossCovarianceGate(signal=1, nuisance=1, ratio=None, helps=None)
    parts = dict.fromkeys(("R", "U_a", "U_b", "S"), part)
    information = InformationSummary(
        **parts, reliable=True, entropy=1.0, rows=100, regime="align", gate=gate
    )
    console.show_information(HOSTILE, information)
    words = capsys.readouterr().out
    assert HOSTILE in words
    assert words.count("[0.200, 0.300]") == 4
    assert "100 rows were used" in words
    console.show_information(HOSTILE, information, 12)
    assert "100 rows of 12 groups were used" in capsys.readouterr().out


def test_an_encoder_that_is_no_better_than_a_guess_is_told(classification, capsys):
    compared = GuessComparison(score=0.5, skill=0.1, gain_interval=(-0.2, 0.3))
    guess = Guess(label="[red]", score=0.45, a=compared, b=None)
    console.show_answer(classification.result.model_copy(update={"guess": guess}))
    words = " ".join(capsys.readouterr().out.split())
    assert "Encoder A is not surely better than always guessing '[red]'" in words
