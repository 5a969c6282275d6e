"""Confirmations of one λ to which seeds were added are one confirmation."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import worlds
from tests.support.simulated import simulate
from tuner.models.outcome import RULES, weights_name
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, KeptWeights, TrialRequest, confirmations

STUDY = Study.of(StudySpec(), worlds.null(0, rows=200))


def losses(seeds):
    """Each replicate's own: the last seed is the best one."""
    return lambda _, epochs: np.array([np.full(epochs, 1 / (1 + s)) for s in seeds])


def trial(number, strength, seeds, failed=False):
    request = TrialRequest(phase="confirm", number=number, strength=strength, seeds=seeds)
    if failed:
        return FinishedTrial(request=request, outcome=None, reason="planted")
    train = simulate(lambda _: 0.7, by_accuracy=lambda _: 0.8, losses=losses(seeds))
    outcome = train(request, STUDY.data, STUDY.training, STUDY.test_rows)
    names = [weights_name(side, rule) for side in "ab" for rule in RULES]
    kept = KeptWeights(digests={name: f"{name} of {seeds}" for name in names})
    return FinishedTrial(request=request, outcome=replace(outcome, weights=None), weights=kept)


def test_seeds_that_were_added_are_as_if_they_had_been_there_at_first():
    parts = [trial(3, 0.5, (3, 4)), trial(0, 0.0, (1, 2)), trial(1, 0.5, (1, 2))]
    told = confirmations([*parts, trial(2, 0.0, (3, 4))])
    assert list(told) == [0.0, 0.5]
    whole = trial(0, 0.5, (1, 2, 3, 4)).outcome
    assert told[0.5].request.seeds == (1, 2, 3, 4)
    for name in ("predictions", "test_predictions", "best_epoch", "curves"):
        np.testing.assert_equal(getattr(told[0.5].outcome, name), getattr(whole, name))
    assert told[0.5].outcome.steps == whole.steps
    for name, values in vars(whole.by_accuracy).items():
        np.testing.assert_equal(getattr(told[0.5].outcome.by_accuracy, name), values)


@pytest.mark.parametrize("added", [(7, 8), (3, 4)])
def test_the_weights_are_those_of_the_best_of_all_replicates(added):
    first, second = trial(0, 0.0, (5, 6)), trial(1, 0.0, added)
    kept = confirmations([first, second])[0.0].weights.digests
    best = second if max(added) > 6 else first
    assert kept == best.weights.digests


def test_seeds_count_only_where_every_strength_was_trained_with_them():
    first = [trial(0, 0.0, (1, 2)), trial(1, 0.5, (1, 2))]
    told = confirmations([*first, trial(2, 0.0, (3, 4)), trial(3, 0.5, (3, 4), failed=True)])
    assert {len(each.outcome.seeds) for each in told.values()} == {2}


def test_a_confirmation_that_failed_at_first_is_told():
    told = confirmations([trial(0, 0.0, (1, 2)), trial(1, 0.5, (1, 2), failed=True)])
    assert told[0.5].reason == "planted"
    assert told[0.0].outcome is not None
