"""The curve that is drawn is that of the model, in the metric's own units."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.priors import families, prior
from tuner.analysis.curves.families import NODES
from tuner.analysis.curves.model import CurveModel
from tuner.analysis.curves.modelled import modelled_curve, prior_summary
from tuner.analysis.curves.observations import observe
from tuner.reporting.wording import prior_words
from tuner.study.prior import EarlierShare
from tuner.study.result import StudyResult


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_it_is_the_baseline_and_the_modelled_gain(request, kind):
    small = request.getfixturevalue(kind)
    study = small.study
    searched = [t.outcome for t in small.finished if t.request.phase == "search" and t.outcome]
    told = modelled_curve(study, small.finished)
    strengths = np.array(told.strengths)
    assert (strengths[0], strengths[-1]) == (0, study.spec.max_lambda)
    observations = observe(study.validation, searched, "b")
    model = CurveModel.fit(observations, study.spec.space)
    scores, better = study.metric.sign * observations.scores, study.metric.sign
    gain = better * (np.array(told.b.mean) - scores[0].mean())  # positive is better
    np.testing.assert_allclose(gain, model.mean(strengths), rtol=1e-3, atol=1e-3)
    ends = np.sort([told.b.low, told.b.mean, told.b.high], axis=0)
    np.testing.assert_array_equal(ends, [told.b.low, told.b.mean, told.b.high])
    assert told.b.low[0] == pytest.approx(told.b.high[0])  # nothing is gained by no alignment


def test_a_result_holds_it_and_is_read_again(classification):
    result = classification.result
    assert "curve_model" not in result.model_dump()  # one of before it was told
    curve = modelled_curve(classification.study, classification.finished)
    told = result.model_copy(update={"curve_model": curve})
    again = StudyResult.model_validate_json(told.model_dump_json())
    assert again.curve_model == curve


@pytest.mark.parametrize(("slope", "is_right"), [(0.0, True), (-0.9, False)])
def test_what_past_studies_said_is_told_beside_what_was_seen(classification, slope, is_right):
    study, finished = classification.study, classification.finished
    assert prior_summary(study, finished) is None
    told = prior(families(slope * NODES, spread=2))
    expecting = replace(study, spec=study.spec.model_copy(update={"prior": told}))
    summary = prior_summary(expecting, finished)
    assert (summary.source, summary.weight) == ("shipped", 0.5)
    alone, with_it = modelled_curve(study, finished), modelled_curve(expecting, finished)
    for target, said in summary.targets.items():
        assert said.curve == alone.scores[target]
        assert summary.is_right(target) == is_right
        for curve, strength in ((alone, said.alone), (with_it, said.best)):
            assert strength == curve.strengths[int(np.argmax(curve.scores[target].mean))]
    result = classification.result.model_copy(update={"prior": summary})
    assert StudyResult.model_validate_json(result.model_dump_json()).prior == summary
    assert "prior" not in classification.result.model_dump()
    first, *lines = prior_words(result)
    assert "none in the verdict" in first
    assert [("not agree" in line) != is_right for line in lines] == [True] * 3


@pytest.mark.parametrize("source", ["none", "shipped"])
def test_what_an_earlier_study_said_is_told_with_its_weight_before_and_after(
    classification, source
):
    study, finished = classification.study, classification.finished
    share = EarlierShare(study="0123456789abcdef", name="theirs", weight=0.1)
    told = prior(families(0 * NODES, -0.9 * NODES, spread=2), weight=0.2)
    told = told.model_copy(update={"source": source, "earlier": share})
    expecting = replace(study, spec=study.spec.model_copy(update={"prior": told}))
    summary = prior_summary(expecting, finished)
    assert summary.earlier.model_dump() == share.model_dump()
    for target, said in summary.targets.items():
        assert said.earlier < 0.01 < said.believed  # the first family was right, the last wrong
        assert not summary.is_earlier_right(target)
    weightless = told.model_copy(update={"weight": 0.0})
    nothing = replace(study, spec=study.spec.model_copy(update={"prior": weightless}))
    assert {t.earlier for t in prior_summary(nothing, finished).targets.values()} == {0.0}
    result = classification.result.model_copy(update={"prior": summary})
    assert StudyResult.model_validate_json(result.model_dump_json()).prior == summary
    lines = prior_words(result)
    assert ("Past studies (shipped" in lines[0]) == (source == "shipped")
    assert "Study 0123456789abcdef (theirs), of other data, had a small say" in lines[-4]
    words = "does not agree with the curve of study 0123456789abcdef: its weight went from 0.10 to"
    assert all(words in line for line in lines[-3:])
