"""Trainings of others: each is one worker's at a time, whoever hands it out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tuner.models.outcome import TrainingOutcome
from tuner.storage.database import Database
from tuner.storage.handouts import Handouts
from tuner.study.trial import FinishedTrial, TrialRequest

LONG, OVER = 600.0, -1.0


def wanted(*numbers, phase="search"):
    return [
        TrialRequest(phase=phase, number=n, strength=0.1 * n, seeds=(2**32 - 1 - n,))
        for n in numbers
    ]


@pytest.fixture
def handouts(store) -> Handouts:
    """Those of a study of three trainings."""
    store.open("s1", name="n", fingerprint="f" * 64, spec={"seed": 0})
    store.open("s2", name="n", fingerprint="f" * 64, spec={"seed": 1})
    handouts = Handouts(store.database)
    handouts.offer("s1", wanted(0, 1, 2))
    return handouts


def tell(store, request):
    outcome = TrainingOutcome(
        strength=request.strength,
        seeds=np.array(request.seeds, dtype=np.int64),
        predictions={"acc": np.ones((1, 3))},
        test_predictions=None,
        best_epoch={},
        curves={},
        similarity={},
        steps=0,
        seconds=1.0,
        weights=None,
        environment={},
    )
    store.record("s1", FinishedTrial(request=request, outcome=outcome))


def test_each_is_handed_out_once_in_order_and_no_more_than_is_wanted(handouts):
    taken = [handouts.take("s1", name, LONG) for name in ("one", "two", "three")]
    assert [handout.request for handout in taken] == wanted(0, 1, 2)
    assert all(LONG - 5 < handout.seconds <= LONG for handout in taken)
    assert handouts.take("s1", "four", LONG) is None
    assert handouts.take("s2", "one", LONG) is None


def test_many_services_hand_out_to_many_workers_at_once(handouts):
    handouts.offer("s1", wanted(*range(24)))
    url = handouts._database.url
    with Database(url) as one, Database(url) as other, ThreadPoolExecutor(8) as pool:
        services = [Handouts(one), Handouts(other)]

        def take(number):
            return services[number % 2].take("s1", f"worker {number}", LONG)

        taken = list(pool.map(take, range(30)))
    numbers = [handout.request.number for handout in taken if handout is not None]
    assert sorted(numbers) == list(range(24))


def test_who_asks_again_has_what_they_had(handouts):
    first = handouts.take("s1", "one", LONG)
    again = handouts.take("s1", "one", 2 * LONG)
    assert (again.lease, again.request) == (first.lease, first.request)
    assert again.until > first.until + LONG / 2


def test_what_has_expired_is_handed_out_again_and_its_lease_is_worth_nothing_then(handouts):
    late = handouts.take("s1", "one", OVER)
    assert handouts.find("s1", late.lease).request == late.request  # nobody else has it
    next_ = handouts.take("s1", "two", LONG)
    assert next_.request == late.request
    assert handouts.find("s1", late.lease) is None
    assert handouts.keep("s1", late.lease, LONG) is None
    handouts.release("s1", late.lease)
    assert handouts.find("s1", next_.lease).seconds > 0


def test_a_heartbeat_keeps_what_has_expired_and_what_is_given_back_is_anybodys(handouts):
    mine = handouts.take("s1", "one", OVER)
    assert handouts.keep("s1", mine.lease, LONG).seconds > LONG - 5
    assert handouts.take("s1", "two", LONG).request != mine.request
    handouts.release("s1", mine.lease)
    assert handouts.take("s1", "three", LONG).request == mine.request


def test_what_is_told_is_handed_out_no_more_unless_it_is_forgotten(handouts, store):
    mine = handouts.take("s1", "one", OVER)
    tell(store, mine.request)
    assert handouts.find("s1", mine.lease).is_told
    assert handouts.take("s1", "one", LONG).request.number == 1
    handouts.release("s1", mine.lease)
    assert handouts.take("s1", "two", LONG).request.number == 2
    failed = FinishedTrial(request=wanted(7)[0], outcome=None, reason="no memory")
    store.record("s1", failed)
    handouts.offer("s1", wanted(7))
    assert handouts.take("s1", "three", LONG) is None
    store.forget_failed("s1", ("",))
    assert handouts.take("s1", "three", LONG).request.number == 7


def test_what_is_wanted_no_more_goes_unless_somebody_has_it_or_has_told_it(handouts, store):
    told, kept, late = (handouts.take("s1", n, LONG) for n in ("one", "two", "three"))
    tell(store, told.request)
    handouts.keep("s1", late.lease, OVER)
    handouts.offer("s1", wanted(0, phase="confirm"))
    assert handouts.find("s1", told.lease).is_told
    assert handouts.find("s1", kept.lease) is not None
    assert handouts.find("s1", late.lease) is None
    assert handouts.take("s1", "four", LONG).request == wanted(0, phase="confirm")[0]
