"""λ = 0 gets the weights that are best for it: which these are, and what the answer rests on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import DECIDED, simulate
from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.models.evaluation.metrics import METRICS
from tuner.reporting.wording import kept_words
from tuner.study.study import Study
from tuner.study.trial import TrialRequest


def rises(strength: float) -> float:
    return 0.7 + 0.04 * strength


def answered(by_accuracy=None, metric="auto"):
    spec = DECIDED.model_copy(update={"metric": metric})
    return answer_in_process(
        spec, worlds.null(0, rows=1500), simulate(rises, by_accuracy=by_accuracy)
    )


@pytest.mark.parametrize(
    ("by_loss", "by_accuracy", "sign", "rule"),
    [
        (0.7, 0.8, 1, "accuracy"),
        (0.8, 0.7, 1, "loss"),
        (0.7, 0.7, 1, "loss"),
        (3, 2, -1, "accuracy"),
    ],
)
def test_the_rule_is_what_is_better_for_the_baseline(by_loss, by_accuracy, sign, rule):
    scores = {side: {"loss": by_loss, "accuracy": by_accuracy} for side in "ab"}
    assert best_rules(scores, sign=sign) == {"a": rule, "b": rule}


def test_each_modality_has_a_rule_of_its_own():
    scores = {"a": {"loss": 0.5, "accuracy": 0.6}, "b": {"loss": 0.6, "accuracy": 0.5}}
    assert best_rules(scores, sign=1) == {"a": "accuracy", "b": "loss"}


def test_where_there_is_one_rule_it_is_the_least_loss():
    assert best_rules(None, sign=1) == {"a": "loss", "b": "loss"}


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_rules_are_scored_in_the_metric_of_the_study_on_rows_that_did_not_choose(metric):
    study = Study.of(DECIDED.model_copy(update={"metric": metric}), worlds.null(0))
    request = TrialRequest(phase="confirm", number=0, strength=0.0, seeds=(1, 2))
    train = simulate(rises, by_accuracy=lambda _: 0.9)
    outcome = train(request, study.data, study.training, study.test_rows)
    crossed = outcome.by_accuracy.crossed
    expected = {
        side: {
            rule: np.mean([METRICS[metric].score(study.validation.truth, told) for told in codes])
            for rule, codes in (
                ("loss", crossed[f"loss/{side}"]),
                ("accuracy", crossed[f"accuracy/{side}"]),
            )
        }
        for side in "ab"
    }
    scores = baseline_scores(study.validation, outcome)
    assert {side: pytest.approx(by) for side, by in expected.items()} == scores


@pytest.mark.slow
def test_a_gain_over_a_worse_baseline_than_need_be_is_no_gain():
    by_loss = answered()
    assert by_loss.joint.verdict == "align"
    assert by_loss.modalities.a.checkpoint is None
    result = answered(by_accuracy=lambda _: 0.9)
    assert result.joint.verdict == "undecided"
    assert result.joint.gain == 0
    assert result.rules == {"a": "accuracy", "b": "accuracy"}
    for answer in (result.modalities.a, result.modalities.b):
        kept = answer.checkpoint
        assert kept.baseline == pytest.approx({"loss": 0.7, "accuracy": 0.9}, abs=0.05)
        assert answer.test.baseline == pytest.approx(0.9, abs=0.05)
        assert kept.gain["accuracy"] == answer.test.gain == 0
        assert kept.gain["loss"] == pytest.approx(rises(answer.candidate) - rises(0), abs=0.04)
    assert (
        " Weights of A and B are those of the best validation accuracy, which are better for "
        "λ = 0; by the least validation loss the gain is +0.1"
    ) in result.joint.evidence
    assert kept_words(result) == "best validation accuracy, which is better for λ = 0"


def test_what_is_worse_for_the_baseline_changes_nothing():
    by_loss, result = answered(), answered(by_accuracy=lambda strength: 0.5 if strength else 0.6)
    assert result.joint == by_loss.joint
    assert result.rules == {"a": "loss", "b": "loss"}
    assert kept_words(result) == "least validation loss, which is better for λ = 0"
    assert kept_words(by_loss) == "least validation loss"


def test_a_study_that_was_begun_before_there_were_two_rules_ends_by_the_one():
    both = simulate(rises, by_accuracy=lambda _: 0.9)

    def train(request, *arguments):
        outcome = both(request, *arguments)
        return outcome if request.strength == 0 else replace(outcome, by_accuracy=None)

    result = answer_in_process(DECIDED, worlds.null(0, rows=1500), train)
    assert result.joint == answered().joint
    assert result.modalities.a.checkpoint is None
