import json

import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import simulate
from tuner.analysis.conclusion import conclude
from tuner.models.config import TrainingConfig
from tuner.reporting.figures import plot_curve
from tuner.search.plan import Plan
from tuner.study.result import StudyResult
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SPEC = StudySpec(
    trials=6, batch=6, replicates=3, confirm_replicates=4, training=TrainingConfig(epochs=2)
)
TRAIN = simulate(lambda strength: 0.9 if strength else 0.6)


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return answer_in_process(SPEC, worlds.null(0), TRAIN)


def test_the_answer_has_the_names_that_scripts_rely_on(result):
    told = json.loads(result.model_dump_json())
    assert set(told) >= {
        "study", "name", "status", "dataset", "metric", "information", "joint", "modalities",
        "curve", "cost", "mlflow",
    }  # fmt: skip
    assert set(told["joint"]) >= {"lambda", "interval", "verdict", "gain", "gain_interval"}
    assert set(told["modalities"]["a"]) >= {"lambda", "interval", "verdict", "validation", "test"}
    assert set(told["curve"][0]) >= {"lambda", "replicates", "a", "b", "joint", "similarity"}
    assert set(told["cost"]) == {
        "trials", "trainings", "gradient_steps", "training_seconds", "wall_seconds",
    }  # fmt: skip


def test_the_answer_survives_json(result):
    assert StudyResult.model_validate_json(result.model_dump_json()) == result


def test_the_curve_opens_as_a_table(result):
    table = result.frame()
    assert list(table["lambda"]) == sorted(table["lambda"])
    assert {"a_mean", "b_sem", "joint_mean"} <= set(table.columns)
    assert len(table) == 6


def test_the_curve_plots_itself(result, tmp_path):
    figure = plot_curve(result)
    figure.savefig(tmp_path / "curve.png")
    table = result.frame()
    for axis, target in zip(figure.axes, ("a", "b", "joint"), strict=True):
        (measured,) = (c for c in axis.containers if c.get_label() == "mean ± standard error")
        assert list(measured.lines[0].get_ydata()) == list(table[f"{target}_mean"])


def test_gain_is_the_difference_of_fresh_scores_on_test_rows(result):
    for side in (result.modalities.a, result.modalities.b):
        assert side.test.gain == pytest.approx(side.test.best - side.test.baseline)
        assert side.test.gain_interval[0] < side.test.gain < side.test.gain_interval[1]


def test_a_best_strength_at_the_end_of_the_range_says_that_the_best_may_lie_beyond():
    beyond = "The best may lie beyond λ_max = 4 (--max-lambda)."
    rising = answer_in_process(SPEC, worlds.null(0), simulate(lambda λ: 0.6 + 0.08 * λ))
    assert rising.joint.strength == 4
    assert beyond in rising.joint.evidence
    interior = answer_in_process(SPEC, worlds.null(0), simulate(lambda λ: 0.9 - (λ - 1) ** 2 / 30))
    assert 0 < interior.joint.strength < 4
    assert beyond not in interior.joint.evidence


@pytest.mark.parametrize(
    ("joint", "own", "registered"),
    [
        ({}, {"verdict": "undecided", "strength": 0.0}, 0.7),
        ({}, {"verdict": "do not align", "reason": "no gain worth having", "strength": 0.0}, 0.7),
        ({}, {"verdict": "do not align", "reason": "harm shown", "strength": 0.0}, 0.0),
        ({}, {"verdict": "align", "strength": 0.9, "interval": (0.3, 2.0)}, 0.7),
        ({}, {"verdict": "align", "strength": 2.0, "interval": (0.8, 4.0)}, 2.0),
        ({"verdict": "undecided", "strength": 0.0}, {"verdict": "align", "strength": 2.0}, 2.0),
        (
            {"verdict": "do not align", "strength": 0.0},
            {"verdict": "undecided", "strength": 0.0},
            0,
        ),
    ],
)
def test_the_registered_pair_follows_the_joint_answer(result, joint, own, registered):
    aligned = {"verdict": "align", "strength": 0.7, "interval": (0.3, 2.0)}
    modalities = result.modalities
    a = modalities.a.model_copy(update={"reason": "gain confirmed"} | own)
    told = result.model_copy(
        update={
            "joint": result.joint.model_copy(update=aligned | joint),
            "modalities": modalities.model_copy(update={"a": a}),
        }
    )
    assert told.registered_strength("a") == registered


@pytest.mark.slow
def test_seeds_that_are_added_change_nothing_but_what_they_tell():
    train = simulate(lambda strength: 0.72 if strength else 0.7)
    before = answer_in_process(SPEC, worlds.null(0), train)
    after = answer_in_process(SPEC.extended(12), worlds.null(0), train)
    once = answer_in_process(
        SPEC.model_copy(update={"confirm_replicates": 12}), worlds.null(0), train
    )
    assert after.extends == before.study
    assert once.extends is None
    assert after.curve == before.curve == once.curve
    assert after.joint.candidate == before.joint.candidate
    assert after.joint.gain == once.joint.gain != before.joint.gain
    (low, high), (lower, higher) = once.joint.gain_interval, after.joint.gain_interval
    assert 1.1 < (higher - lower) / (high - low) < 1.4
    assert "Looked at 2 times, with 4, 12 seeds" in after.joint.evidence
    assert after.cost.trainings == once.cost.trainings


@pytest.mark.slow
def test_a_metric_to_be_minimised_gains_by_falling():
    training = TrainingConfig(hidden=8, embedding=4, projection_width=4, epochs=3, batch_size=64)
    spec = SPEC.model_copy(update={"training": training, "confirm_replicates": 6})
    told = answer_in_process(spec, worlds.regression(0))
    assert told.metric.direction == "minimize"
    side = told.modalities.a
    assert side.test.gain == pytest.approx(side.test.baseline - side.test.best)
    raw = told.frame().set_index("lambda")["joint_mean"]
    assert raw.min() > 0  # errors are shown as such, not negated


def test_a_candidate_that_cannot_be_trained_again_is_no_align():
    study = Study.of(SPEC, worlds.null(0))
    plan = Plan(spec=SPEC, validation=study.validation)
    finished: list[FinishedTrial] = []
    while requests := plan.next(finished):
        for request in requests:
            if request.phase == "confirm" and request.strength > 0:
                finished.append(FinishedTrial(request=request, outcome=None, reason="planted"))
                continue
            outcome = TRAIN(request, study.data, study.training, study.test_rows)
            finished.append(FinishedTrial(request=request, outcome=outcome))
    told = conclude(
        study,
        plan.choices(finished),
        finished,
        settings=plan.settings(finished),
        baseline_settings=plan.baseline_settings(finished),
        wall_seconds=1.0,
    )
    assert told.joint.verdict == "undecided"
    assert "could not be trained again: planted" in told.joint.evidence
    assert told.joint.gain is None
    assert told.joint.strength == 0
    assert {failure.reason for failure in told.failures} == {"planted"}
