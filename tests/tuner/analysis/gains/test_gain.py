"""The interval of a gain, over seeds and rows."""

import numpy as np
import pytest
from scipy import stats

from tests.support.crossed import MIXTURES, counted_twice, gains
from tuner.analysis.gains.gain import CrossedVariance, Gain, measured_gain, paired_gain
from tuner.models.evaluation.metrics import METRICS
from tuner.models.evaluation.resampling import Resamples
from tuner.study.scoring.scores import TARGETS, Scorer

ROWS = {"rows": np.arange(120), "groups": np.repeat(np.arange(30), 4)}


def test_an_interval_holds_its_value():
    with pytest.raises(ValueError, match="low ≤ value ≤ high"):
        Gain(value=1.0, low=2.0, high=3.0)


def test_without_resampled_rows_the_interval_is_students():
    treated, baseline = np.array([0.5, 0.7, 0.65, 0.6]), np.array([0.5, 0.6, 0.6, 0.61])
    expected = stats.ttest_rel(treated, baseline).confidence_interval(0.95)
    gain = paired_gain(treated, baseline, None)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_seeds_and_rows_each_add_their_own_reach():
    """Differences 0, 2: Var 2, t of 1 degree. Resampled -1, 0, 1: Var 1, t of 2 degrees."""
    alike = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    gain = paired_gain(np.array([1.0, 3.0]), np.ones(2), alike)
    half = np.sqrt(12.7062**2 * 2 / 2 + 4.30265**2)
    assert (gain.value, gain.low, gain.high) == pytest.approx((1, 1 - half, 1 + half), rel=1e-5)


def test_equal_scores_are_a_gain_of_nothing():
    same = np.full(3, 0.5)
    assert paired_gain(same, same, np.zeros((10, 3))) == Gain(value=0, low=0, high=0)


@pytest.mark.parametrize(
    ("treated", "baseline", "resampled"),
    [
        ([1.0], [1.0], None),
        ([1.0, 2.0], [1.0, 2.0, 3.0], None),
        ([1.0, 2.0], [1.0, 2.0], [[1.0, 1.0]]),
        ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, 2.0], [[1.0], [2.0]]),
        ([1.0, np.nan], [1.0, 2.0], None),
        ([1.0, 2.0], [1.0, 2.0], [[np.nan, 1.0], [1.0, 1.0]]),
    ],
)
def test_faulty_scores_are_refused(treated, baseline, resampled):
    with pytest.raises(ValueError, match=r"need|must be"):
        paired_gain(
            np.array(treated),
            np.array(baseline),
            None if resampled is None else np.array(resampled),
        )


@pytest.mark.parametrize("replicates", [2, 3, 5, 12])
@pytest.mark.parametrize("rows", [0.1, 0.3, 1.0, 3.0])
def test_a_gain_of_nothing_is_rarely_found(replicates, rows):
    """Rows: their variance, as a multiple of the seeds' variance of the mean."""
    rng = np.random.default_rng([5, replicates])
    spread = np.sqrt(rows / replicates)
    found = 0
    for _ in range(1000):
        gains = rng.normal(size=replicates) + spread * rng.normal()
        resampled = np.tile(spread * rng.normal(size=(50, 1)), replicates)
        found += paired_gain(gains, np.zeros(replicates), resampled).low > 0
    assert found <= 0.025 * 1000 + 3 * np.sqrt(0.025 * 1000)


def test_what_differs_between_seeds_and_rows_alone_is_told_from_the_rest():
    """Two-way analysis of variance, as textbooks have it: mean squares of seeds, rows, residual."""
    rng = np.random.default_rng(0)
    seeds, rows = 4, 30
    each = rng.normal(size=(rows, seeds)) + 2 * rng.normal(size=seeds) + rng.normal(size=(rows, 1))
    # Jackknife over single rows: its variance of a mean is exactly the usual one.
    without = (each.sum(axis=0) - each) / (rows - 1)
    center = without.mean(axis=0)
    resampled = center + (without - center) * (rows - 1) / np.sqrt(rows)
    variance = CrossedVariance.estimate(each.mean(axis=0), resampled, rows - 1)
    left = each - each.mean(0) - each.mean(1, keepdims=True) + each.mean()
    residual = np.sum(left**2) / ((rows - 1) * (seeds - 1))
    assert variance.residual == pytest.approx(residual / (rows * seeds))
    assert variance.rows == pytest.approx(each.mean(axis=1).var(ddof=1) / rows)
    assert variance.seeds == pytest.approx(each.mean(axis=0).var(ddof=1) / seeds)
    assert variance.total == pytest.approx(variance.seeds + variance.rows - variance.residual)


def test_what_seeds_and_rows_share_counts_once():
    """t of 11, of 299 and of 3,289 degrees: 2.200985, 1.967930, 1.960684."""
    variance = CrossedVariance(seeds=4, rows=3, residual=2, seed_freedom=11, row_freedom=299)
    square = 2.200985**2 * 4 + 1.967930**2 * 3 - 1.960684**2 * 2
    assert variance.half_width == pytest.approx(np.sqrt(square), rel=1e-6)
    assert variance.total == 5


@pytest.mark.parametrize(("seeds", "rows"), [(4, 1), (1, 4)])
def test_an_interval_is_never_shorter_than_by_seeds_or_by_rows_alone(seeds, rows):
    freedom = {"seed_freedom": 11, "row_freedom": 299}
    both = CrossedVariance(seeds=seeds, rows=rows, residual=3, **freedom)
    alone = CrossedVariance(
        seeds=seeds * (seeds > rows), rows=rows * (rows > seeds), residual=0, **freedom
    )
    assert both.half_width == alone.half_width
    assert both.total == 4


@pytest.mark.parametrize(
    ("repeats", "least"), [(150, 0.88), pytest.param(6000, 0.94, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("of", ROWS)
@pytest.mark.parametrize("seeds", [2, 3, 12])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_intervals_cover_nothing_where_there_is_nothing(mixture, seeds, of, repeats, least):
    """95 % in the long run; `least` of 150 is four standard errors below."""
    rng = np.random.default_rng([2, seeds])
    found = list(gains(rng, mixture, seeds, ROWS[of], repeats))
    assert np.mean([gain.low <= 0 <= gain.high for gain, _ in found]) >= least
    assert np.mean([gain.low > 0 for gain, _ in found]) <= (1 - least) / 2
    assert all(v.half_width <= counted_twice(v) * (1 + 1e-12) for _, v in found)


def test_twelve_seeds_with_much_residual_are_a_fifth_more_precise_than_it_seemed():
    rng = np.random.default_rng(3)
    found = [v for _, v in gains(rng, "residual alone", 12, ROWS["rows"], 100)]
    widths = np.mean([[v.half_width, counted_twice(v)] for v in found], axis=0)
    assert widths[0] / widths[1] == pytest.approx(0.78, abs=0.04)


@pytest.mark.parametrize(("rows", "seeds"), [(24, 2), (60, 3), (100, 12)])
def test_rows_that_all_are_predicted_alike_do_not_show_that_all_others_would_be(rows, seeds):
    """An interval of no width said that gains of any size are ruled out, after 24 rows."""
    y = np.arange(rows) % 2
    resamples = Resamples.of_rows(rows, 200, 0)
    scorer = Scorer(metric=METRICS["accuracy"], truth=y, resamples=resamples)
    told = {side: np.tile(y, (seeds, 1)) for side in "ab"}
    for target in TARGETS:
        gain = measured_gain(scorer, told, told, target)
        assert gain.value == 0
        # Were one row of every seed to differ, independently: S of (1 / nS)² each.
        assert gain.high == pytest.approx(1.96 / rows / np.sqrt(seeds), rel=0.02)
