"""The λ-curve as it is drawn: in the metric's own units, diverged trainings off the axis."""

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pytest

from tuner.reporting.axes import PALETTES, as_bytes, in_the_dark, ticks_of
from tuner.reporting.figures import SimilarityPanel, draw_all, draw_one, draw_similarity, panels
from tuner.study.space import LambdaSpace

pytestmark = pytest.mark.slow  # figures are drawn


def test_a_loss_is_drawn_in_its_own_units(regression):
    study = regression.study
    shown = panels(study, regression.result, regression.finished)
    baseline = next(t for t in regression.finished if t.request.strength == 0)
    scores = study.validation.scores(baseline.outcome.predictions, "a")
    assert shown[0].baseline == pytest.approx(scores.mean())
    assert shown[0].mean[0] == pytest.approx(scores.mean())
    assert (shown[0].low <= shown[0].high).all()


@pytest.fixture(scope="module")
def shown(classification):
    return panels(classification.study, classification.result, classification.finished)


def test_round_strengths_are_labelled(classification, shown):
    study = classification
    axis = draw_all(study.study, study.result, shown, None).axes[0]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels[0] == "0"
    assert labels[-1] == "4"
    assert {"0.2", "0.5", "1"} <= set(labels)


@pytest.mark.parametrize("maximum", [0.003, 0.5, 4.0, 7.3, 1000.0])
def test_labels_of_strengths_never_touch(maximum):
    space = LambdaSpace(maximum=maximum)
    ticks = ticks_of(space)
    assert (ticks[0], ticks[-1]) == (0, maximum)
    assert (np.diff(space.to_unit(np.array(ticks))) >= 0.085).all()


def test_diverged_trainings_are_off_the_axis_and_counted(classification, shown):
    study, panel = classification.study, shown[0]
    scores = panel.scores.copy()
    scores[-1, 0] = -1e6
    figure = draw_one(study, dataclasses.replace(panel, scores=scores))
    axis = figure.axes[0]
    assert axis.get_ylim()[0] > -1e3
    said = [text.get_text() for text in axis.texts]
    assert said == [f"1 of {scores.size} scores are off the axis"]


def test_a_figure_wears_the_colours_of_its_theme_alone(classification, shown):
    figure = draw_one(classification.study, shown[0])
    drawn = as_bytes(figure, "svg")
    assert drawn == as_bytes(figure, "svg")
    light, dark = (
        set(re.findall("#[0-9a-f]{6}", svg))
        for svg in (drawn.decode(), in_the_dark(drawn.decode()))
    )
    assert light == set(vars(PALETTES["light"]).values())
    assert dark == set(vars(PALETTES["dark"]).values())


def test_similarity_is_that_of_the_search_by_rising_strength(classification):
    finished = classification.finished
    panel = SimilarityPanel.of(list(reversed(finished)))
    assert panel.lambdas.tolist() == [0.0, 0.05, 0.4, 4.0]
    first = finished[0].outcome.similarity
    for name, values in panel.measured.items():
        assert values[0].tolist() == first[name].tolist()
        assert panel.by_chance[name].shape == panel.beyond[name].shape == (4,)
        assert (
            panel.by_chance[name][0]
            == np.sort(finished[0].outcome.similarity_null[name].mean(0, dtype=np.float64))[190]
        )
    confirmed = [trial for trial in finished if trial.request.phase == "confirm"]
    assert SimilarityPanel.of(confirmed) is None


def test_trials_of_before_there_was_a_null_are_drawn_without(classification):
    study, finished = classification.study, classification.finished
    old = replace(finished[0], outcome=replace(finished[0].outcome, similarity_null={}))
    panel = SimilarityPanel.of([old, *finished[1:]])
    assert panel.by_chance == panel.beyond == {}
    with_null = SimilarityPanel.of(finished)
    lines = [len(draw_similarity(study, one).axes[0].lines) for one in (panel, with_null)]
    assert lines[1] == lines[0] + 3 + 1  # the last for the legend alone
