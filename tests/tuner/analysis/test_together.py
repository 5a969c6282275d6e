"""What both encoders do together, against λ = 0: numbers that are known, and older studies."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tuner.conftest import make_study
from tuner.analysis.confirmed import Confirmed
from tuner.analysis.together import together
from tuner.models.evaluation.crossmodal import RECALL_NAMES
from tuner.reporting.wording import together_rows, together_words
from tuner.study.result import StudyResult
from tuner.tracking.content.encoders import answer_points


def told_of(small, change=lambda strength, arrays: arrays):
    """What is told of a study whose confirmations are changed."""
    finished = [
        trial
        if trial.request.phase != "confirm"
        else replace(
            trial,
            outcome=replace(
                trial.outcome,
                together=change(trial.request.strength, trial.outcome.together),
            ),
        )
        for trial in small.finished
    ]
    confirmed = Confirmed.of(small.study, finished)
    strength = max(confirmed.outcomes)
    return confirmed, together(confirmed, small.study.test, strength)


def found(strength, arrays):
    """Every partner of half of the rows is found at λ > 0, none at λ = 0."""
    return {
        name: (np.arange(values.size).reshape(values.shape) % 2 * (strength > 0)).astype(np.float32)
        if "recall" in name
        else values
        for name, values in arrays.items()
    }


def test_gains_are_those_of_the_rows_with_intervals_around_them(classification):
    rows = len(classification.study.test.truth)
    _, told = told_of(classification, found)
    share = np.mean(np.arange(rows) % 2)
    for name in RECALL_NAMES:
        scores = told.measured[name]
        assert (scores.baseline, scores.gain) == pytest.approx((0, scores.best), abs=1e-9)
        assert scores.best == pytest.approx(share, abs=1 / rows)
        low, high = scores.gain_interval
        assert low < scores.gain < high
        error = 2 * np.sqrt(share * (1 - share) / rows)  # of rows; every seed has its own
        assert 0.2 * error < (high - low) / 2 < 2 * error


def test_predictions_are_scored_by_the_metric_of_the_study(classification, regression):
    for small in (classification, regression):
        confirmed, told = told_of(small)
        truth, metric = small.study.test.truth, small.study.metric
        predicted = set(told.measured) - set(RECALL_NAMES)
        heads = {"zero_shot_a", "zero_shot_b"} if small is classification else set()
        assert predicted == heads | {"fused"}
        for name in predicted:
            at_zero, best = (
                np.mean([metric.score(truth, one) for one in confirmed.outcomes[at].pair[name]])
                for at in (0.0, told.strength)
            )
            scores = told.measured[name]
            assert (scores.baseline, scores.best) == pytest.approx((at_zero, best))
            assert scores.gain == pytest.approx(metric.sign * (best - at_zero))


def test_of_folds_each_row_is_scored_by_the_seeds_of_its_fold():
    small = make_study("classification", folds=2)
    confirmed, told = told_of(small, found)
    whole = confirmed.outcomes[told.strength].pair["recall_at_1_a_to_b"]
    seen = ~np.isnan(whole)
    assert (seen.sum(0) == len(whole) / 2).all()
    assert told.gallery == seen.sum(1).max() < len(small.study.test.truth)
    scores = told.measured["recall_at_1_a_to_b"]
    assert scores.best == pytest.approx(np.nanmean(whole), abs=0.02)
    assert scores.baseline == 0


def test_studies_of_before_it_was_measured_tell_nothing(classification):
    _, told = told_of(classification, lambda *_: {})
    assert told is None
    before = classification.result.model_copy(update={"together": None})
    assert "together" not in before.model_dump(mode="json")
    assert StudyResult.model_validate(before.model_dump(mode="json")) == before
    assert together_rows(before) == []
    assert together_words(before) is None


def test_reports_and_metrics_hold_every_measurement(classification):
    _, told = told_of(classification, found)
    result = classification.result.model_copy(update={"together": told})
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
    rows = {title: cells for title, *cells in together_rows(result)}
    assert len(rows) == len(told.measured)
    assert rows["recall@1, A → B"][:2] == [
        "0.0000",
        f"{told.measured['recall_at_1_a_to_b'].best:.4f}",
    ]
    assert "zero-shot accuracy of B, by prototypes of A" in rows
    assert f"{told.gallery} rows" in together_words(result)
    points = {point.name: point.value for point in answer_points(result, 0)}
    for name, scores in told.measured.items():
        assert points[f"together/{name}"] == scores.best
        assert points[f"together/{name}_low"] == scores.gain_interval[0]
