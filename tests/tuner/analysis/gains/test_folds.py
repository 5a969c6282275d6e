"""The interval of a gain that is measured in folds: each row by the seeds of its own fold."""

import numpy as np
import pytest

from tests.support.crossed import MIXTURES
from tuner.analysis.gains.gain import CrossedVariance, measured_gain, paired_gain
from tuner.models.evaluation.metrics import METRICS
from tuner.models.evaluation.resampling import Resamples
from tuner.study.scoring.folds import FoldScorer
from tuner.study.scoring.scores import Scorer
from tuner.study.scoring.targets import FoldShare, mean_score

SEEDS = (6, 5, 5)


def scorer(fold, truth, group=None, metric="accuracy"):
    resamples = (
        Resamples.of_rows(len(fold), 400, 0)
        if group is None
        else Resamples.of_groups(group, 400, 0)
    )
    return FoldScorer(metric=METRICS[metric], truth=truth, resamples=resamples, fold=fold)


def predictions(fold, told):
    """What is told by fold, (seeds of it, its rows), among the rows of all."""
    nothing = np.nan if told[0].dtype.kind == "f" else -1
    parts = []
    for k, each in enumerate(told):
        part = np.full((len(each), len(fold)), nothing, dtype=each.dtype)
        part[:, fold == k] = each
        parts.append(part)
    return {"a": np.concatenate(parts), "b": np.concatenate(parts)}


def drawn(rng, sizes=(40, 41, 39), seeds=SEEDS, right=0.7):
    fold, truth = np.repeat(range(3), sizes), rng.integers(0, 3, sum(sizes))
    told = []
    for k, count in enumerate(seeds):
        own = truth[fold == k]
        hits = rng.random((count, len(own))) < right
        told.append(np.where(hits, own, (own + 1) % 3).astype(np.int32))
    return fold, truth, told


def test_a_gain_is_the_mean_over_all_rows_each_by_the_seeds_of_its_fold():
    fold, truth, ours = drawn(np.random.default_rng(0))
    _, _, theirs = drawn(np.random.default_rng(1), right=0.6)
    test = scorer(fold, truth)
    treated, baseline = predictions(fold, ours), predictions(fold, theirs)
    by_row = np.concatenate(
        [(o == truth[fold == k]).mean(0) - (t == truth[fold == k]).mean(0)
         for k, (o, t) in enumerate(zip(ours, theirs, strict=True))]
    )  # fmt: skip
    gain = measured_gain(test, treated, baseline, "joint")
    assert gain.value == pytest.approx(by_row.mean())
    expected = mean_score(test, treated, "a") - mean_score(test, baseline, "a")
    assert gain.value == pytest.approx(expected)
    assert gain.variance.seed_freedom == sum(SEEDS) - 3
    assert gain.variance.folds == 3


def test_what_is_resampled_is_the_mean_over_the_rows_that_are_drawn():
    rng = np.random.default_rng(2)
    fold, truth, told = drawn(rng)
    test = scorer(fold, truth)
    right = np.concatenate([(t == truth[fold == k]).mean(0) for k, t in enumerate(told)])
    weights = test.resamples.weights
    expected = weights @ right / weights.sum(1)
    np.testing.assert_allclose(test.resampled(predictions(fold, told), "joint"), expected)


def test_of_errors_and_groups_it_is_the_same():
    rng = np.random.default_rng(3)
    fold, group = np.repeat(range(3), 40), np.arange(120) // 4
    truth = rng.normal(size=120)
    told = [truth[fold == k] + rng.normal(size=(count, 40)) for k, count in enumerate(SEEDS)]
    test = scorer(fold, truth, group, "mae")
    off = np.concatenate([np.abs(t - truth[fold == k]).mean(0) for k, t in enumerate(told)])
    each = predictions(fold, told)
    assert mean_score(test, each, "joint") == pytest.approx(off.mean())
    plain = Scorer(metric=METRICS["mae"], truth=np.zeros(120), resamples=test.resamples)
    expected = plain.resampled({"a": off[None], "b": off[None]}, "a")
    np.testing.assert_allclose(test.resampled(each, "a"), expected)


def test_what_knows_all_rows_is_scored_on_all():
    fold, truth, _ = drawn(np.random.default_rng(4))
    test = scorer(fold, truth)
    constant = {"a": np.zeros((1, len(truth)), int), "b": np.zeros((1, len(truth)), int)}
    assert mean_score(test, constant, "joint") == pytest.approx((truth == 0).mean())
    plain = Scorer(metric=METRICS["accuracy"], truth=truth, resamples=test.resamples)
    np.testing.assert_allclose(test.resampled(constant, "a"), plain.resampled(constant, "a"))


def test_variances_are_those_of_a_layout_in_folds():
    """Of fold f, of share w: w² var / S by seeds; w² residual mean square / (n S) of the rest."""
    rng = np.random.default_rng(5)
    sizes, n = (20, 30, 50), 100
    layout = [
        rng.normal(size=(rows, seeds)) + rng.normal(size=seeds) + rng.normal(size=(rows, 1))
        for rows, seeds in zip(sizes, SEEDS, strict=True)
    ]
    starts = np.cumsum((0, *SEEDS))
    folds = [
        FoldShare(rows / n, np.arange(starts[k], starts[k + 1])) for k, rows in enumerate(sizes)
    ]
    # Jackknife over the rows of one fold after the other, of the total over all rows.
    resampled = np.zeros((n, sum(SEEDS)))
    at = 0
    for (share, of), each in zip(folds, layout, strict=True):
        resampled[:, of] = share * each.mean(0)
        own = share * (each - each.mean(0)) * np.sqrt((n - 1) / (len(each) * (len(each) - 1)))
        resampled[at : at + len(each), of] += own * np.sqrt((len(each) - 1) / len(each))
        at += len(each)
    gains = np.concatenate([each.mean(0) for each in layout])
    told = CrossedVariance.estimate(gains, resampled, n - 1, folds=folds)
    shares = [fold.share**2 for fold in folds]
    seeds = [
        w * each.mean(0).var(ddof=1) / each.shape[1] for w, each in zip(shares, layout, strict=True)
    ]
    assert told.seeds == pytest.approx(sum(seeds))
    squares = [
        w * np.sum((x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()) ** 2)
        / (len(x) ** 2 * (x.shape[1] - 1) * x.shape[1])
        for w, x in zip(shares, layout, strict=True)
    ]  # fmt: skip
    assert told.residual == pytest.approx(sum(squares))
    rows = [w * x.mean(1).var() / len(x) for w, x in zip(shares, layout, strict=True)]
    assert told.rows == pytest.approx(sum(rows))


def test_folds_are_planned_as_they_are_measured():
    """Seeds 2, rows 3 and residual .5 of each: in three folds the residual is thrice as much."""
    one = CrossedVariance(seeds=2.5, rows=3.5, residual=0.5, seed_freedom=15, row_freedom=99)
    three = one.in_folds(3)
    assert (three.seeds, three.rows, three.residual) == (3.5, 4.5, 1.5)
    assert three.seed_freedom == 13
    assert three.in_folds(1) == one
    twice = three.scaled(seeds=2, rows=1)
    assert twice.seed_freedom == 2 * 16 - 3
    assert twice == one.scaled(seeds=2, rows=1).in_folds(3)


@pytest.mark.parametrize(
    ("repeats", "least"), [(150, 0.88), pytest.param(4000, 0.94, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("seeds", [SEEDS, (2, 2, 2), (3, 2, 2)])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_intervals_cover_nothing_where_there_is_nothing(mixture, seeds, repeats, least):
    """95 % in the long run; `least` of 150 is four standard errors below."""
    rng = np.random.default_rng([6, sum(seeds)])
    n, total = 99, sum(seeds)
    fold, of = np.arange(n) % 3, np.repeat(range(3), seeds)
    seed, row, residual = (np.sqrt(part) for part in MIXTURES[mixture])
    weights = Resamples.of_rows(n, 200, 0).weights / n
    is_own = fold[:, None] == of
    folds = [FoldShare(1 / 3, np.flatnonzero(of == k)) for k in range(3)]
    found = []
    for _ in range(repeats):
        by_row, by_seed = rng.standard_normal((n, 1)), rng.standard_normal(total)
        rest = rng.standard_normal((n, total))
        each = np.sqrt(n) * row * by_row + np.sqrt(total) * seed * by_seed
        each = np.where(is_own, each + np.sqrt(n * total / 3) * residual * rest, 0.0)
        mean = each.sum(0) / is_own.sum(0)
        found.append(paired_gain(mean, np.zeros(total), weights @ each, folds=folds))
    assert np.mean([gain.low <= 0 <= gain.high for gain in found]) >= least
    assert np.mean([gain.low > 0 for gain in found]) <= (1 - least) / 2
