"""What a point of the λ-curve says of how alike the two representations are."""

from dataclasses import replace

import numpy as np
import pytest

from tuner.analysis.conclusion import _environments, _of_precision, curve, curve_point
from tuner.study.result import CurvePoint


def test_a_point_has_its_similarities_and_what_of_them_is_beyond_chance(classification):
    trial = classification.finished[0]
    point = curve_point(classification.study.validation, trial)
    outcome = trial.outcome
    for name, null in outcome.similarity_null.items():
        measured, beyond = outcome.similarity[name].mean(), null.mean(0)
        told = getattr(point.calibrated, name)
        assert getattr(point.similarity, name) == pytest.approx(measured)
        median = np.median(beyond)
        assert told.value == pytest.approx((measured - median) / (1 - median), abs=1e-6)
        assert told.quantile == pytest.approx(np.sort(beyond)[190])
        assert told.p == pytest.approx((1 + (beyond >= measured).sum()) / 201)


def test_a_point_without_a_null_is_told_as_it_was_before(classification):
    trial = classification.finished[0]
    before = replace(trial, outcome=replace(trial.outcome, similarity_null={}))
    point = curve_point(classification.study.validation, before)
    told = point.model_dump(mode="json")
    assert set(told["similarity"]) == {"cka", "svcca", "mutual_knn"}
    assert "calibrated" not in told
    assert CurvePoint.model_validate(told) == point


def test_the_table_of_the_curve_has_a_column_for_each(classification):
    study = classification.study
    points = curve(study.validation, classification.finished)
    table = classification.result.model_copy(update={"curve": points}).frame()
    assert list(table["similarity_cka"]) == [point.similarity.cka for point in points]
    for part in ("value", "quantile", "p"):
        assert table[f"calibrated_mutual_knn_{part}"].notna().all()


def test_an_answer_says_where_its_trials_were_trained_the_commonest_first(classification):
    trial = classification.finished[0]

    def on(**words):
        return replace(trial, outcome=replace(trial.outcome, environment=words))

    failed = replace(trial, outcome=None, reason="planted")
    finished = [on(gpu="T4"), failed, on(), on(gpu="H100"), on(gpu="H100")]
    assert _environments(finished) == ({"gpu": "H100"}, {"gpu": "T4"})
    assert _environments([failed, on()]) == ()
    assert _environments(classification.finished) == (dict(trial.outcome.environment),)


def test_an_answer_from_two_precisions_says_so():
    half, full = {"precision": "bfloat16"}, {"precision": "float32"}
    assert _of_precision([half, half | {"gpu": "H100"}]) == ()
    assert _of_precision([]) == ()
    (words,) = _of_precision([full, half])
    assert words.startswith("Some trials were trained in bfloat16 and others in float32")
