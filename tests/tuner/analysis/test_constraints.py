"""Bounds on what a λ may cost: which λs keep them, and answers that keep to those."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.scripted import answer
from tests.support.simulated import simulate
from tests.support.worlds import null
from tuner.analysis.conclusion import conclude
from tuner.analysis.constraints import admitted, bound_kept
from tuner.analysis.decision import grid
from tuner.models.outcome import TrainingOutcome
from tuner.reporting.scripts import write_script_report
from tuner.scripts.reported import Reported
from tuner.search.plan import Plan
from tuner.search.sampler import propose_strengths
from tuner.study.scoring.constraints import Constraint
from tuner.study.scripts.scores import RowScorer
from tuner.study.scripts.spec import ScriptSpec, TargetSpec
from tuner.study.space import LambdaSpace
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SPACE = LambdaSpace(maximum=4.0)
TARGETS = ("gain", "cost")


@pytest.mark.parametrize(
    ("text", "expected", "kept"),
    [
        ("acc >= baseline - .01", Constraint("acc", True, 0.01), "acc >= baseline - 0.01"),
        (" acc>=baseline-1e-2 ", Constraint("acc", True, 0.01), "acc >= baseline - 0.01"),
        ("recall@5 ≥ baseline", Constraint("recall@5", True, 0.0), "recall@5 >= baseline"),
        ("mae <= baseline + 2", Constraint("mae", False, 2.0), "mae <= baseline + 2"),
    ],
)
def test_bounds_are_written_so(text, expected, kept):
    assert Constraint.parse(text) == expected
    assert str(expected) == kept
    assert Constraint.parse(kept) == expected
    assert ScriptSpec(subject_to=text).subject_to == (kept,)


@pytest.mark.parametrize(
    ("make", "text", "words"),
    [
        (ScriptSpec, "acc > baseline", "is no bound: write 'TARGET >= baseline - .01'"),
        (ScriptSpec, "acc >= .8", "is no bound"),
        (ScriptSpec, "acc >= baseline + .1", "λ = 0 itself would not satisfy it"),
        (ScriptSpec, "acc >= baseline - 1e999", "is too large"),
        (ScriptSpec, "mae <= baseline - .1", r"Write >= baseline - 0.1, or <= baseline \+ 0.1"),
        (StudySpec, "acc >= baseline", "there are a, b and joint"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(make, text, words):
    with pytest.raises(ValueError, match=words):
        make(subject_to=(text,))


@pytest.mark.parametrize("bounds", [[{}], [["b >= baseline"]], [None], [1], {"b": 1}, 5])
def test_what_is_no_text_is_no_bound(bounds):
    for spec in (StudySpec, ScriptSpec):
        with pytest.raises(ValidationError, match="subject_to"):
            spec(subject_to=bounds)


def test_a_bound_is_of_a_target_that_is_named():
    with pytest.raises(ValueError, match="name cost as a target, too"):
        ScriptSpec(target=("gain",), subject_to=("cost >= baseline",))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_is_what_is_left_of_the_slack(sign):
    moved = -0.02  # of the score, whichever way is better
    gain = sign * moved
    assert Constraint("t", True, 0.05).margin(gain, sign) == pytest.approx(0.03)
    assert Constraint("t", True, 0.01).margin(gain, sign) == pytest.approx(-0.01)
    assert Constraint("t", False, 0.0).margin(gain, sign) == pytest.approx(0.02)


def _outcome(strength, **scores):
    rows = {name: np.tile(score, (3, 40)) for name, score in scores.items()}
    rows = {name: each + np.array([[0.0], [1e-4], [-1e-4]]) for name, each in rows.items()}
    return TrainingOutcome(
        strength=strength,
        seeds=np.arange(3),
        predictions=rows,
        test_predictions=None,
        best_epoch={},
        curves={},
        similarity={},
        steps=0,
        seconds=0.0,
        weights=None,
    )


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_where_nothing_is_uncertain_the_admitted_are_those_that_keep_the_bound(direction):
    """A score that falls by .04 from λ = 0 to 4, evenly in u, and may fall by .02: to u = 1/2."""
    scorer = RowScorer(specs=(TargetSpec(name="cost", direction=direction),), stream=0)
    lambdas = SPACE.to_lambda(np.linspace(0, 1, 9))
    seen = [_outcome(float(s), cost=2 - 0.04 * SPACE.to_unit(s)) for s in lambdas]
    spec = ScriptSpec(subject_to="cost >= baseline - .02")
    likely = admitted(spec, scorer, seen).tried
    units = grid(SPACE)[0]
    sure = np.abs(units - 0.5) > 0.03
    assert np.array_equal(likely[sure], units[sure] < 0.5)


def test_where_no_strength_keeps_it_the_likeliest_is_named():
    scorer = RowScorer(specs=(TargetSpec.of("cost"),), stream=0)
    units = np.linspace(0, 1, 9)
    costs = np.where(units > 0, 0.1 + (units - 0.6) ** 2, 0.0)
    seen = [
        _outcome(float(SPACE.to_lambda(u)), cost=1 - c) for u, c in zip(units, costs, strict=True)
    ]
    found = admitted(ScriptSpec(subject_to="cost >= baseline - .01"), scorer, seen)
    assert not found.is_any
    assert found.tried.sum() == 2
    assert grid(SPACE)[0][found.tried] == pytest.approx([0, 0.6], abs=0.1)


@pytest.mark.slow
def test_the_sampler_looks_where_the_bound_is_kept():
    finished = [(float(s), float(SPACE.to_unit(s))) for s in SPACE.to_lambda(np.linspace(0, 1, 7))]
    violations = {"b": [SPACE.to_unit(s) - 0.4 for s, _ in finished]}
    for sampler in ("gp", "tpe"):
        free = propose_strengths(sampler, finished, [], 3, SPACE, seed=(1,))
        bound = propose_strengths(sampler, finished, [], 3, SPACE, seed=(1,), violations=violations)
        assert (
            np.median(SPACE.to_unit(np.array(bound)))
            < 0.55
            < np.median(SPACE.to_unit(np.array(free)))
        )


def test_the_probability_of_a_violation_is_that_of_a_normal_error():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(1, 500))
    treated, baseline = ({"t": rows + rng.normal(size=(40, 500)) + shift} for shift in (-0.02, 0.0))
    scorer = RowScorer(specs=(TargetSpec.of("t"),), stream=0)
    told = bound_kept(Constraint("t", True, 0.02), scorer, treated, baseline, 0.05)
    change = treated["t"].mean() - baseline["t"].mean()
    assert told.change == pytest.approx(change)
    assert told.interval[0] < change < told.interval[1]
    assert (told.violated > 0.5) == (change < -0.02)
    loose = bound_kept(Constraint("t", True, 0.2), scorer, treated, baseline, 0.05)
    assert loose.violated < 1e-6


def trade(gain, cost):
    """Return what reports two rates along λ, of rows that are nearly as lucky at every λ."""

    def report(request):
        def told(stream):
            luck = np.random.default_rng([*request.seeds, stream]).random((2, 900))
            levels = (gain(request.strength), cost(request.strength))
            return {n: (luck[k] < levels[k]) * 1.0 for k, n in enumerate(TARGETS)}

        return Reported(scores=told(0), test_scores=told(1) if request.phase == "confirm" else None)

    return report


DESIGN = {"trials": 7, "replicates": 3, "confirm_replicates": 6, "seed": 2, "target": TARGETS}


@pytest.mark.slow
def test_the_strength_that_is_recommended_keeps_the_bound():
    report = trade(lambda s: 0.6 + 0.05 * s, lambda s: 0.8 - 0.04 * s)
    free, _ = answer(ScriptSpec(**DESIGN), report)
    bound, _ = answer(ScriptSpec(**DESIGN, subject_to="cost >= baseline - .05"), report)
    assert free.answer.strength > 3
    assert free.answer.bounds == ()
    assert bound.answer.verdict == "align"
    assert 0.4 < bound.answer.strength < 1.6  # 1.25 keeps it just so
    (told,) = bound.answer.bounds
    assert told.is_kept
    assert told.change > -0.05
    assert "Subject to cost >= baseline - 0.05: it is kept" in bound.answer.evidence


@pytest.mark.slow
def test_encoders_keep_to_a_bound_too():
    """A gains and B loses as λ rises: without the bound both would be weighed alike."""
    spec = StudySpec(trials=7, replicates=3, confirm_replicates=6, seed=2, smallest_gain=0.01)
    bound = spec.model_copy(update={"subject_to": ("b >= baseline - 0.05",)})
    free, kept = (_of_encoders(each) for each in (spec, bound))
    assert free.joint.strength > 3
    assert free.joint.bounds == ()
    assert kept.joint.verdict == "align"
    assert 0.4 < kept.joint.strength < 1.6  # 1.25 keeps it just so
    assert kept.joint.bounds[0].is_kept
    assert kept.modalities.a.strength == kept.joint.strength
    assert type(kept).model_validate_json(kept.model_dump_json()) == kept


def _of_encoders(spec):
    study, sides = Study.of(spec, null(1, rows=2000)), {}
    sides = {"a": simulate(lambda s: 0.5 + 0.1 * s), "b": simulate(lambda s: 0.8 - 0.04 * s)}
    plan, finished = Plan.of(study), []

    def train(request):
        a, b = (sides[side](request, study.data, study.training, study.test_rows) for side in "ab")
        told = a.predictions | {"b": b.predictions["b"]}
        tested = a.test_predictions and a.test_predictions | {"b": b.test_predictions["b"]}
        return replace(a, predictions=told, test_predictions=tested)

    while requests := plan.next(finished):
        finished += [FinishedTrial(request=r, outcome=train(r)) for r in requests]
    choices = plan.choices(finished)
    ways = {"settings": (), "baseline_settings": (), "wall_seconds": 0.0}
    return conclude(study, choices, finished, **ways)


@pytest.mark.slow
def test_what_no_strength_keeps_is_said_and_none_is_recommended(tmp_path):
    report = trade(lambda s: 0.6 + 0.05 * s, lambda s: 0.8 - 0.1 * (s > 0))
    result, _ = answer(ScriptSpec(**DESIGN, subject_to="cost >= baseline - .02"), report)
    assert (result.answer.verdict, result.answer.reason) == ("do not align", "bound violated")
    assert result.answer.strength == 0
    assert "does not keep cost >= baseline - 0.02" in result.headline
    assert "no λ above 0 is likely to keep" in result.answer.evidence
    assert result.answer.bounds[0].violated > 0.99
    page = write_script_report(result, tmp_path).read_text()
    assert "it is violated, with probability" in page


@pytest.mark.slow
def test_a_bound_that_only_test_rows_show_violated_is_not_overlooked():
    def report(request):
        search = request.phase == "search"
        cost = (lambda _: 0.8) if search else (lambda s: 0.8 - 0.1 * (s > 0))
        return trade(lambda s: 0.6 + 0.05 * s, cost)(request)

    result, _ = answer(ScriptSpec(**DESIGN, subject_to="cost >= baseline - .02"), report)
    assert (result.answer.verdict, result.answer.reason) == ("do not align", "bound violated")
    assert "is not recommended, whatever it gains" in result.answer.evidence
    low, high = result.answer.interval
    assert low == 0 < high


@pytest.mark.slow
def test_an_answer_without_bounds_is_written_as_it_was():
    result, _ = answer(ScriptSpec(**DESIGN), trade(lambda s: 0.6 + 0.05 * s, lambda _: 0.8))
    assert "bounds" not in result.model_dump_json()
    for spec in (ScriptSpec(), StudySpec()):
        assert "subject_to" not in spec.model_dump(mode="json")
