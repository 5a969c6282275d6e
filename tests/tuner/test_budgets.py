"""A search that its budget ends: its answer says so, and answers no other question."""

import pytest

from tests.support.rules import starts
from tests.tuner.service.conftest import QUICK, arrays
from tuner import Settings, Study, run
from tuner.data import from_arrays
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.budget import Budget
from tuner.study.spec import spec_from_options

pytestmark = pytest.mark.system


def test_a_search_that_was_cut_short_says_so_and_is_no_answer_to_the_whole(
    new_home, tmp_path, monkeypatch
):
    starts("Ray")
    monkeypatch.setenv("TUNER_HOME", str(new_home(tmp_path)))
    options = QUICK | {"trials": 6, "batch": 1}
    short = run(arrays(), step_budget=1, workers=1, **options)
    assert len(short.curve) < 6
    (words,) = (words for words in short.warnings if "were tried" in words)
    assert words.startswith(f"{len(short.curve)} of 6 λs were tried: the step budget of 1 gradient")
    report = (tmp_path / "reports" / short.study / "report.html").read_text()
    assert f"{len(short.curve)} of the 6 asked values of λ" in report
    whole = Study.of(spec_from_options(options), from_arrays(arrays(), name="arrays"))
    assert whole.within(Budget(steps=1)).id == short.study
    with Database(Settings().store_url) as database:
        store = StudyStore(database)
        assert store.get(short.study) is not None
        assert store.get(whole.id) is None
