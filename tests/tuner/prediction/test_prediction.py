"""Predictions against planted truths, and their limits: own rows, and what is like nothing past."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from tests.support.worlds import helps, regression
from tuner.analysis.curves.families import NODES
from tuner.data import from_arrays
from tuner.data.formats.examples import EXAMPLES
from tuner.models.config import TrainingConfig
from tuner.prediction.corpus import shipped
from tuner.prediction.features import Features
from tuner.prediction.model.forecast import UNITS, Expected, Past
from tuner.prediction.prediction import predict, size
from tuner.prediction.record import Curve, Record
from tuner.study.space import LambdaSpace
from tuner.study.spec import StudySpec
from tuner.study.study import Study, read_dataset

LAMBDAS = LambdaSpace().to_lambda(NODES)
RISES, FALLS = 0.05 * NODES, -0.04 * NODES**2


def planted(number, rng, seeds=4):
    """A study that aligning helps where a feature is high, and harms where it is low."""
    told = rng.normal()
    curve = (RISES if told > 0 else FALLS) + 0.01 * rng.normal() * NODES
    noise = 0.006 * rng.normal(size=(NODES.size, seeds))
    side = {"few": told, "aligned": rng.normal()}
    seen = Curve(
        lambdas=LAMBDAS,
        gains=curve[:, None] + noise,
        rows=0.002**2 * np.eye(NODES.size),
        baseline=0.5,
        scored=500,
    )
    return Record(
        name=f"planted {number}",
        source=f"planted {number // 2}",
        licence="none",
        origin="here",
        study=None,
        sketch={"a": (), "b": ()},
        training={},
        features=Features(common={"rows": rng.normal()}, a=side, b=side),
        curves=dict.fromkeys(("a", "b", "joint"), seen),
    ), curve


@pytest.mark.slow
def test_planted_curves_are_found_from_their_features():
    """Of curves that no record is of, the 80 % band covers 70 to 95 %, and helps is known."""
    rng = np.random.default_rng(1)
    past = Past.of([planted(n, rng)[0] for n in range(80)], "joint")
    covered, brier, good = [], [], []
    for number in range(60):
        record, curve = planted(1000 + number, rng)
        expected = Expected.of(past.draws(record.features.vector("joint")), 0.01)
        at = [int(np.abs(UNITS - u).argmin()) for u in NODES]
        covered.append(np.mean((expected.low[at] <= curve) & (curve <= expected.high[at])))
        brier.append((expected.helps - (curve.max() >= 0.01)) ** 2)
        good.append(max(curve.max(), 0) - np.interp(expected.best, [0, *NODES], [0, *curve]) < 0.01)
        assert expected.helps + expected.harms + expected.neither == pytest.approx(1)
        assert expected.interval[0] <= expected.best <= expected.interval[1]
    assert 0.7 < np.mean(covered) < 0.95
    assert np.mean(brier) < 0.125  # half of what the base rate has
    assert np.mean(good) > 0.85


def test_probabilities_and_band_are_those_of_the_draws():
    draws = np.zeros((100, UNITS.size))
    draws[:60, 20:] = 0.03
    draws[60:80, 10:] = -0.02
    told = Expected.of(draws, 0.01)
    assert (told.helps, told.harms, told.neither) == pytest.approx((0.6, 0.2, 0.2))
    assert told.best == UNITS[20]
    assert told.mean[-1] == pytest.approx(0.6 * 0.03 - 0.2 * 0.02)
    assert (told.low[25], told.high[25]) == pytest.approx((-0.02, 0.03))


@pytest.mark.parametrize(
    ("gain", "seeds", "rows"), [(0.03, 16, 400), (0.002, 16, 400), (-0.05, 8, 900)]
)
def test_the_size_is_the_least_that_decides(gain, seeds, rows):
    """Against a naive search by Student's t."""
    rng = np.random.default_rng(3)
    record = planted(1, rng)[0]
    curve = replace(record.curves["a"], gains=0.02 * rng.normal(size=(8, 6)))
    of_seeds = np.median(curve.gains.var(axis=1, ddof=1))
    of_rows = 0.002**2 * 500
    distance = gain if gain >= 0.005 else 0.01 - gain

    def decide(s, n):
        reach = stats.t.ppf(0.975, s - 1) + stats.norm.ppf(0.8)
        return reach * np.sqrt(of_seeds / s + of_rows / n) <= distance

    def least_of(counts, enough):
        return int(counts[np.argmax(enough)]) if enough.any() else None

    told = size([curve], gain, 0.01, seeds=seeds, rows=rows)
    each = np.arange(2, 1001)
    assert told.seeds == least_of(each, decide(each, rows))
    every = np.arange(20, 10**6)
    least = least_of(every, decide(seeds, every))
    assert (told.rows is None) == (least is None)
    if least is not None:
        assert least <= told.rows <= 1.06 * least + 1


def mfeat_few():
    spec = StudySpec()
    return Study.of(spec, read_dataset(spec, "mfeat-few"))


@pytest.fixture(scope="module")
def told():
    return predict(mfeat_few(), shipped())


@pytest.mark.slow
def test_no_record_of_the_same_rows_has_a_part(told):
    """Neither those of its own views, nor siblings of the same digits in other views."""
    others = sum(record.source != "mfeat" for record in shipped().records)
    assert told.corpus.used == others
    assert told.corpus.left_out == len(shipped().records) - others > 0
    assert all("mfeat" not in each.source for each in told.alike)
    with np.load(EXAMPLES["mfeat"].path) as file:
        arrays = {"a": file["zer"][::3], "b": file["fac"][::3], "y": file["y"][::3]}
    third = Study.of(StudySpec(), from_arrays(arrays, name="third", seed=0))
    assert predict(third, shipped()).corpus.left_out == told.corpus.left_out


@pytest.mark.slow
def test_it_has_the_form_that_scripts_read(told):
    read = told.model_dump(mode="json")
    assert set(read["targets"]) == {"a", "b", "joint"}
    for target in read["targets"].values():
        assert {"lambda", "interval", "probability", "curve"} <= set(target)
        assert target["interval"][0] <= target["lambda"] <= target["interval"][1]
        assert sum(target["probability"].values()) == pytest.approx(1)
        first, *_, last = target["curve"]
        assert first == {"lambda": 0.0, "mean": 0.0, "low": 0.0, "high": 0.0}
        assert last["lambda"] == 4.0
        assert all(p["low"] <= p["mean"] <= p["high"] for p in target["curve"])


@pytest.mark.slow
def test_the_same_question_has_the_same_answer_on_any_number_of_threads(told):
    with threadpool_limits(2):
        assert predict(mfeat_few(), shipped()) == told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"training": TrainingConfig(epochs=7)}, "--epochs 7, where past studies have 100"),
        ({"max_lambda": 9.0}, "--max-lambda 9, where the corpus reaches to 4"),
        ({"max_lambda": 0.01}, "--max-lambda 0.01, where the corpus begins at 0.012"),
        (
            {"training": TrainingConfig(max_steps=20)},
            "--max-steps 20, where past studies have 10",
        ),
        ({"metric": "macro_f1"}, "--metric macro_f1, where the corpus has accuracy alone"),
    ],
)
def test_settings_outside_of_the_corpus_have_no_prediction(options, words):
    study = Study.of(StudySpec(**options), helps(rows=400, labelled=60))
    told = predict(study, shipped())
    assert words in "\n".join(told.outside)
    assert (told.targets, told.alike) == ({}, [])


def test_values_are_outside_of_a_corpus_of_classes():
    told = predict(Study.of(StudySpec(), regression(0)), shipped())
    assert told.outside == ["task: regression, where the corpus has classification alone"]


@pytest.mark.slow
def test_data_outside_of_the_corpus_are_named_with_its_reach():
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 120
    arrays = {side: rng.normal(size=(1200, 4)).astype(np.float32) for side in "ab"}
    told = predict(
        Study.of(StudySpec(), from_arrays(arrays | {"y": y}, name="many", seed=0)), shipped()
    )
    (line,) = [line for line in told.outside if line.startswith("classes: ")]
    most = max(round(np.exp(r.features.common["classes"])) for r in shipped().records)
    assert line == f"classes: 120, where the corpus reaches from 2 to {most}"
    assert told.targets == {}
