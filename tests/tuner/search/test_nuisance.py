"""Training settings are searched before λ, and the baseline keeps its own best."""

import numpy as np
import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import simulate
from tuner.execution.workers.worker import train_request
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

DATASET = worlds.null(0, rows=400)
SPEC = StudySpec(
    trials=5, replicates=3, confirm_replicates=4, nuisance="first", nuisance_trials=12, seed=3
)


def skill(training, _strength):
    """Best at ten times the learning rate that is given."""
    return 0.2 - 0.1 * abs(np.log10(training.learning_rate / 1e-2))


def run(spec, train):
    study = Study.of(spec, DATASET)
    plan = Plan(spec=spec, validation=study.validation)
    finished = []
    while requests := plan.next(finished):
        for request in requests:
            outcome = train(request, study.data, study.training, study.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    return finished, plan


def of_phase(finished, *phases):
    return [t.request for t in finished if t.request.phase in phases]


def test_settings_are_found_at_zero_and_used_for_every_lambda():
    finished, plan = run(SPEC, simulate(lambda _: 0.6, skill))
    tried = of_phase(finished, "nuisance")
    assert len(tried) == plan.totals["nuisance"] == 12
    assert {r.strength for r in tried} == {0.0}
    names = {name for r in tried for name, _ in r.settings}
    assert names == {"learning_rate", "weight_decay", "hidden"}  # λ = 0 has no temperature
    assert dict(tried[0].settings) == {"learning_rate": 1e-3, "weight_decay": 1e-2, "hidden": 128}
    rates = [dict(r.settings)["learning_rate"] for r in tried]
    closest = min(rates, key=lambda rate: abs(np.log10(rate / 1e-2)))
    (used,) = {r.settings for r in of_phase(finished, "search", "confirm")}
    assert dict(used)["learning_rate"] == closest > 5e-3


def test_the_sampler_learns_from_what_was_tried():
    def tried(sampler):
        spec = SPEC.model_copy(
            update={
                "sampler": sampler,
                "nuisance_trials": 20,
                "nuisance_parameters": ("learning_rate",),
            }
        )
        requests = of_phase(run(spec, simulate(lambda _: 0.6, skill))[0], "nuisance")
        rates = [dict(r.settings)["learning_rate"] for r in requests[8:]]
        return float(np.median(np.abs(np.log10(rates) + 2)))

    assert tried("gp") < 0.5 * tried("random")


@pytest.mark.slow
def test_an_align_has_to_beat_the_best_baseline_known():
    """At a high temperature λ > 0 gains, as it seems; λ = 0 does better with a wider network."""

    def better(training, strength):
        if strength == 0:
            return 0.25 if training.hidden == 256 else 0.0
        return 0.0 if training.hidden == 256 else 0.3

    spec = SPEC.model_copy(update={"nuisance": "joint"})
    finished, plan = run(spec, simulate(lambda _: 0.55, better))
    tried = of_phase(finished, "nuisance")
    assert len(tried) == plan.totals["nuisance"] == 24
    assert [r.strength for r in tried[::2]] == [0.0] * 12
    assert all(r.strength > 0 for r in tried[1::2])
    assert "temperature" in dict(tried[0].settings)
    confirmed = {r.strength: dict(r.settings)["hidden"] for r in of_phase(finished, "confirm")}
    assert confirmed.pop(0.0) == 256
    assert set(confirmed.values()) <= {64, 128}
    (curve,) = {dict(r.settings)["hidden"] for r in of_phase(finished, "search")}
    assert curve in (64, 128)

    result = answer_in_process(spec, DATASET, simulate(lambda _: 0.55, better))
    assert result.nuisance.mode == "joint"
    assert result.nuisance.baseline_settings["hidden"] == 256
    assert result.joint.gain < 0.15  # against .55, the baseline of the curve, it would be .3


def test_settings_that_cannot_be_trained_are_passed_over():
    study = Study.of(SPEC, DATASET)
    plan = Plan(spec=SPEC, validation=study.validation)
    finished = []
    while (requests := plan.next(finished)) and requests[0].phase == "nuisance":
        finished += [FinishedTrial(request=r, outcome=None, reason="planted") for r in requests]
    assert {r.settings for r in requests} == {()}  # as given


@pytest.mark.slow
def test_a_trial_trains_with_its_settings():
    spec = StudySpec(training={"epochs": 2})
    study = Study.of(spec, DATASET)
    request = of_phase(run(SPEC, simulate(lambda _: 0.6))[0], "nuisance")[3]
    ours = train_request(request, study.data, study.training, study.test_rows)
    asked = study.training.model_copy(update=dict(request.settings))
    plain = train_request(
        type(request)(phase="search", number=0, strength=0.0, seeds=request.seeds),
        study.data,
        asked,
        study.test_rows,
    )
    np.testing.assert_array_equal(ours.curves["train_loss_a"], plain.curves["train_loss_a"])
    assert asked.hidden == dict(request.settings)["hidden"]
