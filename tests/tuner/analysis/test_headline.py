"""What the program says of planted curves, and of answers of every kind."""

import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import DECIDED, simulate
from tuner.analysis.headline import headline
from tuner.cli.console import show_answer
from tuner.reporting.note import result_note
from tuner.study.answer import Needs
from tuner.study.result import MetricSummary, StudyResult

CURVES = {
    "rises": lambda strength: 0.6 + 0.05 * strength,
    "interior": lambda strength: 0.9 - (strength - 1) ** 2 / 30,
    "falls late": lambda strength: 0.8 - 0.1 * max(strength - 2, 0),
    "flat": lambda strength: 0.8,
    "collapse": lambda strength: 0.4 if strength else 0.8,
    "weak": lambda strength: 0.8 + 0.004 * strength**0.5,
}


def answered(curve: str) -> StudyResult:
    rows, smallest = (400, 0.01) if curve == "weak" else (1500, 0.03)
    trials = 6 if curve == "weak" else 10
    update = {"smallest_gain": smallest, "trials": trials, "batch": trials}
    spec = DECIDED.model_copy(update=update)
    return answer_in_process(spec, worlds.null(0, rows=rows), simulate(CURVES[curve]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("curve", "verdict", "reason", "begins", "holds"),
    [
        ("rises", "align", "gain confirmed", "Align with λ = 4: mean accuracy", "The best may lie"),
        ("interior", "align", "gain confirmed", "Align with λ = ", "Alignment helps: at λ = "),
        (
            "falls late",
            "do not align",
            "no gain worth having",
            "Do not align: gains in mean accuracy of A and B of 0.030 or more are ruled out at "
            "every λ, and λ ≥ 2.",
            "A gain of 0.03 is ruled out at every λ: ",
        ),
        (
            "flat",
            "do not align",
            "no gain worth having",
            "Do not align: gains in mean accuracy of A and B of 0.030 or more are ruled out at "
            "every λ.",
            "A gain of 0.03 is ruled out at every λ: ",
        ),
        (
            "collapse",
            "do not align",
            "harm shown",
            "Do not align: averaged over the λs searched, mean accuracy of A and B falls, and λ ≥ ",
            "No λ was seen to help and alignment harms: ",
        ),
        (
            "weak",
            "undecided",
            "needs more",
            "Undecided, keep λ = 0: at λ = ",
            "No gain was confirmed, nor one worth having ruled out: ",
        ),
    ],
)
def test_what_is_said_of_planted_curves(curve, verdict, reason, begins, holds, capsys):
    result = answered(curve)
    assert (result.joint.verdict, result.joint.reason) == (verdict, reason)
    assert result.headline.startswith(begins)
    assert holds in result.joint.evidence
    assert f"is {result.joint.smallest_gain:.3g} (--smallest-gain)" in result.joint.evidence
    low, high = result.joint.interval
    assert low <= result.joint.strength <= high
    truth = CURVES[curve](result.joint.candidate) - CURVES[curve](0)
    assert result.joint.gain_interval[0] <= truth <= result.joint.gain_interval[1]
    if result.joint.harm_from is not None:  # what is said to lose surely does
        lost = CURVES[curve](0) - CURVES[curve](result.joint.harm_from)
        assert lost >= result.joint.smallest_gain
    assert (result.joint.needs is None) == (verdict != "undecided")
    assert result.headline in result_note(result).replace("&amp;", "&")
    show_answer(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert result.headline in shown
    assert result.joint.evidence in shown


@pytest.fixture(scope="module")
def rising():
    return answered("rises")


def _changed(result, joint, *, a=None, direction="maximize"):
    metric = MetricSummary(
        name={"maximize": "accuracy", "minimize": "mae"}[direction], direction=direction
    )
    a = {"verdict": joint["verdict"]} | (a or {})
    modalities = result.modalities.model_copy(
        update={
            "a": result.modalities.a.model_copy(update=a),
            "b": result.modalities.b.model_copy(update={"verdict": joint["verdict"]}),
        }
    )
    return result.model_copy(
        update={
            "joint": result.joint.model_copy(update=joint),
            "modalities": modalities,
            "metric": metric,
        }
    )


def test_a_modality_that_differs_is_named(rising):
    undecided = {"verdict": "undecided", "candidate": 0.5, "gain": 0.004}
    undecided["gain_interval"] = (-0.002, 0.01)
    alone = {"verdict": "align", "strength": 0.3}
    test = rising.modalities.a.test.model_copy(
        update={"gain": 0.018, "gain_interval": (0.008, 0.027)}
    )
    told = headline(_changed(rising, undecided, a=alone | {"test": test}))
    assert told == (
        "Undecided, keep λ = 0: at λ = 0.5 mean accuracy of A and B rises by 0.004 "
        "[−0.002, 0.010]; A alone: align with λ = 0.3, rises by 0.018 [0.008, 0.027]."
    )


@pytest.mark.parametrize(
    ("verdict", "gain", "interval", "words"),
    [
        (
            "align",
            2.5,
            (1, 4),
            "Align with λ = 4: mean absolute error of A and B falls by 2.5 [1, 4]",
        ),
        ("undecided", -2.5, (-6, 1), "mean absolute error of A and B rises by 2.5 [−1, 6]"),
        ("undecided", 2.5, (-1, 6), "mean absolute error of A and B falls by 2.5 [−1, 6]"),
        ("undecided", 2.5, None, "falls by 2.5 (no interval: test rows are of too few groups)"),
        ("undecided", None, None, "λ = 0.5 could not be trained again"),
    ],
)
def test_an_error_gains_by_falling(rising, verdict, gain, interval, words):
    joint = {"verdict": verdict, "candidate": 0.5, "gain": gain, "gain_interval": interval}
    assert words in headline(_changed(rising, joint, direction="minimize"))


NEEDS = {"goal": "show", "size": 0.02, "has": (12, 300), "rows": None, "search": 1.0}


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (
            {"seeds": 30, "both": (20, 500)},
            "30 confirming seeds in place of 12 would show a gain of 0.020",
        ),
        (
            {"seeds": 90, "both": (20, 500)},
            "20 confirming seeds with 500 labelled test rows would show a gain of 0.020",
        ),
        (
            {"seeds": None, "both": (20, 500), "goal": "rule out", "search": 2.5},
            "no number of seeds suffices with these test rows, but 20 confirming seeds with 500 "
            "labelled test rows would rule out a gain of 0.020, at every λ with a search with 2.5 "
            "times as many seeds and validation rows",
        ),
        (
            {
                "seeds": None,
                "both": (20, 500),
                "folds": {"count": 3, "seeds": 18, "rows": 1700},
            },
            "18 confirming seeds in 3 folds, which test 1,700 labelled rows outside validation, "
            "would show a gain of 0.020",
        ),
        (
            {"seeds": 30, "both": (20, 500), "folds": {"count": 3, "seeds": 18, "rows": 1700}},
            "30 confirming seeds in place of 12 would show a gain of 0.020",
        ),
        (
            {"seeds": None, "both": (20, 500), "folds": {"count": 3, "seeds": 21, "rows": 400}},
            "no number of seeds suffices with these test rows, but 20 confirming seeds with 500 "
            "labelled test rows would show a gain of 0.020",
        ),
        (
            {"seeds": 12, "both": (12, 300), "goal": "rule out", "search": 25.0},
            "a search with 25 times as many seeds and validation rows would rule out a gain of "
            "0.020 at every λ",
        ),
        (
            {"seeds": None, "both": (20, 500), "goal": "rule out", "search": 4775.0},
            "to rule out a gain of 0.020 at every λ takes over 100 times as many seeds and "
            "validation rows of the search",
        ),
        (
            {"seeds": 12, "both": (12, 300)},
            "more λs or seeds of the search would show whether to believe it",
        ),
        (
            {"seeds": None, "both": None},
            "no number of seeds and test rows would show a gain of 0.020",
        ),
    ],
)
def test_undecided_says_what_would_decide(rising, needs, words):
    joint = {"verdict": "undecided", "needs": Needs(**NEEDS | needs)}
    assert headline(_changed(rising, joint)).endswith(f"; {words}.")


def test_a_loss_is_said_as_one(rising):
    joint = {"verdict": "undecided", "candidate": 0.5, "gain": -0.02}
    told = headline(_changed(rising, joint | {"gain_interval": (-0.05, 0.01)}))
    assert "mean accuracy of A and B falls by 0.020 [−0.010, 0.050]" in told
