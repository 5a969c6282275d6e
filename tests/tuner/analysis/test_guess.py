"""An encoder that is no better than a guess is told."""

import json

import numpy as np
import pytest

from tests.support.in_process import answer_in_process
from tests.support.simulated import simulate
from tuner.analysis.guess import guess_of
from tuner.data import Split, from_arrays
from tuner.reporting.note import result_note
from tuner.reporting.wording import guess_words
from tuner.study.result import StudyResult
from tuner.study.spec import spec_from_options
from tuner.study.study import Study

SMALL = {"trials": 4, "replicates": 2, "confirm_replicates": 3, "epochs": 8, "hidden": 8}


def dataset_of(y, **options):
    a, b = np.random.default_rng(0).normal(size=(2, len(y), 4))
    return from_arrays({"a": a, "b": b, "y": y}, **options)


def study_of(y, **options):
    return Study.of(spec_from_options(SMALL | options), dataset_of(y))


def compared(study, a, b):
    return guess_of(study, {"a": {"a": a, "b": b}, "b": {"a": a, "b": b}})


NAMES = np.where(np.arange(400) % 20 == 0, "yes", "no")
VALUES = 50 + np.random.default_rng(1).normal(size=400)


@pytest.mark.parametrize(
    ("metric", "score"), [("accuracy", 0.95), ("balanced_accuracy", 0.5), ("macro_f1", 0.95 / 1.95)]
)
def test_always_the_commonest_class(metric, score):
    study = study_of(NAMES, metric=metric)
    truth = study.test.truth
    guess = compared(study, np.zeros((2, len(truth)), int), np.stack([truth, truth]))
    assert (guess.label, guess.b) == ("no", None)
    assert guess.score == pytest.approx(score)
    assert (guess.a.score, guess.a.skill) == (guess.score, 0)
    assert guess.a.gain_interval == (0, 0)


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_always_the_median(metric):
    study = study_of(VALUES, metric=metric)
    truth = study.test.truth
    median = np.median(study.dataset.y[study.dataset.indices(Split.TRAIN)])
    worse = np.full((1, len(truth)), median) + 5
    guess = compared(study, worse, np.stack([truth]))
    assert guess.label == median
    assert guess.b is None
    assert guess.a.skill < 0
    expected = np.abs(truth - median).mean()
    if metric == "mae":
        assert guess.score == pytest.approx(expected)
        assert guess.a.skill == pytest.approx(1 - np.abs(truth - median - 5).mean() / expected)


def test_both_encoders_better_than_a_guess_are_no_news():
    study = study_of(NAMES)
    truth = np.stack([study.test.truth])
    assert compared(study, truth, truth) is None


def test_three_groups_hardly_tell_that_an_encoder_is_better():
    """Its gains in equal groups are .4, .3 and .1; t of 2 degrees of freedom is 4.30265."""
    a, b = np.random.default_rng(0).normal(size=(2, 360, 4))
    rows = {"a": a, "b": b, "y": np.tile([0, 0, 0, 1, 1], 72)}
    groups = {"split": np.repeat([0, 1, 2], 120), "group": np.repeat(np.arange(9), 40)}
    study = Study.of(spec_from_options(SMALL), from_arrays(rows | groups))
    truth = study.test.truth
    right = np.concatenate([np.arange(40) >= wrong for wrong in (0, 4, 12)])
    guess = compared(study, np.where(right, truth, 1 - truth)[None], truth[None])
    half = 4.30265 * np.std([0.4, 0.3, 0.1], ddof=1) / np.sqrt(3)
    mean = np.mean([0.4, 0.3, 0.1])
    assert guess.a.gain_interval == pytest.approx((mean - half, mean + half), rel=1e-5)
    assert guess.b is None
    without = Study.of(spec_from_options(SMALL), from_arrays(rows | {"split": groups["split"]}))
    assert compared(without, np.where(right, truth, 1 - truth)[None], truth[None]) is None


def test_the_answer_tells_it_everywhere():
    result = answer_in_process(spec_from_options(SMALL), dataset_of(NAMES), simulate(lambda _: 0.9))
    words = guess_words(result)
    assert [text[:9] for text in words] == ["Encoder A", "Encoder B"]
    for text in words:
        assert "no better than always guessing 'no', the commonest label" in text
        assert "--metric balanced_accuracy" in text
        assert text in result_note(result)
    again = StudyResult.model_validate_json(result.model_dump_json())
    assert again == result


def test_an_answer_without_it_has_no_such_field():
    y = np.arange(400) % 3
    result = answer_in_process(spec_from_options(SMALL), dataset_of(y), simulate(lambda _: 0.9))
    assert result.guess is None
    assert guess_words(result) == ()
    assert "guess" not in json.loads(result.model_dump_json())


@pytest.mark.slow
def test_values_that_nothing_tells_of():
    result = answer_in_process(spec_from_options(SMALL), dataset_of(VALUES))
    assert "better than always guessing the median of the training rows, 49.9" in " ".join(
        guess_words(result)
    )
