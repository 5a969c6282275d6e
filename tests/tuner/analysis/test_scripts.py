"""Answers about training code: those of the built-in pipeline on the same numbers."""

import html
from dataclasses import replace

import numpy as np
import pytest

from tests.support.scripted import SCRIPT, answer, reporting, train
from tests.support.simulated import simulate
from tests.support.worlds import null
from tuner.analysis.conclusion import conclude
from tuner.errors import StudyFailedError
from tuner.scripts.reported import Reported
from tuner.search.plan import Plan
from tuner.study.budget import Budget
from tuner.study.scripts.spec import ScriptSpec, TargetSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

DESIGN = {"trials": 6, "replicates": 2, "confirm_replicates": 4, "batch": 4, "seed": 3}
DATASET = replace(null(1, rows=900), has_own_split=True)  # as a script's rows are: no folds
CURVES = {
    "helps": lambda s: 0.6 + 0.3 * np.exp(-((s - 0.5) ** 2)),
    "harms": lambda s: 0.8 - 0.1 * s,
    "nothing": lambda _: 0.7,
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_the_same_numbers_have_the_answer_of_the_built_in_pipeline(curve):
    study = Study.of(StudySpec(**DESIGN), DATASET)
    builtin = simulate(curve)
    plan, finished = Plan(spec=study.spec, validation=study.validation), []

    def outcome(request):
        return builtin(request, study.data, study.training, study.test_rows)

    while requests := plan.next(finished):
        finished += [FinishedTrial(request=r, outcome=outcome(r)) for r in requests]
    expected = conclude(
        study,
        plan.choices(finished),
        finished,
        settings=(),
        baseline_settings=(),
        wall_seconds=0.0,
    )

    def report(request):  # of the same predictions, whether each is right
        told = outcome(request)
        right = {s: (p[0] == study.validation.truth) * 1.0 for s, p in told.predictions.items()}
        tested = told.test_predictions and {
            side: (p[0] == study.test.truth) * 1.0 for side, p in told.test_predictions.items()
        }
        return Reported(scores=right, test_scores=tested)

    result, _ = answer(ScriptSpec(**DESIGN, target=("joint=a+b", "a", "b")), report)
    ours = {target: told.model_dump(mode="json") for target, told in result.targets.items()}
    for target, theirs in expected.answers.items():
        told = theirs.model_dump(mode="json")
        same = set(told) - {"gain", "gain_interval", "model"}
        assert {n: ours[target][n] for n in same} == {n: told[n] for n in same}
        assert result.targets[target].tested == theirs.tested
    assert [point.strength for point in result.curve] == [p.strength for p in expected.curve]


def test_an_answer_is_the_same_with_more_workers_in_any_order():
    spec = ScriptSpec(trials=6, batch=3, replicates=3, seed=1)
    report = reporting(CURVES["helps"], noise=0.01)
    result, finished = answer(spec, report)
    assert result.answer.verdict == "align"
    assert len(finished) == 6 * 3 + 2 * 3
    for workers, luck in ((2, 1), (3, 2), (8, 3)):
        other, _ = answer(spec, report, workers=workers, luck=luck)
        assert other == result


def test_a_training_that_fails_takes_its_strength_along_and_no_other():
    report = reporting(CURVES["helps"])

    def failing(request):
        return "exit code 1" if request.strength == 4.0 else report(request)

    result, finished = answer(ScriptSpec(trials=5), failing, workers=2)
    (failure,) = result.failures
    assert failure.strength == 4.0
    assert failure.reason.startswith("seed ")
    assert failure.reason.endswith(": exit code 1")
    assert 4.0 not in [point.strength for point in result.curve]
    assert result.cost.trainings == len([t for t in finished if t.outcome is not None])


def test_a_baseline_that_fails_ends_the_study_at_once():
    with pytest.raises(StudyFailedError, match=r"baseline .* exit code 3"):
        answer(ScriptSpec(), lambda _: "exit code 3")


def test_a_training_that_scores_other_rows_is_no_evidence():
    report, fewer = reporting(CURVES["helps"]), reporting(CURVES["helps"], rows=300)

    def changing(request):
        return (fewer if request.strength == 4.0 else report)(request)

    result, _ = answer(ScriptSpec(), changing)
    assert "it scored other validation rows than λ = 0" in result.failures[0].reason
    assert "(300 rows, not 400 rows)" in result.failures[0].reason


def test_a_training_that_scores_rows_of_other_ids_is_none_either():
    def report(request):
        ids = np.arange(400) + (request.strength == 4.0)
        return reporting(CURVES["helps"], row_ids=ids)(request)

    result, _ = answer(ScriptSpec(), report)
    assert [failure.strength for failure in result.failures] == [4.0]


def test_targets_that_are_not_reported_are_named():
    with pytest.raises(StudyFailedError, match=r"reports acc, and not f1: .*--target acc"):
        answer(ScriptSpec(target=("f1",)), reporting(CURVES["helps"]))


def test_an_error_is_better_when_it_is_less():
    def report(request):
        told = reporting(CURVES["helps"])(request)
        wrong = {"error": 1 - told.scores["acc"]}
        tested = told.test_scores and {"error": 1 - told.test_scores["acc"]}
        return Reported(scores=wrong, test_scores=tested)

    result, _ = answer(ScriptSpec(smallest_gain=0.01), report)
    turned, _ = answer(ScriptSpec(smallest_gain=0.01), reporting(CURVES["helps"]))
    assert result.targets["error"].direction == "minimize"
    assert result.answer.tested[0] == pytest.approx(turned.answer.tested[0])
    assert result.answer.strength == turned.answer.strength
    assert "error falls by" in result.headline


def counted(score, counts):
    def report(request):
        rng = np.random.default_rng(request.seeds)
        told = np.array([score(request.strength) + 0.001 * rng.standard_normal()])
        test = {"acc": told} if request.phase == "confirm" else None
        return Reported(scores={"acc": told}, test_scores=test, counts=counts, test_counts=counts)

    return report


def test_a_rate_with_a_count_has_binomial_errors():
    result, _ = answer(ScriptSpec(), counted(lambda s: 0.6 + 0.05 * s, {"acc": 1000}))
    low, high = result.answer.tested[1]
    p, q = 0.6 + 0.05 * result.answer.candidate, 0.6
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / 1000)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.25)
    assert result.answer.rows == 1000


@pytest.mark.slow
def test_more_rows_than_are_resampled_have_the_error_of_all_of_them():
    result, _ = answer(ScriptSpec(), counted(lambda s: 0.6 + 0.001 * s, {"acc": 10**6}))
    low, high = result.answer.tested[1]
    assert (high - low) / 2 < 4 * np.sqrt(2 * 0.24 / 10**6) + 0.003  # and that of seeds


def test_a_number_without_a_count_holds_for_these_rows():
    report = counted(lambda s: 60 + 20 * s / (1 + s), {"acc": 1})
    result, _ = answer(ScriptSpec(), report)
    assert result.answer.verdict == "align"
    assert "for these evaluation rows" in result.answer.evidence
    assert "on these evaluation rows" in result.headline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acc", TargetSpec(name="acc", direction="maximize")),
        ("val_loss", TargetSpec(name="val_loss", direction="minimize")),
        ("energy:minimize", TargetSpec(name="energy", direction="minimize")),
        ("loss:maximize", TargetSpec(name="loss", direction="maximize")),
        ("joint=a+b", TargetSpec(name="joint", direction="maximize", parts=("a", "b"))),
    ],
)
def test_targets_are_written_so(text, expected):
    assert TargetSpec.parse(text) == expected


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("acc:up",), "is no target"),
        (("acc", "acc"), "named twice"),
        (("joint=a+b", "a"), "name b as a target, too"),
        (("joint=a+b", "a", "b:minimize"), "not better in the same direction"),
    ],
)
def test_targets_that_make_no_sense_are_refused(targets, words):
    with pytest.raises(ValueError, match=words):
        ScriptSpec(target=targets)


def test_ranks_are_no_part_of_a_question_that_does_not_ask_for_them():
    assert "ranks" not in ScriptSpec().model_dump_json()
    assert ScriptSpec(ranks=2).study_id(SCRIPT) != ScriptSpec().study_id(SCRIPT)
    with pytest.raises(ValueError, match="whole number"):
        ScriptSpec(gpus=1.5)


def test_a_spec_that_is_read_again_is_the_same():
    spec = ScriptSpec(target=("joint=a+b", "a", "b"), trials=5, smallest_gain=0.02)
    assert ScriptSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_training_is_stored_and_read_as_it_was():
    report = reporting(CURVES["helps"], curves={"validation_loss": np.array([2.0, 1.0])})
    _, finished = answer(ScriptSpec(), report)
    outcome = finished[0].outcome
    again = type(outcome).from_bytes(outcome.to_bytes())
    assert np.array_equal(again.predictions["acc"], outcome.predictions["acc"])
    assert np.array_equal(again.curves["validation_loss"], [[2.0, 1.0]])
    assert again.environment == outcome.environment
    assert train(finished[0].request, report).outcome.predictions.keys() == {"acc"}


def test_seeds_that_are_added_go_on_from_those_there_are():
    report = reporting(CURVES["nothing"], noise=0.01)
    spec = ScriptSpec(trials=4, confirm_replicates=3)
    longer = spec.extended(9)
    (shorter,) = longer.shorter
    assert shorter == spec
    _, first = answer(spec, report)
    result, finished = answer(longer, report, workers=2)
    trained = {(t.request.phase, t.request.number, t.request.seeds) for t in finished}
    assert {(t.request.phase, t.request.number, t.request.seeds) for t in first} <= trained
    assert len(finished) == len(first) + 2 * 6
    assert "Looked at 2 times, with 3, 9 seeds" in result.answer.evidence


HALVING = ScriptSpec(trials=12, batch=6, halving=3, seed=2)


def test_halving_drops_what_scores_worst_after_a_share_of_a_training():
    """After a ninth of a training λ = 2 looks best, later .5: what is dropped stays dropped."""
    whole, ninth = (
        reporting(CURVES["helps"]),
        reporting(lambda s: 0.6 + 0.3 * np.exp(-((s - 2) ** 2))),
    )

    def report(request):
        return (ninth if HALVING.share_of(request.phase, request.number) < 0.2 else whole)(request)

    result, finished = answer(HALVING, report)
    trained = {}
    for trial in finished:
        share = HALVING.share_of(trial.request.phase, trial.request.number)
        trained.setdefault((trial.request.phase == "confirm", share), []).append(trial.request)
    rungs = [trained[False, share] for share in (1 / 9, 1 / 3, 1.0)]
    assert [len({r.strength for r in rung}) for rung in rungs] == [12, 4, 4]
    assert all(len(rung) == 2 * len({r.strength for r in rung}) for rung in rungs)
    tried = sorted({r.strength for r in rungs[0]} - {0.0}, key=lambda s: abs(s - 2))
    assert {r.strength for r in rungs[1]} == {0.0, *tried[:3]}
    assert [point.strength for point in result.curve] == sorted({0.0, *tried[:3]})
    assert {one.strength for one in result.stopped} == set(tried[3:])
    assert {one.share for one in result.stopped} == {1 / 9}
    assert len(trained[True, 1.0]) == 2 * 3
    for workers, luck in ((2, 1), (5, 2)):
        assert answer(HALVING, report, workers=workers, luck=luck)[0] == result


def test_the_baseline_that_fails_in_a_rung_ends_the_study():
    with pytest.raises(StudyFailedError, match=r"baseline .* exit code 3"):
        answer(HALVING, lambda _: "exit code 3")


@pytest.mark.parametrize(("part", "warns"), [(60.0, True), (9.0, False)])
def test_code_that_takes_no_notice_of_its_share_is_told(part, warns):
    report = reporting(CURVES["helps"])

    def timed(request):
        is_part = HALVING.share_of(request.phase, request.number) == 1 / 9
        return replace(report(request), seconds=part if is_part else 62.0)

    result, _ = answer(HALVING, timed)
    said = [words for words in result.warnings if words.startswith("Halving saved no time")]
    assert bool(said) == warns
    assert not warns or "a share of 1/9 took 60 s, a whole training 62 s" in said[0]


def test_a_study_with_a_time_budget_is_another_one_and_so_are_those_it_goes_on_from():
    spec = ScriptSpec(trials=4, confirm_replicates=3)
    study, hour = ScriptStudy.of(spec.extended(9), SCRIPT), Budget(seconds=3600.0)
    bounded = study.within(hour)
    assert study.within(Budget()) == study
    assert len({study.id, bounded.id, study.within(Budget(seconds=60.0)).id}) == 3
    assert bounded.shorter == (ScriptStudy.of(spec, SCRIPT).within(hour).id,)


def test_a_notebook_shows_the_sentence_and_a_line_for_each_target():
    result, _ = answer(ScriptSpec(), reporting(CURVES["helps"]))
    page = result._repr_html_()
    assert html.escape(result.headline) in page
    assert page.count("<tr>") == 2
    assert f"<td>{result.answer.verdict}</td>" in page
