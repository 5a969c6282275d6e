"""Who trains what, without Ray: against a simulation that remembers only what happened."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.tuner.execution.test_causes import CREATION, KILLED, MEMORY, NODE
from tuner.execution.causes import in_one_line
from tuner.execution.dispatcher import IDLE, MEMORY_RETRIES, RETRIES, Dispatcher
from tuner.study.trial import FinishedTrial, TrialRequest


def request(number):
    return TrialRequest(phase="search", number=number, strength=float(number), seeds=(1, 2))


def failed(asked):
    return FinishedTrial(request=asked, outcome=None, reason="planted")


class Batches:
    """A plan: batches of requests, each of which waits for the one before it.

    Attributes:
        ended: What was recorded.
        faults: How many times `record` has yet to be called until it raises; None for never.
    """

    def __init__(self, *sizes, faults=None):
        numbers = iter(range(sum(sizes)))
        self.batches = [[request(next(numbers)) for _ in range(size)] for size in sizes]
        self.ended, self.faults = [], faults

    def next_trials(self, running):
        ended = {trial.request for trial in self.ended}
        for batch in self.batches:
            if not ended.issuperset(batch):
                return [r for r in batch if r not in ended and r not in running]
        return []

    def record(self, trial):
        if self.faults is not None:
            self.faults -= 1
            if self.faults < 0:
                raise OSError("the disk is full")
        self.ended.append(trial)


class Simulated(RuleBasedStateMachine):
    """Workers are hired, work, die and go in any order."""

    @initialize(
        workers=st.integers(1, 4),
        sizes=st.lists(st.integers(1, 4), max_size=4),
        faults=st.none() | st.integers(0, 6),
    )
    def begin(self, workers, sizes, faults):
        self.plan = Batches(*sizes, faults=faults)
        self.dispatcher = Dispatcher(self.plan.next_trials, self.plan.record, workers)
        self.workers, self.names, self.now = workers, 0, 0.0
        self.hired, self.running, self.idle = set(), {}, {}
        self.deaths, self.is_broken = Counter(), False

    def waiting(self):
        return [] if self.is_broken else self.plan.next_trials(self.running.values())

    def forget(self, worker):
        """Return what it was training, if anything."""
        self.hired.discard(worker)
        self.idle.pop(worker, None)
        return self.running.pop(worker, None)

    def recorded(self, *trials):
        """Return what is recorded in all if those are, too; unless that raises."""
        if trials and self.plan.faults is not None and self.plan.faults <= 0:
            self.is_broken, trials = True, ()
        return [(t.request, t.reason) for t in (*self.plan.ended, *trials)]

    @rule()
    def hire(self):
        self.names += 1
        name = f"worker {self.names}"
        is_useful = len(self.hired) < min(self.workers, len(self.running) + len(self.waiting()))
        assert self.dispatcher.hire(name) == is_useful
        if is_useful:
            self.hired.add(name)

    @precondition(lambda self: self.hired - self.running.keys())
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, IDLE, 2 * IDLE]))
    def ask(self, data, seconds):
        self.now += seconds
        worker = data.draw(st.sampled_from(sorted(self.hired - self.running.keys())))
        waiting = self.waiting()
        assert self.dispatcher.next_request(worker, self.now) == (waiting[0] if waiting else None)
        if waiting:
            self.running[worker] = waiting[0]
            self.idle.pop(worker, None)
        else:
            self.idle.setdefault(worker, self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        worker = data.draw(st.sampled_from(sorted(self.running)))
        trial = failed(self.running.pop(worker))
        recorded = self.recorded(trial)
        self.dispatcher.finished(worker, trial)
        assert self.recorded() == recorded

    @precondition(lambda self: self.hired)
    @rule(data=st.data(), cause=st.sampled_from([KILLED, MEMORY, NODE, CREATION]))
    def lose(self, data, cause):
        worker = data.draw(st.sampled_from(sorted(self.hired)))
        waiting = self.waiting()
        suspect = self.forget(worker) or (waiting[0] if waiting else None)
        ends = []
        if suspect is not None:
            self.deaths[suspect] += cause != NODE
            deaths = self.deaths[suspect]
            reason = f"its worker died {deaths} times, lately for: {in_one_line(cause)}"
            if deaths > (MEMORY_RETRIES if cause == MEMORY else RETRIES):
                ends = [FinishedTrial(request=suspect, outcome=None, reason=reason)]
        recorded = self.recorded(*ends)
        self.dispatcher.lost(worker, cause)
        assert self.recorded() == recorded

    @precondition(lambda self: self.hired)
    @rule(data=st.data())
    def leave(self, data):
        worker = data.draw(st.sampled_from(sorted(self.hired)))
        self.dispatcher.leave(worker)
        self.forget(worker)

    @rule(cause=st.sampled_from([KILLED, NODE]))
    def lose_a_stranger(self, cause):
        before = list(self.plan.ended)
        self.dispatcher.lost("nobody", cause)
        assert self.plan.ended == before

    @invariant()
    def it_knows_what_happened(self):
        if not hasattr(self, "dispatcher"):
            return
        assert dict(self.dispatcher.running) == self.running
        assert self.dispatcher.idle == list(self.idle)
        is_done = not self.running and not self.waiting()
        assert self.dispatcher.is_done == is_done
        late = {worker for worker, since in self.idle.items() if self.now - since > IDLE}
        assert set(self.dispatcher.dismissible(self.now)) == (self.hired if is_done else late)
        assert (self.dispatcher.error is not None) == self.is_broken

    @invariant()
    def there_are_never_more_workers_than_may_be(self):
        if hasattr(self, "dispatcher"):
            assert len(self.hired) <= self.workers
            assert len(self.running) <= len(self.hired)

    def teardown(self):
        """Whatever happened, workers that live bring it to its end, each request once."""
        if not hasattr(self, "dispatcher"):
            return
        for worker in [*self.hired]:
            self.dispatcher.leave(worker)
        while self.dispatcher.hire("last"):
            asked = self.dispatcher.next_request("last", self.now)
            self.dispatcher.finished("last", failed(asked))
            self.dispatcher.leave("last")
        assert self.dispatcher.is_done
        numbers = [trial.request.number for trial in self.plan.ended]
        assert len(numbers) == len(set(numbers))
        if self.dispatcher.error is None:
            assert sorted(numbers) == list(range(sum(map(len, self.plan.batches))))


Simulated.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAgainstSimulation = Simulated.TestCase


def started(plan, workers=1):
    """A dispatcher whose workers, named by letters, all have a request."""
    dispatcher = Dispatcher(plan.next_trials, plan.record, workers)
    for worker in "abcdefgh"[:workers]:
        assert dispatcher.hire(worker)
        dispatcher.next_request(worker, 0.0)
    return dispatcher


def die(dispatcher, cause, times):
    """Have the one worker die, and another hired, so many times."""
    for _ in range(times):
        assert not dispatcher.is_done
        dispatcher.lost("a", cause)
        if dispatcher.hire("a"):
            dispatcher.next_request("a", 0.0)


@pytest.mark.parametrize(("cause", "retries"), [(KILLED, 2), (CREATION, 2), (MEMORY, 9)])
def test_a_trial_whose_worker_dies_is_tried_again_so_many_times(cause, retries):
    plan = Batches(1)
    dispatcher = started(plan)
    die(dispatcher, cause, retries)
    assert not plan.ended
    die(dispatcher, cause, 1)
    (trial,) = plan.ended
    assert trial.reason == (
        f"its worker died {retries + 1} times, lately for: {in_one_line(cause)}"
    )
    assert dispatcher.is_done
    assert dispatcher.error is None


def test_the_death_of_a_node_is_no_fault_of_the_trial():
    plan = Batches(1)
    dispatcher = started(plan)
    die(dispatcher, NODE, 50)
    assert not plan.ended
    die(dispatcher, KILLED, 3)
    assert plan.ended[0].reason.startswith("its worker died 3 times")


def test_workers_that_cannot_start_end_every_trial_in_turn():
    plan = Batches(2, 1)
    dispatcher = Dispatcher(plan.next_trials, plan.record, 4)
    deaths = 0
    while not dispatcher.is_done:
        assert dispatcher.hire("a")
        dispatcher.lost("a", CREATION)
        deaths += 1
    assert deaths == 9
    assert [t.request.number for t in plan.ended] == [0, 1, 2]
    assert "No module named 'my_encoders'" in plan.ended[2].reason


def test_a_death_that_is_told_twice_counts_once():
    plan = Batches(1)
    dispatcher = started(plan)
    for _ in range(5):
        dispatcher.lost("a", KILLED)
    assert not plan.ended
    assert dispatcher.hire("b")
    assert dispatcher.next_request("b", 0.0) == request(0)


def test_an_idle_worker_waits_for_a_while_and_is_given_what_comes():
    plan = Batches(2, 2)
    dispatcher = started(plan, workers=2)
    dispatcher.finished("a", failed(request(0)))
    assert dispatcher.next_request("a", 5.0) is None
    assert dispatcher.next_request("a", 6.0) is None  # is idle since 5 all the same
    assert dispatcher.dismissible(5.0 + IDLE) == []
    assert dispatcher.dismissible(5.1 + IDLE) == ["a"]
    dispatcher.finished("b", failed(request(1)))
    assert dispatcher.next_request("a", 40.0) == request(2)
    assert dispatcher.dismissible(1000.0) == []


def test_when_all_is_done_all_may_go():
    plan = Batches(2)
    dispatcher = started(plan, workers=2)
    dispatcher.finished("a", failed(request(0)))
    dispatcher.finished("b", failed(request(1)))
    assert dispatcher.is_done
    assert sorted(dispatcher.dismissible(0.0)) == ["a", "b"]
    assert not dispatcher.hire("c")


def test_after_an_error_of_the_record_nothing_more_is_handed_out_and_the_first_is_kept():
    plan = Batches(3, 1, faults=0)
    dispatcher = started(plan, workers=2)
    dispatcher.finished("a", failed(request(0)))
    first = dispatcher.error
    assert str(first) == "the disk is full"
    assert dispatcher.next_request("a", 0.0) is None
    assert not dispatcher.is_done  # a worker still trains
    dispatcher.finished("b", failed(request(1)))
    assert dispatcher.error is first
    assert dispatcher.is_done


def test_an_error_of_the_plan_is_kept():
    def refuse(running):
        raise ZeroDivisionError("planted")

    dispatcher = Dispatcher(refuse, [].append, 2)
    assert not dispatcher.hire("a")
    assert isinstance(dispatcher.error, ZeroDivisionError)
    assert dispatcher.is_done


def test_an_interrupt_is_not_held_back():
    def interrupt(running):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Dispatcher(interrupt, [].append, 1).hire("a")
