from dataclasses import replace

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import worlds
from tests.support.priors import families, prior
from tests.support.simulated import simulate
from tuner.analysis.curves.families import NODES
from tuner.analysis.stopping import Stopping
from tuner.errors import StudyFailedError
from tuner.search.plan import Plan
from tuner.search.sampler import apart, first_strengths, propose_strengths
from tuner.study.spec import StudySpec, WarmStart
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SPEC = StudySpec(trials=10, batch=4, replicates=3, confirm_replicates=4, sampler="tpe", seed=5)
DATASET = worlds.null(0, rows=200)
TRAIN = simulate(lambda strength: 0.6 + 0.2 * np.exp(-((strength - 0.5) ** 2)))


def finish(study, request, failing=()):
    key = (request.phase, request.number)
    if key in failing:
        return FinishedTrial(request=request, outcome=None, reason="planted")
    return FinishedTrial(request=request, outcome=study.trained(request, TRAIN))


def trained(spec, *, workers=1, order=None, failing=()):
    """Run a plan as a number of workers would that finish in random order."""
    study = Study.of(spec, DATASET)
    stopping = Stopping(study) if spec.stop_early else None
    plan = Plan(spec=spec, validation=study.validation, stopping=stopping)
    rng = np.random.default_rng(order)
    finished, running = [], []
    while True:
        waiting = plan.next(finished, running=running)
        running += waiting[: workers - len(running)]
        if not running:
            break
        finished.append(finish(study, running.pop(rng.integers(len(running))), failing))
    return sorted((t.request for t in finished), key=lambda r: (r.phase, r.number)), finished, plan


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    workers=st.integers(1, 8),
    order=st.integers(0, 99),
    sampler=st.sampled_from(["gp", "tpe", "random", "grid"]),
    nuisance=st.sampled_from(["none", "first", "joint"]),
    halving=st.sampled_from([1, 2]),
    stop_early=st.booleans(),
    folds=st.sampled_from([1, 3]),
    validation_folds=st.sampled_from([1, 3]),
    told=st.sampled_from([None, prior(families(0.02 * NODES, -0.02 * NODES))]),
)
def test_workers_and_the_order_of_finishing_change_nothing(
    workers, order, sampler, nuisance, halving, stop_early, folds, validation_folds, told
):
    spec = SPEC.model_copy(
        update={
            "sampler": sampler,
            "nuisance": nuisance,
            "halving": halving,
            "nuisance_trials": 9,
            "stop_early": stop_early,
            "confirm_replicates": 8 if folds == 1 else 12,
            "folds": folds,
            "validation_folds": validation_folds if folds == 1 else 1,
            "prior": told,
        }
    )
    alone, _, _ = trained(spec)
    together, _, _ = trained(spec, workers=workers, order=order)
    assert together == alone


def test_a_study_trains_zero_first_and_spreads_its_first_batch_to_both_ends():
    requests, _, _ = trained(SPEC)
    search = [r for r in requests if r.phase == "search"]
    first = [SPEC.space.to_unit(r.strength) * 3 for r in search[:4]]
    np.testing.assert_allclose(first, [0, 3, 1, 2], atol=1e-9)
    assert len(search) == 10
    assert all(0 <= r.strength <= SPEC.max_lambda for r in search)


def test_a_focus_makes_the_first_strengths_denser_there_and_keeps_the_ends():
    spec = StudySpec(trials=24)
    units = np.sort([spec.space.to_unit(s) for s in first_strengths(21, spec, (0.4, 1.0))])
    inside, outside = (units > 0.4).sum(), (units < 0.4).sum()
    assert (units[0], units[-1]) == pytest.approx((0.0, 1.0))
    assert inside / 0.6 == pytest.approx(2 * outside / 0.4, rel=0.2)
    assert first_strengths(21, spec, (0.4, 1.0))[0] == 0.0
    grid = spec.model_copy(update={"sampler": "grid"})
    assert first_strengths(21, grid, (0.4, 1.0)) == first_strengths(21, grid)


def test_a_warm_start_outweighs_the_profile():
    study = Study.of(SPEC, DATASET)
    warm = SPEC.model_copy(update={"warm_start": WarmStart(study="s", interval=(0.3, 1.0))})
    cold = Plan(spec=SPEC, validation=study.validation, focus=lambda: (0.0, 0.2)).next([])
    first = Plan(spec=warm, validation=study.validation, focus=lambda: (0.0, 0.2)).next([])
    inside = [sum(0.3 <= r.strength <= 1.0 for r in requests) for requests in (cold, first)]
    assert inside[1] > inside[0]
    assert first[0].strength == 0
    assert warm.study_id("f") != SPEC.study_id("f")


def test_a_prior_says_where_the_first_strengths_are_denser():
    study = Study.of(SPEC, DATASET)
    told = prior(families(0.02 * NODES, interval=(0.3, 1.0)))
    expecting = SPEC.model_copy(update={"prior": told})
    warm = SPEC.model_copy(update={"warm_start": WarmStart(study="s", interval=(0.3, 1.0))})
    asked = {
        name: Plan(spec=spec, validation=study.validation, focus=lambda: (0.0, 0.2)).next([])
        for name, spec in {
            "none": SPEC,
            "prior": expecting,
            "warm": warm,
            "nowhere": SPEC.model_copy(
                update={"prior": prior(families(0.02 * NODES, interval=None))}
            ),
            "weightless": SPEC.model_copy(
                update={"prior": told.model_copy(update={"weight": 0.0})}
            ),
        }.items()
    }
    assert asked["prior"] == asked["warm"] != asked["none"]
    assert asked["weightless"] == asked["nowhere"] == asked["none"]
    assert expecting.study_id("f") != SPEC.study_id("f")
    other = SPEC.model_copy(update={"prior": told.model_copy(update={"corpus": "f" * 16})})
    assert other.study_id("f") != expecting.study_id("f")


@pytest.mark.parametrize("focus", [None, (0.0, 0.2), (0.3, 0.9)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trials": 3},
        {"batch": 1},
        {"batch": 10},
        {"sampler": "grid"},
        {"sampler": "random"},
        {"nuisance": "first"},
        {"nuisance": "joint"},
        {"halving": 3, "trials": 9},
        {"warm_start": WarmStart(study="s", interval=(0.3, 1.0))},
        {"prior": prior(families(0.02 * NODES, interval=(0.3, 1.0)))},
        {"prior": prior(families(0.02 * NODES, interval=None), weight=0.1)},
    ],
)
def test_a_study_opens_with_what_no_focus_changes(changes, focus):
    spec = StudySpec.model_validate(SPEC.model_dump() | changes)
    validation = Study.of(SPEC, DATASET).validation
    asked = []

    def ask():
        asked.append(focus)
        return focus

    plan = Plan(spec=spec, validation=validation, focus=ask)
    opening = plan.opening
    assert len(opening) == (0 if spec.halving > 1 else 2)
    assert not asked
    assert opening == plan.next([])[: len(opening)]
    assert all(r in plan.next([], running=opening[:1]) for r in opening[1:])


def test_grid_is_even_in_the_warped_space():
    requests, _, _ = trained(SPEC.model_copy(update={"sampler": "grid"}))
    units = [SPEC.space.to_unit(r.strength) for r in requests if r.phase == "search"]
    np.testing.assert_allclose(sorted(units), np.linspace(0, 1, 10), atol=1e-12)


def test_random_always_trains_the_baseline():
    requests, _, _ = trained(SPEC.model_copy(update={"sampler": "random"}))
    search = [r.strength for r in requests if r.phase == "search"]
    assert search[0] == 0
    assert len(set(search)) == 10


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_most_lambdas_of_a_default_study_are_proposed_from_results(sampler):
    """Where the best lies decides which λs are tried."""
    spec = StudySpec(replicates=3, confirm_replicates=4, sampler=sampler)
    study = Study.of(spec, DATASET)
    searched = []
    for best in (0.2, 2.0):
        plan = Plan(spec=spec, validation=study.validation)
        train = simulate(lambda s, best=best: 0.7 - 0.1 * np.log((s + 0.1) / (best + 0.1)) ** 2)
        finished = []
        while requests := [r for r in plan.next(finished) if r.phase == "search"]:
            for request in requests:
                outcome = train(request, study.data, study.training, study.test_rows)
                finished.append(FinishedTrial(request=request, outcome=outcome))
        searched.append([t.request.strength for t in finished if t.request.strength > 0])
    laid_out = set(searched[0]) & set(searched[1])
    assert len(searched[0]) == len(searched[1]) == 7
    assert len(laid_out) == 3
    low, high = (np.median([s for s in each if s not in laid_out]) for each in searched)
    assert low < high


def test_what_is_asked_for_next_to_a_lambda_that_was_tried_goes_into_the_gap_beside_it():
    space = SPEC.space

    def moved(asked, tried):
        to = [space.to_lambda(u) for u in tried]
        strengths = apart([space.to_lambda(u) for u in asked], to, space)
        return pytest.approx([space.to_unit(s) for s in strengths])

    laid_out = (0.0, 1.0, 0.5)
    assert moved([1.0], laid_out) == [0.75]
    assert moved([0.99, 1.0], laid_out) == [0.75, 0.875]
    assert moved([0.49], laid_out) == [0.25]
    assert moved([0.3, 0.7], laid_out) == [0.3, 0.7]
    assert moved([0.5], [0.0, 0.47, 0.5, 0.53, 1.0]) == [0.235]  # both gaps are too narrow
    assert moved([0.5], [n / 32 for n in range(33)]) == [0.5]


def test_a_proposal_is_computed_on_one_thread(monkeypatch):
    from optuna.samplers import GPSampler

    counted, theirs = set(), GPSampler.sample_relative

    def counting(*words, **named):
        counted.update(library["num_threads"] for library in threadpoolctl.threadpool_info())
        return theirs(*words, **named)

    monkeypatch.setattr(GPSampler, "sample_relative", counting)
    finished = [(s, -((s - 1) ** 2)) for s in (0.0, 0.3, 0.9, 2.0)]
    propose_strengths("gp", finished, [], 1, SPEC.space, seed=(0,))
    assert counted == {1}


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_search_that_goes_to_the_end_of_the_range_tries_no_lambda_twice(sampler):
    spec = StudySpec(replicates=2, confirm_replicates=2, sampler=sampler)
    study = Study.of(spec, DATASET)
    plan, train = Plan(spec=spec, validation=study.validation), simulate(lambda s: 0.6 + 0.05 * s)
    finished = []
    while requests := [r for r in plan.next(finished) if r.phase == "search"]:
        for request in requests:
            outcome = train(request, study.data, study.training, study.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    units = sorted(spec.space.to_unit(t.request.strength) for t in finished)
    assert len(units) == 8
    assert np.diff(units).min() >= 1 / 32 - 1e-9


def test_a_worker_that_would_wait_trains_what_needs_nothing_of_the_search():
    study = Study.of(SPEC, DATASET)
    plan = Plan(spec=SPEC, validation=study.validation)
    first = plan.next([])
    assert [(r.phase, r.strength) for r in first[-1:]] == [("confirm", 0.0)]
    finished = [finish(study, request) for request in first[:3]]
    assert plan.next(finished, running=first[3:4]) == first[-1:]
    finished = [finish(study, request) for request in first]
    assert plan.next(finished)[0].phase == "search"


def test_a_batch_rests_on_all_batches_but_the_one_before_it():
    """And the first proposals on what was laid out."""
    study = Study.of(SPEC, DATASET)
    plan = Plan(spec=SPEC, validation=study.validation)
    first = plan.next([])
    search = [r.number for r in first if r.phase == "search"]
    assert search == [0, 1, 3, 2]  # the longest first, after 0
    batch = [finish(study, r) for r in first if r.phase == "search"]
    assert {r.number for r in plan.next(batch[:3]) if r.phase == "search"} == {2}
    assert {r.number for r in plan.next(batch) if r.phase == "search"} == set(range(4, 10))


@pytest.mark.slow
def test_a_plan_asked_anew_proposes_what_it_proposed_before():
    _, finished, plan = trained(SPEC.model_copy(update={"sampler": "gp"}))
    search = sorted(
        (t for t in finished if t.request.phase == "search"), key=lambda t: t.request.number
    )
    again = Plan(spec=plan.spec, validation=plan.validation).next(search[:7])
    wanted = [t.request for t in search[7:]]
    assert sorted((r for r in again if r.phase == "search"), key=lambda r: r.number) == wanted


def test_every_lambda_has_the_same_seeds_and_confirmation_has_fresh_ones():
    requests, _, _ = trained(SPEC)
    seeds = {
        phase: {r.seeds for r in requests if r.phase == phase} for phase in ("search", "confirm")
    }
    (search,), (confirm,) = seeds["search"], seeds["confirm"]
    assert len(set(search)) == 3
    assert len(set(confirm)) == 4
    assert not set(search) & set(confirm)


def test_another_study_seed_has_other_replicates():
    ours, _, _ = trained(SPEC)
    others, _, _ = trained(SPEC.model_copy(update={"seed": 6}))
    assert not set(ours[0].seeds) & set(others[0].seeds)


def test_confirmation_is_of_zero_and_of_every_candidate():
    requests, finished, plan = trained(SPEC)
    confirm = [r.strength for r in requests if r.phase == "confirm"]
    candidates = {choice.candidate for choice in plan.choices(finished).values()}
    assert confirm == [0.0, *sorted(candidates)]
    assert 0 not in candidates


def test_seeds_are_added_to_what_the_shorter_study_trains():
    shorter, _, _ = trained(SPEC)
    longer, _, plan = trained(SPEC.extended(7).extended(9))
    assert [r for r in longer if r.phase == "search"] == [r for r in shorter if r.phase == "search"]
    first = [r for r in shorter if r.phase == "confirm"]
    parts = [r for r in longer if r.phase == "confirm"]
    assert parts[: len(first)] == first
    assert [r.number for r in parts] == list(range(3 * len(first)))
    assert [r.strength for r in parts] == 3 * [r.strength for r in first]
    assert [len(r.seeds) for r in parts[:: len(first)]] == [4, 3, 2]
    assert len({seed for r in parts if r.strength == 0 for seed in r.seeds}) == 9
    assert plan.totals["confirm"] == 9


def test_a_confirmation_that_version_0_1_0_began_goes_on_as_it_would_have():
    """It confirmed the own candidate of each."""
    _, finished, plan = trained(SPEC)
    search = [t for t in finished if t.request.phase == "search"]
    other = replace(plan.next(search)[0], number=1, strength=3.21)
    study = Study.of(SPEC, DATASET)
    choices = plan.choices([*search, finish(study, other)])
    assert {c.candidate for c in choices.values()} != {
        c.candidate for c in plan.choices(search).values()
    }


def test_a_failed_trial_does_not_stop_the_study_and_is_not_tried_again():
    requests, finished, _ = trained(SPEC, failing={("search", 2), ("search", 5)})
    assert len([r for r in requests if r.phase == "search"]) == 10
    assert sum(t.reason == "planted" for t in finished) == 2
    assert len(finished) == len(requests)


def test_without_a_baseline_there_is_no_answer():
    study = Study.of(SPEC, DATASET)
    plan = Plan(spec=SPEC, validation=study.validation)
    baseline = plan.next([])[0]
    with pytest.raises(StudyFailedError, match=r"baseline .* could not be trained.*planted"):
        plan.next([finish(study, baseline, failing={("search", 0)})])


def test_too_few_trained_lambdas_are_no_curve():
    failing = {("search", n) for n in range(2, 10)}
    with pytest.raises(StudyFailedError, match=r"only 2 of 10 λs could be trained.*planted"):
        trained(SPEC, failing=failing)


def test_a_closed_search_goes_on_to_the_confirmation_once_there_is_a_curve():
    study = Study.of(SPEC, DATASET)
    plan = Plan(spec=SPEC, validation=study.validation)
    first = plan.next([], closed=True)
    assert first[0].number == 0  # too little to choose from: go on
    finished = [finish(study, request) for request in first[:3]]
    assert plan.next(finished, running=first[3:4], closed=True) == []
    assert {r.phase for r in plan.next(finished, closed=True)} == {"confirm"}
    assert plan.next(finished)[0].phase == "search"
