"""A study whose seeds have validation rows of their own, in folds."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.support.simulated import DECIDED, simulate
from tuner.analysis.curves.observations import observe
from tuner.data import Split, from_arrays
from tuner.errors import SpecError
from tuner.execution.workers.worker import TrainOnRows
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.training.loop import train
from tuner.models.training.telling import Advance, listener
from tuner.search.forecast.pilot import check_pilot
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

DATASET = worlds.null(0, rows=600)
SPEC = StudySpec(validation_folds=4, training=TrainingConfig(epochs=2, hidden=8))
HELPS = simulate(lambda strength: 0.6 + 0.1 * min(strength, 1))
BY_BOTH = simulate(lambda strength: 0.6, by_accuracy=lambda strength: 0.7)


def TRAIN(*asked):  # noqa: N802  # a stand-in, as the others
    return replace(BY_BOTH(*asked), weights=None)


@pytest.fixture(scope="module")
def study():
    return Study.of(SPEC, DATASET)


def request(phase="search", strength=0.5, spec=SPEC):
    return TrialRequest(phase=phase, number=0, strength=strength, seeds=spec.seeds(phase))


def test_a_study_without_them_is_the_one_that_it_was():
    assert "validation_folds" not in StudySpec().model_dump(mode="json")
    assert SPEC.study_id("data") != SPEC.model_copy(update={"validation_folds": 1}).study_id("data")


def test_seeds_of_each_phase_are_dealt_out_in_turn_and_stay_where_they_are_once_more_are_added():
    of_seed = SPEC.validation_folds_of_seeds
    for phase in ("search", "confirm"):
        folds = [of_seed[seed] for seed in SPEC.seeds(phase)]
        assert folds == [n % 4 for n in range(len(folds))]
    longer = SPEC.extended(18).validation_folds_of_seeds
    assert of_seed.items() <= longer.items()
    assert len(longer) == len(of_seed) + 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"replicates": 3, "validation_folds": 4}, "--replicates 4 or more"),
        ({"folds": 3, "validation_folds": 2}, "--validation-folds or --folds, not both"),
    ],
)
def test_what_cannot_be_is_refused(options, why):
    with pytest.raises(ValidationError, match=why):
        StudySpec(**options)


def test_where_folds_are_left_to_the_data_rows_by_which_a_strength_is_chosen_are_not_tested():
    both = Study.of(SPEC.model_copy(update={"folds": "auto"}), DATASET)
    assert both.id == Study.of(SPEC, DATASET).id
    assert (both.folds, both.divisible_rows) == (None, None)


def test_each_fold_has_validation_rows_of_its_own_and_the_test_rows_of_all(study):
    splits = [study.inputs_of(fold).split for fold in range(4)]
    np.testing.assert_array_equal(splits[0], DATASET.split)
    validated = [split == Split.VALIDATION for split in splits]
    assert np.sum(validated, axis=0).max() == 1
    sizes = [rows.sum() for rows in validated]
    assert max(sizes) - min(sizes) <= 8  # 90 of the split, and a fifth of 420 training rows
    for split in splits:
        np.testing.assert_array_equal(split == Split.TEST, DATASET.split == Split.TEST)
    assert len(study.validation.truth) == sum(sizes)
    assert len(study.test.truth) == (DATASET.split == Split.TEST).sum()


def test_rows_of_a_fold_are_scaled_by_its_own_training_rows(study):
    for fold in range(4):
        data, test = study.rows_of(fold)
        trained = study.inputs_of(fold).split == Split.TRAIN
        assert (data.train.count, test.count) == (trained.sum(), study.test_rows.count)
        np.testing.assert_allclose(
            data.scaling.a.mean, DATASET.a.values[trained].mean(0), atol=1e-5
        )


def on(asked, data, config, test):
    return train(
        data,
        config,
        strength=asked.strength,
        seeds=asked.seeds,
        test=test if asked.phase == "confirm" else None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["search", "confirm"])
def test_a_seed_is_trained_as_it_would_be_alone_on_a_data_set_that_is_divided_so(study, phase):
    asked = request(phase)
    whole = study.trained(asked, on)
    assert whole.seeds.tolist() == list(asked.seeds)
    validated = np.concatenate(
        [np.flatnonzero(study.inputs_of(k).split == Split.VALIDATION) for k in range(4)]
    )
    for n, seed in list(enumerate(asked.seeds))[:6]:
        divided = study.inputs_of(n % 4)
        own = Study.of(SPEC.model_copy(update={"validation_folds": 1}), divided)
        alone = on(replace(asked, seeds=(seed,)), own.data, study.training, own.test_rows)
        is_own = np.isin(validated, np.flatnonzero(divided.split == Split.VALIDATION))
        for side in "ab":
            told = whole.predictions[side][n]
            np.testing.assert_array_equal(told[is_own], alone.predictions[side][0])
            assert (told[~is_own] == -1).all()
            if phase == "confirm":
                tested = (whole.test_predictions, alone.test_predictions)
                np.testing.assert_array_equal(tested[0][side][n], tested[1][side][0])
                crossed = whole.by_accuracy.crossed[f"accuracy/{side}"][n]
                expected = alone.by_accuracy.crossed[f"accuracy/{side}"][0]
                np.testing.assert_array_equal(crossed[is_own], expected)


def test_a_score_of_a_seed_is_that_of_the_rows_of_its_fold(study):
    """By hand: seed n sees the rows of fold n % 4, and the mean is over seeds."""
    outcomes = [study.trained(request(strength=s), TRAIN) for s in (1.0, 0.0)]
    seen = observe(study.validation, outcomes, "a")
    for row, outcome in zip(seen.scores, reversed(outcomes), strict=True):
        for n, score in enumerate(row):
            truth = DATASET.y[study.inputs_of(n % 4).split == Split.VALIDATION]
            told = outcome.predictions["a"][n]
            assert score == (told[told >= 0] == truth).mean()
    assert len(seen.folds) == 4
    assert sum(fold.share for fold in seen.folds) == pytest.approx(1)
    right = np.concatenate([(told[told >= 0] == study.validation.truth[told >= 0])
                            for told in outcomes[0].predictions["a"]])  # fmt: skip
    weights = study.validation.resamples.weights
    np.testing.assert_allclose(seen.resampled[:, 1], weights @ right / weights.sum(1))


def test_a_worker_trains_what_this_process_would_and_says_how_far_it_is(study):
    """Of rows that all workers share the first fold's are those of the split."""
    heard = []

    class Rows:
        def __init__(self, fold):
            self.get = lambda: study.rows_of(fold)

    def telling(asked, *rest):
        listener()(Advance(ended=0, stacked=len(asked.seeds), epoch=1.0, epochs=2, patience=1))
        return TRAIN(asked, *rest)

    board = type("Board", (), {"writer": lambda _, asked: lambda told: heard.append((asked, told))})
    folds = pickle.loads(pickle.dumps(study.validation_folds))
    job = TrainOnRows(
        rows=tuple(Rows(fold) for fold in range(4)),
        config=study.training,
        train=telling,
        validation_folds=folds,
        board=board(),
    )
    asked = request("confirm")
    told, here = job.begin()(asked), study.trained(asked, TRAIN)
    assert [advance.ended for _, advance in heard] == [0, 4, 8, 12]
    assert {(one.phase, one.number) for one, _ in heard} == {(asked.phase, asked.number)}
    written = [TrainingOutcome.from_bytes(each.to_bytes()) for each in (told, here)]
    for name in ("predictions", "test_predictions", "seeds", "by_accuracy"):
        one, other = (getattr(each, name) for each in written)
        np.testing.assert_equal(*(vars(x) if name == "by_accuracy" else x for x in (one, other)))
    assert told.steps == 16
    assert told.seconds == pytest.approx(4 * 0.01)


@pytest.mark.slow
def test_only_the_search_sees_more_rows_and_its_interval_is_no_wider():
    spec = DECIDED.model_copy(update={"confirm_replicates": 16, "stop_early": True})
    one = answer_in_process(spec, DATASET, HELPS)
    four = answer_in_process(spec.model_copy(update={"validation_folds": 4}), DATASET, HELPS)
    assert one.joint.verdict == four.joint.verdict == "align"
    assert [point.strength for point in one.curve] == [point.strength for point in four.curve]
    assert four.cost.trainings == one.cost.trainings
    widths = [np.diff(result.joint.interval)[0] for result in (four, one)]
    assert widths[0] <= widths[1]


def test_every_seed_has_the_same_rows_at_every_strength(study):
    told = [study.trained(request(strength=s), TRAIN).predictions["b"] >= 0 for s in (0.0, 2.0)]
    np.testing.assert_array_equal(*told)


def test_the_plan_asks_for_what_it_would_without_them(study):
    alone = Study.of(SPEC.model_copy(update={"validation_folds": 1}), DATASET)
    asked = [Plan(spec=each.spec, validation=each.validation).next([]) for each in (study, alone)]
    assert asked[0] == asked[1]


def test_a_forecast_wants_two_seeds_of_each_fold():
    with pytest.raises(SpecError, match=r"--replicates 8, or leave --validation-folds out"):
        check_pilot(SPEC)
    check_pilot(SPEC.model_copy(update={"replicates": 8}))
    check_pilot(StudySpec())


def test_data_that_say_which_rows_are_validated_have_none():
    data = worlds.helps(rows=400)
    with pytest.raises(SpecError, match=r"--validation-folds 4: .* use --split none"):
        Study.of(SPEC, data)


def data_of(y, **more):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(len(y), 3)), "b": rng.normal(size=(len(y), 3)), "y": y}
    return from_arrays(arrays | more)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            data_of(np.arange(200) % 2, group=np.arange(200) % 6),
            "of one group, or none, because rows of a group stay together. Add groups, or leave",
        ),
        (
            data_of(np.array(["x", "y", *["z"] * 60])[np.r_[[0] * 4, [1] * 60, 2 + np.arange(60)]]),
            "no validation row of class 'x'. Add rows of it, or leave --validation-folds out",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_with_a_mend(data, why):
    with pytest.raises(SpecError, match=rf"--validation-folds 4: .*{why}"):
        Study.of(SPEC, data)
