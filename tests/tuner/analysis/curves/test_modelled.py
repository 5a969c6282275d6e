"""The curve that is drawn is that of the model, in the metric's own units."""

import numpy as np
import pytest

from tuner.analysis.curves.model import CurveModel
from tuner.analysis.curves.modelled import modelled_curve
from tuner.analysis.curves.observations import observe
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
