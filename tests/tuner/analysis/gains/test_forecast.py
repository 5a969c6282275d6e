"""What a pilot forecasts, against what was planted."""

import numpy as np
import pytest

from tests.support.planted import ROWS, SEEDS, SPACE, plant, rows
from tuner.analysis.gains.forecast import forecast
from tuner.reporting.wording import forecast_words
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

SPEC = StudySpec(replicates=4, confirm_replicates=16)
STUDY = Study.of(SPEC, rows())


def flat(u):
    return 0.0 * u


def searched(study, world, units=(0.0, 1.0, 2 / 3)):
    train = plant({"a": flat, "b": flat}, world)
    return [
        train(
            TrialRequest(
                phase="search", number=n, strength=SPACE.to_lambda(u), seeds=SPEC.seeds("search")
            ),
            *(study.data, study.training, study.test_rows),
        )
        for n, u in enumerate(units)
    ]


def test_the_least_gain_that_is_confirmed_is_near_the_planted_one():
    """(1.96 + .84) standard errors of 16 seeds and 300 rows, of each side and of their mean."""
    told = [forecast(STUDY, searched(STUDY, world)) for world in range(12)]
    variance = SEEDS**2 / 16 * 0.92 + ROWS**2 / 300 * 0.92  # where u is 1 and 2/3, on average
    for target, share in (("a", 1.0), ("b", 1.0), ("joint", 0.5)):
        detectable = np.array([each.targets[target].detectable for each in told])
        planted = 2.8 * np.sqrt(share * variance)
        assert np.median(detectable) == pytest.approx(planted, rel=0.2)
        assert np.mean(np.abs(np.log(detectable / planted)) < np.log(1.5)) >= 0.8


def test_more_of_what_is_lacking_would_show_the_smallest_gain():
    told = forecast(STUDY, searched(STUDY, 0)).targets["joint"]
    assert told.detectable > told.smallest_gain == 0.01
    assert told.seeds is None or told.seeds > 16
    seeds, labelled = told.both
    larger = Study.of(SPEC.model_copy(update={"confirm_replicates": seeds}), rows(labelled))
    enough = forecast(larger, searched(larger, 0)).targets["joint"].detectable
    assert enough == pytest.approx(0.01, rel=0.35)


def test_a_gain_that_is_large_enough_needs_no_more():
    spec = SPEC.model_copy(update={"smallest_gain": 0.2})
    study = Study.of(spec, rows())
    told = forecast(study, searched(study, 0))
    assert all(t.seeds < 16 for t in told.targets.values())
    first, _, joint, *_ = forecast_words(told, workers=2)
    assert first.startswith("The study takes 64 trainings, about ")
    assert " of training with 2 at a time (" in first
    assert " of training in all (" in forecast_words(told, workers=None)[0]
    assert joint.endswith("; the smallest worth having is 0.2")
