from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.support.noisy_curves import SPACE, flat, hump, observe, rise, search, study
from tuner.analysis.decision import Choice, choose, decide
from tuner.analysis.gain import Gain, paired_gain
from tuner.analysis.observations import Observations
from tuner.study.space import LambdaSpace


def _exact(curve, trials=17, space=SPACE):
    """Observations without any noise."""
    u = np.linspace(0, 1, trials)
    return Observations(lambdas=space.to_lambda(u), scores=np.tile(0.5 + curve(u)[:, None], (1, 3)))


def _gain(value, margin=0.01):
    return Gain(value=value, low=value - margin, high=value + margin)


def _choice(best=0.5, average=0.0, support=0.9):
    candidate = best or 0.5
    return Choice(
        best=best,
        interval=(0.0, 4.0),
        candidate=candidate,
        expected=_gain(0.02),
        support=support,
        average=_gain(average),
    )


# The choice


@pytest.mark.parametrize("strength", [0.2, 0.6, 2.0])
def test_without_noise_the_peak_is_found(strength):
    choice = choose(_exact(hump(0.1, strength)), SPACE, seed=0)
    low, high = choice.interval
    assert choice.best == choice.candidate == pytest.approx(strength, rel=0.06)
    assert low / 1.06 <= strength <= high * 1.06  # a step of the grid
    assert high - low < 0.4 * strength


def test_without_noise_a_rise_ends_at_the_largest_strength():
    space = LambdaSpace(maximum=1.2345)
    choice = choose(_exact(rise(0.1), space=space), space, seed=0)
    assert choice.best == choice.interval[1] == 1.2345


def test_without_noise_a_fall_stays_at_zero_and_tests_the_least_harmful_useful_strength():
    choice = choose(_exact(rise(-0.1)), SPACE, seed=0)
    assert choice.best == 0
    assert choice.interval == (0, 0)
    assert SPACE.to_unit(choice.candidate) == pytest.approx(0.25, abs=0.01)
    assert choice.average.value == pytest.approx(-0.05, rel=0.01)


def test_nothing_seen_leaves_every_strength_possible():
    same = Observations(lambdas=np.array([0.0, 1.0]), scores=np.full((2, 2), 0.5))
    choice = choose(same, SPACE, seed=0)
    assert choice.best == 0
    assert choice.candidate > 0
    assert choice.interval == (0, 4)


@pytest.mark.parametrize("cases", [10, pytest.param(30, marks=pytest.mark.soak)])
def test_pure_noise_leaves_nearly_every_strength_possible(cases):
    seen = [search(np.random.default_rng([1, k]), 16, 4, flat) for k in range(cases)]
    intervals = SPACE.to_unit(np.array([choose(each, SPACE, seed=0).interval for each in seen]))
    assert np.mean(intervals[:, 1] - intervals[:, 0]) > 0.9


def test_the_same_seed_gives_the_same_choice():
    seen = search(np.random.default_rng(2), 12, 4, rise(0.02))
    assert choose(seen, SPACE, seed=3) == choose(seen, SPACE, seed=3)


@settings(max_examples=8, deadline=None)
@given(shift=st.floats(-10, 10), power=st.integers(-20, 20), case=st.integers(0, 10**6))
def test_units_of_the_score_do_not_change_the_choice(shift, power, case):
    """A power of two scales exactly, so that ties and thresholds cannot fall otherwise."""
    seen = search(np.random.default_rng(case), 10, 3, hump(0.02, 0.5))
    scale = 2.0**power

    def rescaled(scores):
        return scale * scores

    once = choose(seen, SPACE, seed=0)
    again = choose(
        replace(seen, scores=rescaled(seen.scores), resampled=rescaled(seen.resampled)),
        SPACE,
        seed=0,
    )
    assert (once.best, once.interval, once.candidate) == (
        again.best,
        again.interval,
        again.candidate,
    )
    assert again.average.value == pytest.approx(scale * once.average.value)
    shifted = choose(
        replace(seen, scores=seen.scores + shift, resampled=seen.resampled + shift), SPACE, seed=0
    )
    assert shifted.best == once.best
    assert shifted.average.high == pytest.approx(once.average.high, abs=1e-7)


def test_a_candidate_is_short_to_write():
    choice = choose(search(np.random.default_rng(4), 12, 4, hump(0.03, 0.6)), SPACE, seed=0)
    assert choice.candidate == float(f"{choice.candidate:.3g}")


# The paired gain


def test_without_resampled_rows_the_interval_is_students():
    treated, baseline = np.array([0.5, 0.7, 0.65, 0.6]), np.array([0.5, 0.6, 0.6, 0.61])
    expected = stats.ttest_rel(treated, baseline).confidence_interval(0.95)
    gain = paired_gain(treated, baseline, None)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_seeds_and_rows_each_add_their_own_reach():
    """Differences 0, 2: Var 2, t of 1 degree. Resampled -1, 0, 1: Var 1, t of 2 degrees."""
    gain = paired_gain(np.array([1.0, 3.0]), np.ones(2), np.array([-1.0, 0.0, 1.0]))
    half = np.sqrt(12.7062**2 * 2 / 2 + 4.30265**2)
    assert (gain.value, gain.low, gain.high) == pytest.approx((1, 1 - half, 1 + half), rel=1e-5)


def test_equal_scores_are_a_gain_of_nothing():
    same = np.full(3, 0.5)
    assert paired_gain(same, same, np.zeros(10)) == Gain(value=0, low=0, high=0)


@pytest.mark.parametrize(
    ("treated", "baseline", "resampled"),
    [
        ([1.0], [1.0], None),
        ([1.0, 2.0], [1.0, 2.0, 3.0], None),
        ([1.0, 2.0], [1.0, 2.0], [1.0]),
        ([1.0, np.nan], [1.0, 2.0], None),
        ([1.0, 2.0], [1.0, 2.0], [np.nan, 1.0]),
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
        resampled = spread * rng.normal(size=50)
        found += paired_gain(gains, np.zeros(replicates), resampled).low > 0
    assert found <= 0.025 * 1000 + 3 * np.sqrt(0.025 * 1000)


# The verdict


def test_an_interval_holds_its_value():
    with pytest.raises(ValueError, match="low ≤ value ≤ high"):
        Gain(value=1.0, low=2.0, high=3.0)


@pytest.mark.parametrize(
    ("verdict", "choice", "confirmed"),
    [
        ("align", _choice(), _gain(0.02)),
        ("align", _choice(average=-0.05), _gain(0.02)),
        ("no detectable effect", _choice(support=0.6), _gain(0.02)),
        ("no detectable effect", _choice(), _gain(0.005)),
        ("no detectable effect", _choice(), _gain(-0.02)),
        ("no detectable effect", _choice(average=-0.05), _gain(-0.02)),
        ("no detectable effect", _choice(best=0.0), _gain(0.02)),
        ("no detectable effect", _choice(best=0.0), _gain(-0.02)),
        ("no detectable effect", _choice(best=0.0, average=-0.05), _gain(0.001)),
        ("do not align", _choice(best=0.0, average=-0.05), _gain(-0.001)),
    ],
)
def test_verdicts(verdict, choice, confirmed):
    said, reason = decide(choice, confirmed)
    assert said == verdict
    assert f"{confirmed.value:+.3g}" in reason
    assert f"λ = {choice.candidate:.3g}" in reason


# Calibration: search, choice, fresh seeds and rows, verdict


def _verdicts(curve, trials, replicates, cases):
    studies = [
        study(np.random.default_rng([6, trials, replicates, k]), trials, replicates, curve)
        for k in range(cases)
    ]
    return [decide(choice, confirmed)[0] for choice, confirmed, _ in studies], studies


@pytest.mark.parametrize(("cases", "most"), [(14, 2), pytest.param(100, 9, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("trials", "replicates"), [(8, 3), (20, 5), (40, 8)])
def test_without_any_effect_few_verdicts_are_wrong(trials, replicates, cases, most):
    """At most 5 % in the long run; it is `most` that 5 % exceed in 3 of 100 such tests."""
    verdicts, _ = _verdicts(flat, trials, replicates, cases)
    assert verdicts.count("align") <= most
    assert verdicts.count("do not align") <= most


@pytest.mark.parametrize("cases", [20, pytest.param(50, marks=pytest.mark.soak)])
def test_a_real_gain_is_found_and_its_intervals_cover_it(cases):
    verdicts, studies = _verdicts(hump(0.04, 0.6), 20, 6, cases)
    assert verdicts.count("align") >= 0.9 * cases
    assert "do not align" not in verdicts
    assert np.mean([c.interval[0] <= 0.6 <= c.interval[1] for c, _, _ in studies]) >= 0.9
    assert np.mean([g.low <= truth <= g.high for _, g, truth in studies]) >= 0.9


@pytest.mark.parametrize("cases", [15, pytest.param(40, marks=pytest.mark.soak)])
def test_a_real_fall_is_found(cases):
    verdicts, _ = _verdicts(rise(-0.08), 20, 6, cases)
    assert verdicts.count("do not align") >= 0.9 * cases
    assert "align" not in verdicts


@pytest.mark.parametrize("cases", [20, pytest.param(60, marks=pytest.mark.soak)])
def test_an_unseen_rise_before_a_fall_is_not_denied(cases):
    """A gain of one standard error at λ = .2, then a fall: alignment does help somewhere."""

    def curve(u):
        return hump(0.012, 0.2)(u) - 0.06 * np.maximum(u - SPACE.to_unit(0.2), 0)

    verdicts, _ = _verdicts(curve, 20, 6, cases)
    assert verdicts.count("do not align") <= 0.05 * cases


def test_the_raw_best_is_not_believed():
    """One lucky λ among many on a flat curve is drawn back to its neighbours."""
    rng = np.random.default_rng(7)
    u = np.linspace(0, 1, 25)
    scores, resampled = observe(rng, u, 6, flat)
    scores[12] += 0.02
    seen = Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)
    choice = choose(seen, SPACE, seed=0)
    raw = scores.mean(axis=1)
    assert raw.argmax() == 12
    assert choice.expected.value < 0.5 * (raw[12] - raw[0])
    assert choice.expected.low < 0
