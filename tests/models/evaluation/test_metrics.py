import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tuner.models.evaluation.metrics import METRICS

SKLEARN = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda y, p, sample_weight: sk.f1_score(
        y, p, sample_weight=sample_weight, average="macro", labels=np.unique([y, p])
    ),
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
}


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(METRICS)),
    rows=st.integers(12, 60),
    classes=st.integers(2, 5),
    replicates=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_weighted_scores_are_scikit_learns(name, rows, classes, replicates, seed):
    rng = np.random.default_rng(seed)
    if METRICS[name].task == "classification":
        truth = np.arange(rows) % classes
        predictions = rng.integers(0, classes, (replicates, rows))
    else:
        truth = rng.normal(100, 3, rows).astype(np.float32)
        predictions = rng.normal(100, 3, (replicates, rows)).astype(np.float32)
    weights = rng.integers(1, 5, (4, rows)).astype(np.float64)
    ours = METRICS[name].mean_scores(truth, predictions, weights)
    theirs = [
        np.mean([SKLEARN[name](truth, p, sample_weight=w) for p in predictions]) for w in weights
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    flat = METRICS[name].mean_scores(truth, predictions, np.ones((1, rows)))
    scores = [METRICS[name].score(truth, p) for p in predictions]
    # R² is 1 less a ratio of sums of float32: near 0 its rounding is that of the 1.
    np.testing.assert_allclose(flat, np.mean(scores), rtol=1e-6, atol=1e-6)
    plain = [SKLEARN[name](truth, p, sample_weight=None) for p in predictions]
    np.testing.assert_allclose(scores, plain, rtol=1e-6, atol=1e-6)


def test_a_class_that_a_resample_lost_does_not_count_in_balanced_accuracy():
    truth, prediction = np.array([0, 0, 1, 2]), np.array([[0, 1, 1, 0]])
    weights = np.array([[1.0, 1, 1, 0]])
    score = METRICS["balanced_accuracy"].mean_scores(truth, prediction, weights)
    assert score == pytest.approx((0.5 + 1) / 2)


def test_better_means_higher_utility():
    assert {m.name: m.sign for m in METRICS.values()} == {
        "accuracy": 1,
        "balanced_accuracy": 1,
        "macro_f1": 1,
        "mae": -1,
        "r2": 1,
    }
