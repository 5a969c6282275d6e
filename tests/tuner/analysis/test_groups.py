"""Rows of one group are not independent: intervals are over groups, and say of how many."""

import dataclasses

import numpy as np
import pytest

from tests.support import worlds
from tests.support.grouped import both, gains, predictions, scorer
from tests.support.in_process import answer_in_process
from tests.support.simulated import simulate
from tuner.analysis.curves.noise import row_covariance
from tuner.analysis.curves.observations import Observations
from tuner.analysis.decision import choose, decide
from tuner.analysis.gains.gain import Gain, paired_gain
from tuner.data import Split, from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.evaluation.metrics import METRICS
from tuner.models.evaluation.resampling import Grouping
from tuner.reporting.wording import covered, sentence
from tuner.study.result import StudyResult
from tuner.study.scoring.scores import Scorer
from tuner.study.space import LambdaSpace
from tuner.study.spec import StudySpec

SPACE = LambdaSpace()


def false(group, **options):
    """Shares of studies without any gain whose interval lies above 0, by what is resampled."""
    found = gains(group, **options)
    return {name: np.mean([gain.low > 0 for gain in each]) for name, each in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("studies", [200, pytest.param(600, marks=pytest.mark.soak)])
@pytest.mark.parametrize("spread", [0.06, 0.12])
def test_a_gain_of_nothing_is_rarely_found_though_groups_differ(spread, studies):
    """30 groups of 25 rows, 12 seeds: 2.5 % by right."""
    rates = false(np.repeat(np.arange(30), 25), spread=spread, studies=studies)
    assert rates["groups"] <= 0.04
    assert rates["rows"] >= 0.12


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes", [[60] * 5, [60] * 2, [250] + [25] * 9, [5, 10, 20, 20, 30, 40, 80, 160]]
)
@pytest.mark.parametrize("studies", [120, pytest.param(300, marks=pytest.mark.soak)])
def test_nor_is_it_where_groups_are_few_or_unequal(sizes, studies):
    group = np.repeat(np.arange(len(sizes)), sizes)
    rates = false(group, spread=0.12, studies=studies, seed=1)
    assert rates["groups"] <= 0.025 + 3 * np.sqrt(0.025 / studies)
    assert rates["rows"] >= 0.2


@pytest.mark.slow
def test_a_true_gain_is_found_and_lies_in_the_interval():
    group = np.repeat(np.arange(30), 25)
    found = gains(group, spread=0.06, gain=0.05, studies=200)["groups"]
    assert np.mean([gain.low <= 0.05 <= gain.high for gain in found]) >= 0.93
    assert np.mean([gain.low > 0 for gain in found]) >= 0.9


def test_the_interval_is_students_over_groups_and_seeds():
    """Seeds 0, 2: Var 2, t of 1 degree. Groups: variance 1, t of 4 degrees."""
    grouping = Grouping(count=5, freedom=4)
    alike = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    gain = paired_gain(np.array([1.0, 3.0]), np.ones(2), alike, grouping)
    half = np.sqrt(12.7062**2 * 2 / 2 + 2.776445**2)
    assert (gain.value, gain.low, gain.high) == pytest.approx((1, 1 - half, 1 + half), rel=1e-5)
    assert gain.groups == 5


def observed(rng, group, **options):
    """A search of six λs as groups tell it."""
    wrong = predictions(rng, group, replicates=4, strengths=5, **options)
    by_group = scorer(group, "groups")
    resampled = [by_group.resampled(both(each), "a") for each in wrong]
    return Observations(
        lambdas=SPACE.to_lambda(np.linspace(0, 1, 6)),
        scores=np.stack([by_group.scores(both(each), "a") for each in wrong]),
        resampled=None if resampled[0] is None else np.stack(resampled, axis=1),
        grouping=by_group.grouping,
    )


def test_the_covariance_of_the_curve_is_that_of_other_groups():
    """Against the gains of 300 searches with groups of their own, seeds as good as without."""
    group = np.repeat(np.arange(30), 25)
    rng = np.random.default_rng(2)
    searches = [observed(rng, group, spread=0.3) for _ in range(300)]
    tried = searches[0].lambdas > 0
    told = np.mean([row_covariance(seen, tried) for seen in searches], axis=0)
    means = np.array([seen.scores.mean(1)[1:] - seen.scores.mean(1)[0] for seen in searches])
    inflation = (2.045230 / 1.959964) ** 2  # Student's t of 29 degrees over the normal
    np.testing.assert_allclose(told, inflation * np.cov(means, rowvar=False), rtol=0.25)


def test_one_group_of_validation_rows_says_nothing_of_others():
    rng = np.random.default_rng(3)
    seen = observed(rng, np.zeros(200, int), spread=0.0, gain=-0.3)
    choice = choose(seen, SPACE, seed=0)
    assert choice.interval == (0, 4)
    assert choice.average.interval is None
    harm = Gain(value=-0.3, low=-0.4, high=-0.2, groups=8)
    decision = decide(choice, harm, smallest=0.01)
    assert decision.verdict == "undecided"
    assert "(95 % interval over 8 groups −0.4 to −0.2)" in decision.evidence
    assert "(no interval: rows of 1 group are too few)" in decision.evidence
    assert choice.band.highest == np.inf
    assert decision.harm_from is None


# Whole studies


def grouped(groups, rows=60, seed=0):
    """A data set of so many groups in each split."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(3 * groups), rows)
    world = {
        "a": rng.normal(size=(len(group), 4)).astype(np.float32),
        "b": rng.normal(size=(len(group), 4)).astype(np.float32),
        "y": rng.integers(0, 2, len(group)),
        "split": group // groups,
        "group": group,
    }
    return from_arrays(world, name="groups")


def answered(dataset):
    spec = StudySpec(
        trials=4, batch=4, replicates=2, confirm_replicates=3, training=TrainingConfig(epochs=2)
    )
    return answer_in_process(spec, dataset, simulate(lambda strength: 0.9 if strength else 0.6))


def test_the_answer_says_over_how_many_groups_it_is():
    result = answered(grouped(12))
    assert result.joint.verdict == "align"
    assert "on test rows, the gain is +0.3" in result.joint.evidence
    assert "(95 % interval over 12 groups +" in result.joint.evidence
    assert result.dataset.groups.model_dump() == {"train": 12, "validation": 12, "test": 12}
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
    assert "over 12 groups +" in sentence("joint", result)
    assert "groups of validation rows: 12, of test rows: 12)" in covered(result)


def test_without_groups_nothing_is_said_of_them():
    result = answered(worlds.null(0))
    assert "group" not in result.model_dump_json()


def test_one_group_of_test_rows_gives_no_interval_and_no_verdict():
    result = answered(grouped(1, rows=200))
    for answer in (result.joint, result.modalities.a, result.modalities.b):
        assert answer.verdict == "undecided"
        gain, interval = answer.tested
        assert gain > 0.2
        assert interval is None
        assert "(no interval: rows of 1 group are too few)" in answer.evidence
    assert StudyResult.model_validate_json(result.model_dump_json()) == result
    assert "(no interval: test rows are of too few groups)" in sentence("a", result)


def test_only_labelled_rows_of_the_split_have_groups():
    dataset = grouped(3)
    y = np.where(dataset.group % 3 == 2, -1, dataset.y)
    y[dataset.split == Split.TRAIN] = 0
    few = dataclasses.replace(dataset, y=y)
    tested = Scorer.of(few, Split.TEST, METRICS["accuracy"], 0)
    assert tested.grouping == Grouping(count=2, freedom=1)
