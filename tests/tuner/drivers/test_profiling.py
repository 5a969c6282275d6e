"""A profile that another process computes is the one that this process would."""

import numpy as np
import pytest

from tests.support import worlds
from tuner.data import Split, from_arrays
from tuner.data.information import profile as profiles
from tuner.data.information.profile import information_profile, profiled_rows
from tuner.drivers import profiling
from tuner.drivers.profiling import Profiling
from tuner.execution import helper
from tuner.study.spec import StudySpec
from tuner.study.study import Study

pytestmark = pytest.mark.integration


def numbers(rng):
    a = rng.normal(size=(400, 6))
    return {"a": a, "b": a[:, :3] + rng.normal(size=(400, 3)), "y": (a[:, 0] > 0).astype(int)}


def values_in_groups(rng):
    arrays = numbers(rng)
    return arrays | {"y": arrays["a"][:, 0], "group": np.arange(400) // 4}


def texts(rng):
    arrays = numbers(rng)
    words = np.where(arrays["y"], "the cat sat on a mat", "dogs run in the park")
    noise = rng.choice(["often", "seldom", "never"], 400)
    return arrays | {"a": [f"{one} {other}" for one, other in zip(words, noise, strict=True)]}


def few_labels_of_copies(rng):
    arrays = {name: np.concatenate([each, each[:50]]) for name, each in numbers(rng).items()}
    return arrays | {"y": np.where(rng.random(450) < 0.4, arrays["y"], -1)}


DATA = (numbers, values_in_groups, texts, few_labels_of_copies)


def study_of(make, seed=3):
    dataset = from_arrays(make(np.random.default_rng(0)), name="profiled")
    return Study.of(StudySpec(seed=seed), dataset)


@pytest.mark.parametrize("make", DATA)
def test_another_process_computes_the_same(make):
    study = study_of(make)
    with Profiling(study):
        assert not study.is_profiled
    assert study.is_profiled
    assert study.profile == information_profile(study.dataset, seed=3)


@pytest.mark.parametrize("make", DATA)
def test_the_rows_that_a_profile_is_of_have_it_alone(monkeypatch, make):
    monkeypatch.setattr(profiles, "_ROWS", 150)
    monkeypatch.setattr(profiles, "_RESAMPLES", 20)
    dataset = study_of(make).dataset
    rows = profiled_rows(dataset)
    few = dataset.taken(rows)
    assert few.rows == len(rows) <= 150
    assert Split.TEST not in few.split
    assert information_profile(few) == information_profile(dataset)


def nobody_answers(monkeypatch):
    monkeypatch.setattr(helper, "_SERVE", "raise SystemExit(3)")


def too_many_rows(monkeypatch):
    monkeypatch.setattr(profiling, "_MOST", 1000)


def no_process_starts(monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)


@pytest.mark.parametrize("fault", [nobody_answers, too_many_rows, no_process_starts])
def test_where_that_is_in_vain_the_study_makes_its_own(monkeypatch, fault):
    fault(monkeypatch)
    study = Study.of(StudySpec(), worlds.null(0, rows=200))
    with Profiling(study):
        pass
    assert not study.is_profiled
    assert study.profile == information_profile(study.dataset)
