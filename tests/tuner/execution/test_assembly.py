"""Requests that are trained in parts: whoever trains them when, what comes of them is one thing."""

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import worlds
from tests.support.simulated import simulate
from tests.tuner.execution.test_causes import KILLED
from tuner.execution.assembly import Assembly
from tuner.execution.dispatcher import RETRIES, Dispatcher
from tuner.models.config import TrainingConfig
from tuner.models.outcome import RULES, TrainingOutcome, weights_name
from tuner.models.training.telling import Advance
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

STUDY = Study.of(StudySpec(training=TrainingConfig(epochs=4)), worlds.null(0, rows=200))
SEEDS = (11, 12, 13, 14, 15, 16)
TRAIN = simulate(
    lambda _: 0.7, by_accuracy=lambda _: 0.6, losses=lambda _, epochs: np.arange(epochs) + 1.0
)


def asked(number=0, phase="confirm"):
    return TrialRequest(phase=phase, number=number, strength=0.5, seeds=SEEDS)


@cache
def trained(request: TrialRequest) -> TrainingOutcome:
    """Seed 14 has the least loss; the weights say whose they are."""
    outcome = TRAIN(request, STUDY.data, STUDY.training, STUDY.test_rows)
    losses = np.array([abs(seed - 14) + 1.0 for seed in request.seeds], np.float32)
    curves = {name: values * losses[:, None] for name, values in outcome.curves.items()}
    outcome = replace(outcome, curves=curves, seconds=float(len(request.seeds)))
    best = {
        weights_name(m, rule): request.seeds[outcome.best_replicate(m, rule)]
        for m in "ab"
        for rule in RULES
    }
    weights = {name: {"w": np.full((1, 2), seed, np.float32)} for name, seed in best.items()}
    return replace(outcome, weights=weights)


def of(request, seeds):
    return FinishedTrial(request=request.part(seeds), outcome=trained(request.part(seeds)))


def failed(request, seeds, reason):
    return FinishedTrial(request=request.part(seeds), outcome=None, reason=reason)


def assert_same(one: TrainingOutcome, other: TrainingOutcome):
    np.testing.assert_equal(vars(one.by_accuracy), vars(other.by_accuracy))
    for name, value in vars(one).items():
        if name != "by_accuracy":
            np.testing.assert_equal(getattr(other, name), value, err_msg=name)


@st.composite
def divisions(draw):
    """Parts of the seeds, which may be dealt out in turn, and in which order they end."""
    dealt = draw(st.sampled_from([SEEDS, SEEDS[::2] + SEEDS[1::2]]))
    cuts = sorted(draw(st.sets(st.integers(1, 5))))
    parts = [dealt[a:b] for a, b in zip([0, *cuts], [*cuts, 6], strict=True)]
    return parts, draw(st.permutations(range(len(parts))))


@given(divisions())
@settings(deadline=None, max_examples=60)
def test_in_whatever_order_parts_end_the_whole_is_what_all_give_at_once(division):
    parts, order = division
    request = asked()
    assembly = Assembly(request, [request.part(part) for part in parts])
    given_out = [assembly.take() for _ in parts]
    assert [part.seeds for part in given_out] == parts
    told = [assembly.add(of(request, parts[n])) for n in order]
    assert told[:-1] == [None] * (len(parts) - 1)
    assert told[-1].request == request
    assert_same(trained(request), told[-1].outcome)


@given(st.sets(st.integers(0, 5), min_size=1), st.permutations(range(6)))
@settings(deadline=None, max_examples=40)
def test_it_fails_for_the_first_part_that_does_whichever_is_heard_of_first(failing, order):
    request = asked()
    assembly = Assembly(request, [request.part((seed,)) for seed in SEEDS])
    ended = None
    while ended is None and assembly.waiting:
        taken = [assembly.take() for _ in range(assembly.waiting)]
        for n in sorted(range(len(taken)), key=lambda n: order[n]):
            number = SEEDS.index(taken[n].seeds[0])
            seed = (SEEDS[number],)
            is_failing = number in failing
            told = failed(request, seed, f"part {number}") if is_failing else of(request, seed)
            ended = assembly.add(told) or ended
    assert (ended.request, ended.reason) == (request, f"part {min(failing)}")


def test_what_comes_after_a_part_that_failed_is_not_trained():
    request = asked()
    assembly = Assembly(request, [request.part((seed,)) for seed in SEEDS])
    first, second = assembly.take(), assembly.take()
    assert assembly.add(failed(request, second.seeds, "it diverged")) is None
    assert assembly.waiting == 0
    assembly.give_back(first)  # its worker died
    assert assembly.waiting == 1
    assert assembly.take() == first
    assert assembly.add(of(request, first.seeds)).reason == "it diverged"


def test_how_far_the_whole_is():
    request = asked()
    assembly = Assembly(request, [request.part(SEEDS[:2]), request.part(SEEDS[2:])])
    one, other = assembly.take(), assembly.take()
    assert assembly.advance({}) is None
    told = {
        one: Advance(ended=1, stacked=1, epoch=3.0, epochs=10, patience=2),
        other: Advance(ended=0, stacked=3, epoch=1.0, epochs=10, patience=2),
        asked(1): Advance(ended=5, stacked=1, epoch=9.0, epochs=10, patience=2),
    }
    assert assembly.advance(told) == Advance(ended=1, stacked=4, epoch=1.5, epochs=10, patience=2)
    assembly.add(of(request, one.seeds))
    later = {other: replace(told[other], epoch=7.0)}
    assert assembly.advance(later) == Advance(ended=2, stacked=3, epoch=7.0, epochs=10, patience=2)
    assert assembly.advance({}).ended == 2  # until the other says so again


class Plan:
    """Wants some requests, and checks that it is told of whole ones alone."""

    def __init__(self, count):
        self.requests, self.ended = [asked(n) for n in range(count)], []

    def next_trials(self, running):
        assert set(running) <= set(self.requests)
        ended = {trial.request for trial in self.ended}
        return [r for r in self.requests if r not in ended and r not in running]

    def dispatcher(self, workers):
        def divide(request):
            return [request.part(SEEDS[n : n + 2]) for n in range(0, 6, 2)]

        return Dispatcher(self.next_trials, self.ended.append, workers, divide)


@given(st.integers(1, 5), st.integers(1, 3), st.data())
@settings(deadline=None, max_examples=40)
def test_however_many_workers_there_are_and_die_the_same_is_recorded(workers, count, data):
    plan = Plan(count)
    dispatcher = plan.dispatcher(workers)
    names, hired, deaths = iter(range(10**6)), set(), 0
    while not dispatcher.is_done:
        name = str(next(names))
        if dispatcher.hire(name):
            hired.add(name)
        for worker in sorted(hired - dispatcher.running.keys()):
            dispatcher.next_request(worker, 0.0)
        assert len(dispatcher.running) <= workers
        worker = data.draw(st.sampled_from(sorted(dispatcher.running)))
        if deaths < RETRIES and data.draw(st.booleans()):
            deaths += 1
            hired.discard(worker)
            dispatcher.lost(worker, KILLED)
        else:
            part = dispatcher.running[worker]
            dispatcher.finished(worker, FinishedTrial(request=part, outcome=trained(part)))
    assert sorted(trial.request.number for trial in plan.ended) == list(range(count))
    for trial in plan.ended:
        assert trial.request == asked(trial.request.number)
        assert_same(trained(trial.request), trial.outcome)


def test_workers_share_one_request_and_begin_no_other_before_it_is_theirs():
    plan = Plan(2)
    dispatcher = plan.dispatcher(4)
    for name in "abcd":
        assert dispatcher.hire(name)
        dispatcher.next_request(name, 0.0)
    numbers = [part.number for part in dispatcher.running.values()]
    assert numbers == [0, 0, 0, 1]
    assert {part.part_of for part in dispatcher.running.values()} == {SEEDS}


def test_a_part_whose_worker_dies_too_often_fails_the_whole_and_others_of_it_are_not_recorded():
    plan = Plan(1)
    dispatcher = plan.dispatcher(2)
    assert dispatcher.hire("z")
    other = dispatcher.next_request("z", 0.0)
    for _ in range(RETRIES + 1):
        assert dispatcher.hire("a")
        part = dispatcher.next_request("a", 0.0)
        dispatcher.lost("a", KILLED)
    assert other.seeds == SEEDS[:2]
    assert part.seeds == SEEDS[2:4]
    assert plan.ended == []  # the first part may fail, too
    dispatcher.finished("z", FinishedTrial(request=other, outcome=trained(other)))
    (trial,) = plan.ended
    assert trial.request == asked()
    assert trial.reason.startswith(f"its worker died {RETRIES + 1} times")
    assert dispatcher.is_done


def test_after_an_error_no_other_part_is_handed_out():
    plan = Plan(1)
    dispatcher = plan.dispatcher(1)
    assert dispatcher.hire("a")
    part = dispatcher.next_request("a", 0.0)
    dispatcher.error = OSError("the disk is full")
    dispatcher.finished("a", FinishedTrial(request=part, outcome=trained(part)))
    assert dispatcher.next_request("a", 0.0) is None
    assert dispatcher.is_done
