"""Successive halving: who goes on, and that partial values stay apart from full ones."""

import numpy as np
import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import simulate
from tests.tuner.search.test_nuisance import of_phase, run
from tuner.search.halving import Halving
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SPEC = StudySpec(trials=12, replicates=3, confirm_replicates=4, halving=2, seed=3)
TRAIN = simulate(lambda strength: 0.6 + 0.3 * np.exp(-((strength - 0.5) ** 2)))


@pytest.mark.parametrize(
    ("trials", "halving", "epochs", "sizes"),
    [
        (12, 2, 100, [12, 6, 4]),
        (27, 3, 100, [27, 9, 4]),
        (50, 5, 100, [50, 10, 4]),
        (12, 2, 3, [12, 6]),  # a quarter of 3 epochs is none
        (4, 3, 100, [4, 4, 4]),
    ],
)
def test_the_sizes_of_the_rungs(trials, halving, epochs, sizes):
    spec = StudySpec(trials=trials, halving=halving, training={"epochs": epochs})
    halving = Halving(spec=spec, validation=None, focus=None, nuisance=None)
    assert halving.sizes == sizes
    assert halving.total == sum(sizes[:-1])


def test_the_better_lambdas_go_on_and_zero_always_does():
    finished, plan = run(SPEC.model_copy(update={"sampler": "grid"}), TRAIN)
    rungs = of_phase(finished, "rung")
    by_epochs = {
        epochs: [r.strength for r in rungs if dict(r.settings)["epochs"] == epochs]
        for epochs in (25, 50)
    }
    search = of_phase(finished, "search")
    assert [len(by_epochs[25]), len(by_epochs[50]), len(search)] == [12, 6, 4]
    assert plan.totals == {"nuisance": 0, "rung": 18, "search": 4, "confirm": 3}
    nearest = sorted(set(by_epochs[25]) - {0.0}, key=lambda s: abs(s - 0.5))
    assert {r.strength for r in search} == {0.0, *nearest[:3]}
    assert all(r.settings == () for r in search)  # in full
    assert {r.number for r in search} == {n for n in range(12) if rungs_hold(rungs, n, search)}


def rungs_hold(rungs, number, search):
    (strength,) = {r.strength for r in rungs if r.number == number}
    return strength in {r.strength for r in search}


def test_partial_values_are_no_part_of_the_curve():
    result = answer_in_process(SPEC, worlds.null(0, rows=400), TRAIN)
    assert len(result.curve) == 4
    assert len(result.stopped) == 8
    assert {p.epochs for p in result.stopped} == {25, 50}
    assert not {p.strength for p in result.stopped} & {p.strength for p in result.curve}
    off = {e: [abs(p.strength - 0.5) for p in result.stopped if p.epochs == e] for e in (25, 50)}
    assert np.mean(off[50]) < np.mean(off[25])


def test_the_first_rung_asks_the_sampler():
    """Most λs are near the best, of those that were not laid out."""
    finished, _ = run(SPEC, TRAIN)
    tried = [r for r in of_phase(finished, "rung") if r.number < SPEC.trials]
    units = [SPEC.space.to_unit(r.strength) for r in sorted(tried, key=lambda r: r.number)]
    np.testing.assert_allclose(np.multiply(units[:4], 3), [0, 3, 1, 2], atol=1e-9)
    off = np.abs(np.array(units[4:]) - SPEC.space.to_unit(0.5))
    assert np.median(off) < 0.2


def test_a_lambda_that_failed_does_not_go_on():
    spec = SPEC.model_copy(update={"batch": 12})
    study = Study.of(spec, worlds.null(0, rows=400))
    plan = Plan(spec=spec, validation=study.validation)
    first = plan.next([])
    best = min((r for r in first if r.strength > 0), key=lambda r: abs(r.strength - 0.5))
    finished = [
        FinishedTrial(request=r, outcome=None, reason="planted")
        if r == best
        else FinishedTrial(request=r, outcome=TRAIN(r, study.data, study.training, None))
        for r in first
    ]
    second = plan.next(finished)
    assert {dict(r.settings)["epochs"] for r in second} == {50}
    assert best.strength not in {r.strength for r in second}


@pytest.mark.integration
def test_halving_takes_fewer_steps_of_real_training():
    training = {"epochs": 12, "patience": 12, "hidden": 8, "embedding": 4}
    spec = StudySpec(trials=12, replicates=2, confirm_replicates=2, training=training)
    dataset = worlds.null(0, rows=200)
    full = answer_in_process(spec, dataset)
    halved = answer_in_process(spec.model_copy(update={"halving": 3}), dataset)
    assert halved.cost.gradient_steps < 0.75 * full.cost.gradient_steps
