"""Two targets against each other: what the figure holds is what was seen."""

import numpy as np
import pytest

from tests.support.scripted import answer
from tuner.reporting.scripts import write_script_report
from tuner.reporting.tradeoff import TradeOff, draw_tradeoff
from tuner.scripts.reported import Reported
from tuner.study.result import ModelledScore, PointScore
from tuner.study.scripts.spec import ScriptSpec

pytestmark = pytest.mark.slow  # figures are drawn
LAMBDAS = np.array([0.0, 0.5, 4.0])


def shown(chosen: float, modelled=None) -> TradeOff:
    x, y = ([PointScore(mean=m, sem=0.01) for m in means] for means in ([0.5, 0.6, 0.9], [3, 2, 1]))
    return TradeOff(
        titles=("acc_$a$", "loss"),
        better=(True, False),
        lambdas=LAMBDAS,
        scores=(x, y),
        modelled=modelled,
        chosen=chosen,
    )


def _drawn(figure, label):
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == label]
    return line.get_xdata(), line.get_ydata()


@pytest.mark.parametrize(("chosen", "expected"), [(0.0, (0.5, 3)), (0.5, (0.6, 2)), (4, (0.9, 1))])
def test_the_chosen_strength_is_where_its_scores_are(chosen, expected):
    figure = draw_tradeoff(shown(chosen))
    x, y = _drawn(figure, "λ*")
    assert (x[0], y[0]) == pytest.approx(expected)
    x, y = _drawn(figure, "λ = 0")
    assert (x[0], y[0]) == (0.5, 3)
    axis = figure.axes[0]
    assert axis.get_xlabel() == "acc_$a$ (more is better)"
    assert axis.get_ylabel() == "loss (less is better)"
    assert [text.get_text() for text in axis.texts] == ["λ = 0", "4", "0.5"]


def test_the_path_is_that_of_the_model():
    curve = (ModelledScore(mean=m, low=m, high=m) for m in ((0.1, 0.2, 0.4), (5.0, 6.0, 7.0)))
    figure = draw_tradeoff(shown(4.0, (LAMBDAS, tuple(curve))))
    x, y = _drawn(figure, "model of the curves")
    assert (x.tolist(), y.tolist()) == ([0.1, 0.2, 0.4], [5, 6, 7])
    assert [float(one[0]) for one in _drawn(figure, "λ*")] == pytest.approx([0.4, 7.0])


def test_a_report_has_it_where_there_are_two_targets(tmp_path):
    def report(request):
        luck = np.random.default_rng(request.seeds).random(200)
        rows = {"acc": (luck < 0.6) * 1.0, "f1": (luck < 0.5 + 0.05 * request.strength) * 1.0}
        return Reported(scores=rows, test_scores=rows if request.phase == "confirm" else None)

    words = "What one target gives up where another gains"
    both, _ = answer(ScriptSpec(target=("joint=acc+f1", "acc", "f1")), report)
    page = write_script_report(both, tmp_path).read_text()
    assert words in page
    assert "f1 against acc along λ, from λ = 0" in page
    assert page.count("<figure") == 4
    one, _ = answer(ScriptSpec(target="f1"), report)
    assert words not in write_script_report(one, tmp_path).read_text()
