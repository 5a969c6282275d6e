"""Scores of training code that are no means of rows, and rows that are of groups."""

import numpy as np
import pytest
from sklearn import metrics

from tests.support.scripted import answer
from tuner.analysis.gains.gain import measured_gain
from tuner.errors import StudyFailedError
from tuner.scripts.reported import Reported
from tuner.study.scripts import scores as scoring
from tuner.study.scripts.functionals import Functional
from tuner.study.scripts.scores import RowScorer
from tuner.study.scripts.spec import ScriptSpec, TargetSpec

RNG = np.random.default_rng(5)
TRUTH = np.repeat([0, 1, 2], [200, 80, 20]).astype(float)
GUESS = np.where(RNG.random((2, 300)) < 0.7, TRUTH, RNG.integers(3, size=(2, 300)))
VALUES = RNG.normal(size=300)
TOLD = {
    "truth": np.tile(TRUTH, (2, 1)),
    "guess": GUESS,
    "y": np.tile(VALUES, (2, 1)),
    "y_hat": VALUES + RNG.normal(size=(2, 300)),
    "rank": RNG.integers(1, 20, size=(2, 300)).astype(float),
}
ORACLES = {
    "accuracy(truth, guess)": lambda r: metrics.accuracy_score(TRUTH, GUESS[r]),
    "balanced_accuracy(truth, guess)": lambda r: metrics.balanced_accuracy_score(TRUTH, GUESS[r]),
    "macro_f1(truth, guess)": lambda r: metrics.f1_score(TRUTH, GUESS[r], average="macro"),
    "r2(y, y_hat)": lambda r: metrics.r2_score(VALUES, TOLD["y_hat"][r]),
    "mae(y, y_hat)": lambda r: metrics.mean_absolute_error(VALUES, TOLD["y_hat"][r]),
    "recall@5(rank)": lambda r: np.mean([rank in (1, 2, 3, 4, 5) for rank in TOLD["rank"][r]]),
}


def scorer(*targets: str) -> RowScorer:
    return RowScorer(specs=tuple(map(TargetSpec.parse, targets)), stream=7)


@pytest.mark.parametrize(("text", "oracle"), ORACLES.items(), ids=ORACLES)
def test_scores_are_those_of_scikit_learn(text, oracle):
    scores = scorer(f"score={text}").scores(TOLD, "score")
    assert scores == pytest.approx([oracle(0), oracle(1)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "bacc=balanced_accuracy(truth,guess)",
            {"name": "bacc", "direction": "maximize", "measure": "balanced_accuracy(truth, guess)"},
        ),
        ("mae(y, p)", {"name": "mae", "direction": "minimize", "measure": "mae(y, p)"}),
        (
            "recall@5(rank):minimize",
            {"name": "recall@5", "direction": "minimize", "measure": "recall@5(rank)"},
        ),
        ("joint=mean(a, b)", {"name": "joint", "direction": "maximize", "parts": ("a", "b")}),
    ],
)
def test_targets_are_written_so(text, expected):
    target = TargetSpec.parse(text)
    assert target == TargetSpec(**expected)
    assert TargetSpec.model_validate(target.model_dump(mode="json")) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x=auc(truth, p)", "'auc' is no score of rows: write one of accuracy, .*recall@K"),
        ("x=r2(p)", r"it is written r2\(TRUTH, PREDICTION\)"),
        ("x=recall@3(a, b)", r"it is written recall@3\(RANK\)"),
        ("x=recall@0(a)", "is no score of rows"),
        ("x=r2(a, b", "is no formula"),
        ("x=r2(a, b)+c", "is no formula"),
    ],
)
def test_formulas_that_make_no_sense_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        TargetSpec.parse(text)


def test_a_spec_without_functionals_is_written_as_it_was():
    written = ScriptSpec(target=("joint=a+b", "a", "b")).model_dump(mode="json")["target"]
    assert [set(target) for target in written] == [{"name", "direction", "parts"}] * 3


def test_the_mean_of_two_functionals_is_theirs():
    both = scorer("joint=b+r", "b=balanced_accuracy(truth, guess)", "r=recall@5(rank)")
    parts = [both.scores(TOLD, name) for name in "br"]
    assert both.scores(TOLD, "joint") == pytest.approx(np.mean(parts, axis=0))
    resampled = [both.resampled(TOLD, name) for name in "br"]
    assert both.resampled(TOLD, "joint") == pytest.approx(np.mean(resampled, axis=0))
    assert both.in_one_unit
    assert both.resolution(TOLD, "joint") == pytest.approx(1 / 300)


def test_very_many_rows_are_resampled_in_blocks_that_vary_as_much(monkeypatch):
    whole = scorer("b=balanced_accuracy(truth, guess)")
    exact = whole.resampled(TOLD, "b")
    monkeypatch.setattr(scoring, "_MOST", 150)
    monkeypatch.setattr(scoring, "_AT_ONCE", 900)
    blocks = scorer("b=balanced_accuracy(truth, guess)").resampled(TOLD, "b")
    assert blocks.std() == pytest.approx(exact.std(), rel=0.25)
    assert blocks.mean() == pytest.approx(exact.mean(), abs=0.01)


def _gains(name: str, studies: int) -> tuple[float, float]:
    """How often the interval of a gain holds the true one, and its mean half width over the sd."""
    arrays = {"b": ("balanced_accuracy(truth, guess)", _classes), "r": ("r2(truth, guess)", _lines)}
    text, draw = arrays[name]
    rng, target = np.random.default_rng(11), scorer(f"t={text}")
    treated, baseline = draw(rng, 400_000)
    true = (target.scores(treated, "t") - target.scores(baseline, "t")).mean()
    gains = [_gain(target, *draw(rng, 300)) for _ in range(studies)]
    held = np.mean([gain.low <= true <= gain.high for gain in gains])
    half = np.mean([gain.high - gain.low for gain in gains]) / 2
    return float(held), float(half / np.std([gain.value for gain in gains]))


def _gain(target, treated, baseline):
    return measured_gain(target, treated, baseline, "t")


def _classes(rng, rows):
    """Three classes, of which one is rare; λ helps the rare one; rows are luckier than others."""
    truth = rng.choice(3, p=(0.7, 0.22, 0.08), size=rows)
    luck = rng.random((1, rows)) + 0.1 * rng.random((4, rows))
    right = [(luck < 0.75 + shift * (truth == 2)) for shift in (0.15, 0.0)]
    truths = np.tile(truth, (4, 1)).astype(float)
    return [{"truth": truths, "guess": np.where(r, truth, (truth + 1) % 3) * 1.0} for r in right]


def _lines(rng, rows):
    y = rng.normal(size=rows) ** 2  # skew, so that R² is no mean
    shared = rng.normal(size=rows)
    noises = [scale * (shared + 0.3 * rng.normal(size=(4, rows))) for scale in (0.7, 0.8)]
    return [{"truth": np.tile(y, (4, 1)), "guess": y + noise} for noise in noises]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b", "r"])
def test_intervals_of_gains_hold_the_truth_as_often_as_they_say(name):
    held, width = _gains(name, studies=100)
    assert held >= 0.9  # 95 % but for luck, of which 3.5 standard deviations are .06
    assert 1.5 < width < 2.6  # and are no wider than that asks for


@pytest.mark.slow
def test_intervals_over_groups_hold_the_truth_where_those_over_rows_do_not():
    rng, target = np.random.default_rng(2), scorer("t=recall@1(rank)")
    held = {True: 0, False: 0}
    for _ in range(60):
        group = np.repeat(np.arange(30), 20)
        easy = rng.normal(size=(2, 30)) * 0.2
        told = []
        for side in easy:
            hit = rng.random((8, 600)) < (0.5 + side[group])
            told.append({"rank": np.where(hit, 1.0, 2.0)})
        for grouped in held:
            extra = {"group": np.tile(group, (8, 1))} if grouped else {}
            gain = _gain(target, *(each | extra for each in told))
            held[grouped] += gain.low <= 0 <= gain.high
            assert gain.groups == (30 if grouped else None)
    assert held[True] >= 0.88 * 60
    assert held[False] < 0.7 * 60


def test_groups_of_rows_are_jackknifed_by_the_group():
    """Of equal groups the variance of a mean is that of the group means, by the closed form."""
    group = np.repeat(np.arange(12), 25)
    rows = np.random.default_rng(0).normal(size=(1, 300)) + np.random.default_rng(1).normal(
        size=12
    ).repeat(25)
    resampled = scorer("acc").resampled({"acc": rows, "group": group[None]}, "acc")
    means = rows[0].reshape(12, 25).mean(axis=1)
    assert resampled.var(ddof=1) == pytest.approx(means.var(ddof=1) / 12)


def _report(shift=0.0, **wrong):
    def report(request):
        rng = np.random.default_rng(request.seeds)
        truth = np.repeat([0, 1], [320, 80])
        rare = np.where(truth == 1, 0.55 + 0.2 * min(request.strength, 1), 0.8)
        right = rng.random(400) < rare
        told = {"truth": truth + shift, "guess": np.where(right, truth, 1 - truth)}
        told |= {k: v(request) for k, v in wrong.items()}
        scores = {name: np.asarray(rows, dtype=float) for name, rows in told.items()}
        return Reported(scores=scores, test_scores=scores if request.phase == "confirm" else None)

    return report


def test_a_study_goes_by_a_functional():
    spec = ScriptSpec(
        trials=5, replicates=3, confirm_replicates=6, target=("b=balanced_accuracy(truth, guess)",)
    )
    result, _ = answer(spec, _report())
    assert result.main == "b"
    assert result.answer.measure == "balanced_accuracy(truth, guess)"
    assert result.answer.verdict == "align"
    assert result.answer.tested[0] == pytest.approx(0.1, abs=0.06)
    assert result.answer.test.baseline == pytest.approx((0.8 + 0.55) / 2, abs=0.06)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"truth": lambda _: np.zeros(400)}, "all rows of truth are alike"),
        ({"guess": lambda _: np.full(400, 0.3)}, "guess has to hold classes: whole numbers"),
        ({"guess": lambda _: np.zeros(300)}, "as many numbers each"),
    ],
)
def test_what_a_functional_cannot_be_computed_of_ends_the_study(wrong, words):
    spec = ScriptSpec(target=("b=balanced_accuracy(truth, guess)",))
    if "all rows" in words:
        spec = ScriptSpec(target=("b=r2(truth, guess)",))
    with pytest.raises(StudyFailedError, match=words):
        answer(spec, _report(**wrong))


def test_labels_that_change_with_the_strength_are_no_evidence():
    def truth(request):
        return np.repeat([0, 1], [320, 80])[:: -1 if request.strength == 4 else 1]

    spec = ScriptSpec(target=("b=balanced_accuracy(truth, guess)",))
    result, _ = answer(spec, _report(truth=truth))
    (failure,) = result.failures
    assert failure.strength == 4.0
    assert "truth is not what λ = 0 reported" in failure.reason


def test_ranks_begin_with_one():
    told = {"rank": np.array([[0.0, 1, 2]])}
    assert "begin with 1" in Functional("recall@1", ("rank",)).fault(told, told)


def test_what_was_not_reported_is_named():
    spec = ScriptSpec(target=("b=balanced_accuracy(label, guess)",))
    with pytest.raises(StudyFailedError, match=r"reports truth, guess, and not label"):
        answer(spec, _report())


def test_an_answer_over_groups_says_so():
    def report(request):
        told = _report()(request)
        groups = np.array([f"patient {row // 10}" for row in range(400)])
        tested = groups if told.test_scores else None
        scores, test = (
            {"acc": 1.0 * (s["truth"] == s["guess"])} if s else None
            for s in (told.scores, told.test_scores)
        )
        return Reported(scores=scores, test_scores=test, groups=groups, test_groups=tested)

    result, finished = answer(ScriptSpec(), report)
    assert "over 40 groups" in result.answer.evidence
    assert set(result.targets) == {"acc"}
    assert finished[0].outcome.environment["rows"].startswith("400 rows in 40 groups ")
