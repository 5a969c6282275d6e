import os
import pkgutil

import numpy as np
import pytest

import tuner
from tuner.errors import ScriptError
from tuner.scripts.reported import Reported
from tuner.scripts.scores import read_scores
from tuner.scripts.told import Told
from tuner.scripts.trial import RANKS, Trial, current_trial

ROWS = np.arange(6) % 2


def trial(folder, **options):
    return Trial(strength=0.1, seed=1, folder=folder, **options)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The environment of a training of a study."""
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    given = trial(tmp_path, checkpoint=tmp_path / "checkpoint", confirming=True)
    for name, value in given.to_environment().items():
        monkeypatch.setenv(name, value)
    return given


def test_outside_of_a_study_nothing_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_TRIAL", raising=False)
    found = tuner.current_trial(strength=0.25, seed=7)
    assert (found.strength, found.seed, found.confirming) == (0.25, 7, False)
    tuner.report(acc=ROWS)
    tuner.report_test(acc=ROWS)
    found.epoch(1.0)
    found.save("nowhere")
    assert not any(tmp_path.iterdir())


def test_the_environment_tells_the_trial(told):
    assert current_trial(strength=9.0) == told
    assert os.environ["TUNER_CONFIRMING"] == "1"
    tuner.report(acc=ROWS)
    tuner.report_test(acc=ROWS[:4])
    validation, test = read_scores(told.folder, confirming=True)
    assert (validation.rows("acc"), test.rows("acc")) == (6, 4)


@pytest.mark.parametrize("variable", RANKS)
def test_ranks_above_the_first_report_nothing(told, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    found = current_trial()
    assert found.strength == told.strength
    found.report(acc=[np.nan])
    found.epoch("no number")
    found.save("nowhere")
    assert not any(told.folder.iterdir())
    monkeypatch.setenv(variable, "0")
    assert current_trial().reports


def test_the_rank_among_all_counts_before_that_on_a_machine(told, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("RANK", "8")
    assert not current_trial().reports


def test_no_module_hides_a_function_of_its_name():
    inside = {module.name for module in pkgutil.iter_modules(tuner.__path__)}
    assert set(tuner.__all__) & inside == set()


def test_tensors_are_taken_wherever_they_are(tmp_path):
    import torch

    score = torch.linspace(0, 1, 5, requires_grad=True).to(torch.bfloat16)
    trial(tmp_path).report(score=score, correct=score > 0.5)
    scores = read_scores(tmp_path, confirming=False)[0].scores
    assert np.array_equal(scores["score"], score.detach().float().numpy())
    assert np.array_equal(scores["correct"], [0, 0, 0, 1, 1])


def test_targets_may_come_one_by_one_and_again(tmp_path):
    ids = np.arange(6)[::-1]
    trial(tmp_path).report(acc=1 - ROWS, row_id=ids + 100)
    trial(tmp_path).report(acc=ROWS, row_id=ids)
    trial(tmp_path).report(f1=ROWS[::-1], row_id=ids[::-1])
    rows = read_scores(tmp_path, confirming=False)[0]
    assert rows.row_ids.tolist() == list(range(6))
    assert np.array_equal(rows.scores["acc"], ROWS[::-1])
    assert np.array_equal(rows.scores["f1"], ROWS[::-1])
    with pytest.raises(ScriptError, match="'f1' and 'acc' come with other row_id"):
        trial(tmp_path).report(f1=ROWS, row_id=ids + 1)


def test_groups_go_with_the_rows_of_their_ids(tmp_path):
    ids = np.arange(6)[::-1]
    who = np.array(["x", "x", "y", "y", "z", "z"])
    trial(tmp_path).report(acc=ROWS, row_id=ids, group=who)
    trial(tmp_path).report(f1=ROWS, row_id=ids)
    rows = read_scores(tmp_path, confirming=False)[0]
    assert rows.groups.tolist() == who[::-1].tolist()
    assert set(rows.scores) == {"acc", "f1"}
    reported = Reported(**vars(rows))
    again = Told.model_validate_json(Told.of(reported).model_dump_json())
    told = again.reported(confirming=False)
    assert told.groups.tolist() == rows.groups.tolist()
    assert told.validation.words == rows.words


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"acc": ROWS, "group": [1, 2]}, "'acc' has 6 rows and 'group' has 2"),
        ({"acc": ROWS, "group": [0.5] * 6}, "One whole number or text per row"),
        ({"acc": ROWS, "group": [7] * 6}, "all rows in one group"),
        ({"acc": 0.5, "rows": 40, "group": [1, 2]}, "came as a mean, of which 'group' cannot tell"),
    ],
)
def test_groups_that_say_nothing_are_named(tmp_path, told, words):
    with pytest.raises(ScriptError, match=words):
        trial(tmp_path).report(**told)


def test_a_mean_gives_way_to_rows(tmp_path):
    trial(tmp_path).report(acc=0.5, rows=40)
    assert read_scores(tmp_path, confirming=False)[0].counts == {"acc": 40}
    trial(tmp_path).report(acc=ROWS)
    rows = read_scores(tmp_path, confirming=False)[0]
    assert rows.counts == {}
    assert np.array_equal(rows.scores["acc"], ROWS)


@pytest.mark.parametrize("name", ["file", "allow_pickle", "recall@5", "acc.top-1"])
def test_names_of_targets_are_free_as_far_as_they_are_plain(tmp_path, name):
    trial(tmp_path).report(**{name: ROWS})
    assert list(read_scores(tmp_path, confirming=False)[0].scores) == [name]


@pytest.mark.parametrize("inside", [True, False])
def test_a_model_is_handed_over_wherever_it_was_saved(tmp_path, inside):
    out = tmp_path / "out"
    folder = (out if inside else tmp_path) / "model"
    folder.mkdir(parents=True)
    out.mkdir(exist_ok=True)
    (folder / "weights").write_text("1")
    trial(out).save(folder)
    assert (out / "saved" / "weights").read_text() == "1"
    assert folder.exists() == (not inside)
    trial(out).save(out / "saved")
    assert (out / "saved" / "weights").read_text() == "1"
    with pytest.raises(ScriptError, match=r"holds more than the model: save it in .*out/saved"):
        trial(out).save(out)
