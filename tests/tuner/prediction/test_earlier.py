"""An earlier study says where to look of its own data, and what to expect of others."""

import numpy as np
import pytest

from tests.support import worlds
from tests.support.noisy_curves import SPACE, flat, hump, observe, rise
from tests.support.priors import families, prior
from tuner.analysis.curves.families import NODES
from tuner.analysis.curves.model import CurveModel, Expectation
from tuner.analysis.curves.observations import Observations
from tuner.analysis.decision import choose
from tuner.data import from_arrays
from tuner.errors import SpecError
from tuner.prediction.earlier import WEIGHT, EarlierStudy, resembled
from tuner.prediction.sketch import sketch
from tuner.study.prior import EarlierShare, Prior
from tuner.study.result import ModelledScore
from tuner.study.spec import StudySpec
from tuner.study.study import Study

GRID = np.linspace(0, 1, 49)
LAMBDAS = SPACE.to_lambda(GRID)
TARGETS = ("a", "b", "joint")


@pytest.fixture(scope="module")
def study():
    return Study.of(StudySpec(), worlds.null(0, rows=200))


def score(gains, error=0.001, *, base=0.7):
    gains = np.asarray(gains, dtype=float)
    reach = 1.959964 * error * (gains * 0 + 1)
    reach[0] = 0
    mean = base + gains
    return ModelledScore(mean=tuple(mean), low=tuple(mean - reach), high=tuple(mean + reach))


def answer(gains=0.03 * GRID, metric="accuracy", **changes):
    told = {n: score(gains).model_dump() for n in TARGETS} | {"lambda": tuple(LAMBDAS)}
    return {
        "joint": {"interval": (0.5, 4.0)},
        "metric": {"name": metric},
        "curve_model": told,
    } | changes


def earlier(result=None, *, fingerprint="0" * 64, rows=None):
    return EarlierStudy.of("0123456789abcdef", "theirs", fingerprint, result or answer(), rows)


def test_of_the_same_data_it_says_where_its_best_is(study):
    begun = earlier(fingerprint=study.dataset.fingerprint).begins(study)
    assert begun.spec.warm_start.model_dump() == {
        "study": "0123456789abcdef",
        "interval": (0.5, 4.0),
    }
    assert begun.spec.prior is None
    # As of an answer that says nothing else.
    short = EarlierStudy.of(
        "s", "n", study.dataset.fingerprint, {"joint": {"interval": (0, 1)}}, None
    )
    assert short.begins(study).spec.warm_start.interval == (0, 1)


def test_of_other_data_its_curve_is_one_family_with_a_small_weight(study):
    begun = earlier().begins(study)
    told = begun.spec.prior
    assert begun.spec.warm_start is None
    assert (told.source, told.corpus, told.weight) == ("none", "", WEIGHT)
    assert told.earlier.model_dump() == {
        "study": "0123456789abcdef",
        "name": "theirs",
        "weight": WEIGHT,
    }
    for target in TARGETS:
        (mean,), (covariance,) = told.targets[target].means, told.targets[target].covariances
        assert mean == pytest.approx(0.03 * NODES, abs=1e-3)
        # Half as far off at the largest λ as it is large: the root of the mean of (.03 u)².
        half = np.sqrt(np.mean((0.03 * NODES) ** 2)) / 2
        assert np.sqrt(covariance[-1][-1]) == pytest.approx(half, rel=0.05)
        assert told.targets[target].interval is None
    assert begun.id != study.id
    other = earlier(answer(0.02 * GRID)).begins(study)
    assert other.id != begun.id
    assert StudySpec.model_validate_json(begun.spec.model_dump_json()) == begun.spec


def test_it_joins_what_is_expected_already(study):
    before = prior(families(0.02 * NODES, -0.02 * NODES))
    expecting = Study.of(study.spec.model_copy(update={"prior": before}), study.dataset)
    told = earlier().begins(expecting).spec.prior
    assert (told.source, told.corpus) == (before.source, before.corpus)
    assert told.weight == pytest.approx(WEIGHT + (1 - WEIGHT) * before.weight)
    for target in TARGETS:
        shares = np.array(told.targets[target].shares)
        assert told.weight * shares == pytest.approx([0.225, 0.225, WEIGHT])
        assert told.targets[target].means[:2] == before.targets[target].means
        assert told.targets[target].interval == before.targets[target].interval


def test_what_it_saw_under_a_prior_of_its_own_is_told_without_that(study):
    alone = score(-0.01 * GRID).model_dump()
    result = answer(prior={"targets": {n: {"curve": alone} for n in TARGETS}})
    (mean,) = earlier(result).begins(study).spec.prior.targets["joint"].means
    assert mean[-1] == pytest.approx(-0.01, abs=2e-3)


def test_beyond_its_last_strength_it_knows_less():
    whole = resembled(LAMBDAS, score(0.03 * GRID), 0.01)
    short = SPACE.to_lambda(GRID / 2)
    half = resembled(short, score(0.015 * GRID), 0.01)
    spread = [np.sqrt(np.diagonal(each.covariances[0])) for each in (whole, half)]
    assert half.means[0][:4] == pytest.approx(0.03 * NODES[:4], abs=2e-3)
    assert np.all(np.diff(spread[1][4:]) > 0)
    grown = [each[7] / each[3] for each in spread]
    assert grown[1] > 1.4 * grown[0]


def test_a_flat_curve_is_not_taken_for_sure_and_an_unsure_one_for_less():
    flat_one = resembled(LAMBDAS, score(0 * GRID, 1e-5), 0.01)
    assert np.sqrt(flat_one.covariances[0][-1, -1]) == pytest.approx(0.005, rel=0.02)
    unsure = resembled(LAMBDAS, score(0.03 * GRID, 0.02), 0.01)
    sure = resembled(LAMBDAS, score(0.03 * GRID), 0.01)
    assert unsure.covariances[0][-1, -1] > 1.5 * sure.covariances[0][-1, -1]
    assert abs(unsure.means[0][-1]) < abs(sure.means[0][-1])


def test_of_errors_lower_is_better():
    errors = resembled(LAMBDAS, score(-0.03 * GRID), 0.01, sign=-1)
    assert errors.means[0] == pytest.approx(0.03 * NODES, abs=1e-3)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (answer(metric="r2"), "its gains are of r2, not of accuracy: leave it out"),
        (answer(metric=None), "its gains are of no known metric"),
        (answer(curve_model=None), "of an earlier version, has no modelled curve"),
    ],
)
def test_what_says_nothing_of_a_study_is_refused_and_why(study, result, said):
    with pytest.raises(SpecError, match=f"^--warm-start 0123456789abcdef: .*theirs.*{said}"):
        earlier(result).begins(study)


def test_errors_in_units_of_the_labels_say_nothing_of_others():
    rng = np.random.default_rng(0)
    data = from_arrays(
        {"a": rng.normal(size=(90, 3)), "b": rng.normal(size=(90, 3)), "y": rng.normal(size=90)}
    )
    with pytest.raises(SpecError, match="mae are in the units of its own labels"):
        earlier(answer(metric="mae")).begins(Study.of(StudySpec(task="regression"), data))


def test_rows_that_both_have_are_no_other_data(study):
    rows = sketch(study.dataset)
    with pytest.raises(SpecError, match="it has rows of these"):
        earlier(rows=rows).begins(study)
    others = sketch(worlds.null(1, rows=200))
    assert earlier(rows=others).begins(study).spec.prior is not None


def seen(curve, seed, trials=4):
    u = np.linspace(0, 1, trials)
    scores, resampled = observe(np.random.default_rng([seed, trials]), u, 4, curve)
    return Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)


def like(curve, sign=1.0):
    return Expectation(
        families=resembled(LAMBDAS, score(sign * curve(GRID), 0.005), 0.01).told(None),
        weight=WEIGHT,
    )


@pytest.mark.slow
@pytest.mark.parametrize("curve", [rise(0.04), hump(0.04, 0.6), rise(-0.04)])
def test_of_like_data_regret_does_not_rise_and_of_opposite_little_is_lost(curve):
    """Of planted curves, with as few trainings as a search may have."""
    truth, lost = curve(GRID), {"none": [], "like": [], "flipped": []}
    for seed in range(16):
        at = seen(curve, seed)
        for name, told in (
            ("none", None),
            ("like", like(curve)),
            ("flipped", like(curve, -1.0)),
        ):
            star = choose(at, SPACE, seed=seed, expected=told).best
            lost[name].append(truth.max() - np.interp(SPACE.to_unit(star), GRID, truth))
    none, same, flipped = (float(np.mean(lost[name])) for name in ("none", "like", "flipped"))
    assert same <= none + 1e-4
    assert flipped <= none + 0.03  # points of accuracy
    assert max(lost["flipped"]) < 0.04


@pytest.mark.parametrize("curve", [flat, rise(0.04)])
def test_without_weight_it_is_as_if_there_were_none(curve):
    told = like(curve)
    at = seen(curve, 0)
    nothing = choose(at, SPACE, seed=1)
    weightless = Prior(
        source="none",
        corpus="",
        weight=0,
        targets={"joint": told.families},
        earlier=EarlierShare(study="s", name="n", weight=0),
    )
    expected = Expectation.of(weightless, "joint")
    assert expected is None
    assert choose(at, SPACE, seed=1, expected=expected) == nothing


def test_what_is_believed_of_each_family_is_what_all_are_believed():
    told = Expectation(families=families(0.04 * NODES, -0.04 * NODES), weight=0.5)
    model = CurveModel.fit(seen(rise(0.04), 3), SPACE, told)
    assert sum(model.by_family) == pytest.approx(model.believed)
    up, down = model.by_family
    assert up > 0.3 > 0.01 > down
