"""A study whose confirmation tests all labelled rows but those of validation, in folds."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import DECIDED, simulate
from tuner.analysis.gains.gain import measured_gain
from tuner.data import Split, from_arrays
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest, confirmations

DATASET = worlds.null(0, rows=600)
SPEC = StudySpec(folds=3, training=TrainingConfig(epochs=2))
TRAIN = simulate(lambda strength: 0.6 + 0.1 * min(strength, 1))


@pytest.fixture(scope="module")
def study():
    return Study.of(SPEC, DATASET)


def trained(study, number, strength, seeds, failed=False):
    request = TrialRequest(phase="confirm", number=number, strength=strength, seeds=seeds)
    if failed:
        return FinishedTrial(request=request, outcome=None, reason="planted")
    data, test = study.rows_of(study.fold_of(request))
    outcome = TRAIN(request, data, study.training, test)
    return FinishedTrial(request=request, outcome=replace(outcome, weights=None))


def test_a_study_without_folds_is_the_one_that_it_was():
    assert "folds" not in StudySpec().model_dump(mode="json")
    assert SPEC.study_id("data") != SPEC.model_copy(update={"folds": 1}).study_id("data")


def test_where_it_is_left_to_the_data_few_test_rows_are_divided():
    auto = SPEC.model_copy(update={"folds": "auto"})
    assert Study.of(auto, DATASET).id == Study.of(SPEC, DATASET).id
    one = Study.of(SPEC.model_copy(update={"folds": 1}), DATASET).id
    assert Study.of(auto, replace(DATASET, has_own_split=True)).id == one
    grouped = replace(DATASET, group=np.arange(600) % 4)  # at least two for each fold are wanted
    assert Study.of(auto, grouped).spec.folds == 1
    assert Study.of(auto.model_copy(update={"confirm_replicates": 5}), DATASET).spec.folds == 1


@pytest.mark.parametrize(("labelled", "folds"), [(999, 3), (1000, 1)])
def test_it_is_labelled_test_rows_that_are_few(labelled, folds):
    data = worlds.null(0, rows=2_000)
    y, tested = data.y.copy(), np.arange(2_000) % 2 == 0
    y[np.flatnonzero(tested)[labelled:]] = -1
    others = np.where(np.arange(2_000) % 4 == 1, Split.TRAIN, Split.VALIDATION)
    split = np.where(tested, Split.TEST, others)
    few = replace(data, y=y, split=split.astype(np.int8))
    assert Study.of(StudySpec(folds="auto"), few).spec.folds == folds


def test_seeds_are_dealt_out_to_the_folds_in_turn():
    seeds = SPEC.seeds("confirm")
    assert SPEC.dealt(seeds) == (seeds[0::3], seeds[1::3], seeds[2::3])
    longer = SPEC.extended(18)
    added = longer.confirmed_in_parts[1]
    assert longer.dealt(added) == ((added[0],), (added[1],))  # of the folds 16 % 3 and 17 % 3
    assert StudySpec().dealt((1, 2, 3)) == ((1, 2, 3),)


def test_each_fold_has_two_seeds_at_every_look():
    with pytest.raises(ValidationError, match="--confirm-replicates 6 or more"):
        StudySpec(folds=3, confirm_replicates=5)
    early = {"folds": 3, "stop_early": True}
    assert len(StudySpec(**early, confirm_replicates=11).confirmed_in_parts) == 1
    assert [len(s) for s in StudySpec(**early, confirm_replicates=12).confirmed_in_parts] == [6, 6]


def test_each_row_that_is_not_one_of_validation_is_tested_once(study):
    splits = [study.inputs_of(fold).split for fold in range(3)]
    for split in splits:
        is_validation = split == Split.VALIDATION
        np.testing.assert_array_equal(is_validation, DATASET.split == Split.VALIDATION)
    tested = np.sum([split == Split.TEST for split in splits], axis=0)
    np.testing.assert_array_equal(tested, DATASET.split != Split.VALIDATION)
    assert len(study.test.truth) == tested.sum()


def test_rows_of_a_fold_are_scaled_by_its_own_training_rows(study):
    for fold in range(3):
        data, test = study.rows_of(fold)
        split = study.inputs_of(fold).split
        assert (data.train.count, test.count) == tuple((split == s).sum() for s in (0, 2))
        np.testing.assert_allclose(data.train.a.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(
            data.scaling.a.mean, DATASET.a.values[split == Split.TRAIN].mean(axis=0), atol=1e-5
        )
        assert data.validation.count == study.data.validation.count


def test_the_search_is_the_one_without_folds(study):
    alone = Study.of(SPEC.model_copy(update={"folds": 1}), DATASET)
    request = TrialRequest(phase="search", number=0, strength=0.0, seeds=(1,))
    assert study.fold_of(request) is None
    asked = [Plan(spec=each.spec, validation=each.validation).next([]) for each in (study, alone)]
    searched = [[r for r in requests if r.phase == "search"] for requests in asked]
    assert searched[0] == searched[1]
    confirmed = [[r.seeds for r in requests if r.phase == "confirm"] for requests in asked]
    assert confirmed == [list(SPEC.dealt(SPEC.seeds("confirm"))), [SPEC.seeds("confirm")]]


def test_the_confirmation_of_a_strength_is_that_of_all_folds(study):
    dealt = SPEC.dealt(SPEC.seeds("confirm"))
    trials = [
        trained(study, 3 * i + k, s, d)
        for i, s in enumerate((0.0, 1.0))
        for k, d in enumerate(dealt)
    ]
    told = confirmations(trials[::-1], study.folds)
    assert told[1.0].request.seeds == sum(dealt, ())
    predictions = [told[s].outcome.test_predictions for s in (1.0, 0.0)]
    gain = measured_gain(study.test, *predictions, "a")
    by_row = []
    for k in range(3):
        truth = DATASET.y[study.inputs_of(k).indices(Split.TEST, labelled_only=True)]
        right = [t.outcome.test_predictions["a"] == truth for t in (trials[3 + k], trials[k])]
        by_row.append(right[0].mean(axis=0) - right[1].mean(axis=0))
    assert gain.value == pytest.approx(np.concatenate(by_row).mean())


def test_a_strength_that_fails_in_one_fold_is_not_confirmed(study):
    dealt = SPEC.dealt(SPEC.seeds("confirm"))
    first = [trained(study, k, 0.0, seeds) for k, seeds in enumerate(dealt)]
    second = [trained(study, 3 + k, 1.0, seeds, failed=k == 1) for k, seeds in enumerate(dealt)]
    told = confirmations([*first, *second], study.folds)
    assert told[1.0].reason == "planted"
    assert len(told[0.0].outcome.seeds) == 16


def test_an_answer_rests_on_all_rows_and_its_interval_is_narrower():
    spec = DECIDED.model_copy(update={"confirm_replicates": 16})
    one = answer_in_process(spec, DATASET, TRAIN)
    three = answer_in_process(spec.model_copy(update={"folds": 3}), DATASET, TRAIN)
    assert one.joint.verdict == three.joint.verdict == "align"
    assert one.curve == three.curve
    assert one.cost.trainings == three.cost.trainings
    widths = [np.diff(result.joint.gain_interval)[0] for result in (three, one)]
    assert widths[0] < 0.8 * widths[1]
    assert "all 510 labelled rows that are not validation rows, in 3 folds" in three.joint.evidence
    test = three.modalities.a.test
    assert test.gain == pytest.approx(test.best - test.baseline)
    assert (one.folds, three.folds) == (1, 3)
    assert "folds" not in one.model_dump(mode="json")


def test_a_study_in_folds_may_end_early_and_have_seeds_added():
    spec = DECIDED.model_copy(update={"confirm_replicates": 16, "folds": 3, "stop_early": True})
    early = answer_in_process(spec, DATASET, TRAIN)
    assert "After 8 of 16 seeds" in early.joint.evidence
    longer = DECIDED.model_copy(update={"confirm_replicates": 6, "folds": 3, "looks": (7,)})
    told = answer_in_process(longer, DATASET, TRAIN)
    assert "Looked at 2 times, with 6, 7 seeds" in told.joint.evidence


def test_data_that_say_which_rows_are_tested_have_no_folds():
    data = worlds.helps(rows=400)
    with pytest.raises(SpecError, match=r"--folds 3: .* use --split none"):
        Study.of(SPEC, data)
    assert Study.of(SPEC.model_copy(update={"folds": 1}), data).folds is None


@pytest.mark.parametrize(
    ("groups", "why"), [(5, "of one group, or none"), (4, "one fold alone|one group")]
)
def test_too_few_groups_have_no_folds(groups, why):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(200, 3)), "b": rng.normal(size=(200, 3))}
    y, group = rng.integers(0, 2, 200), np.arange(200) % groups
    data = from_arrays(arrays | {"y": y, "group": group})
    with pytest.raises(SpecError, match=rf"--folds 3: .*({why}).* Leave --folds out"):
        Study.of(SPEC, data)
