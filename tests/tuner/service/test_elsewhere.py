"""Trainings elsewhere by REST: one service, studies of their own."""

import io
import json
import pickle
import threading

import numpy as np
import pytest

from tests.support.scripted import SCRIPT, answer, reporting
from tests.support.servers import until
from tests.tuner.service.conftest import refused
from tuner.scripts.told import Told
from tuner.service.guard.bodies import SCORES_FILE_LIMIT, SCORES_LIMIT
from tuner.service.processes.driver import run
from tuner.storage.handouts import Handouts
from tuner.storage.studies import StudyStore
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import outcome_of
from tuner.study.spec import MOST_SEEDS
from tuner.study.trial import TrialRequest

pytestmark = pytest.mark.integration
OPTIONS = {"trials": 4, "batch": 2, "seed": 5}
SPEC = ScriptSpec(**OPTIONS)
REPORT = reporting(lambda strength: 0.6 + 0.1 * strength * (2 - strength), noise=0.005)
OF_ITS_OWN = {"cost", "mlflow", "unpublished", "study", "script", "name"}


@pytest.fixture
def ada(shared_service):
    """A client of a user who has a study of her own, of which two trainings are wanted."""
    with shared_service.client("ada") as client:
        yield client


@pytest.fixture
def study(shared_service, ada, request):
    """A study of which two trainings are wanted, and no driver asks for more."""
    study = ada.submit_elsewhere("train.py", request.node.name[:64], **OPTIONS)
    requests = [
        TrialRequest(phase="search", number=0, strength=0.0, seeds=(11,)),
        TrialRequest(phase="confirm", number=1, strength=0.5, seeds=(12,)),
    ]
    Handouts(shared_service.database).offer(study["study"], requests)
    return study["id"]


def report_of(asked):
    request = TrialRequest(
        phase=asked["phase"],
        number=asked["trial"],
        strength=asked["strength"],
        seeds=(asked["seed"],),
    )
    return Told.of(REPORT(request))


def test_two_workers_answer_a_study_as_trainings_here_do(shared_service, new_home, ada):
    new_home(shared_service.settings.home)
    study = ada.submit_elsewhere("train.py", "abc123", **OPTIONS)
    driver = threading.Thread(
        target=run, args=(study["study"], shared_service.settings), daemon=True
    )
    driver.start()
    trained = []

    def step():
        asked = [ada.ask(study["id"], worker) for worker in ("one", "two")]
        for each in asked:
            if each["state"] == "train":
                trained.append((each["strength"], each["seed"], each["phase"]))
                ada.tell(study["id"], each["lease"], report_of(each))
                ada.tell(study["id"], each["lease"], report_of(each))  # as after a lost answer
        return asked[0]["state"] == "done"

    until(step, 90.0)
    driver.join()
    assert len(set(trained)) == len(trained)
    told = json.loads(ada.result(study["id"]).model_dump_json(exclude=OF_ITS_OWN))
    expected, _ = answer(SPEC, REPORT)
    assert told == json.loads(expected.model_dump_json(exclude=OF_ITS_OWN))
    shown = ada.status(study["id"])
    main = expected.answer
    assert (shown["status"], shown["phase"], shown["metric"]) == ("done", "done", "acc")
    assert (shown["lambda"], shown["verdict"]) == (main.strength, main.verdict)
    assert shown["gain"] == main.test.gain
    assert ada.curve(study["id"]).startswith("lambda,target")
    assert ada.result(study["id"]).mlflow is not None
    again = ada.submit_elsewhere("train.py", "abc123", **OPTIONS)
    assert again["answered_from_store"]
    assert refused(lambda: ada.extend(study["id"]), 409)
    assert refused(lambda: ada.download(study["id"], "a", "nowhere.zip"), 409)
    assert refused(lambda: ada.submit("mfeat", warm_start=study["id"]), 422)


def test_workers_are_told_what_share_of_a_training_it_is(shared_service, ada):
    study = ada.submit_elsewhere("train.py", "halving", trials=6, halving=3)
    numbers = {"rung": (0, 6 * MOST_SEEDS), "search": (1,)}
    requests = [
        TrialRequest(phase=phase, number=number, strength=0.0, seeds=(number,))
        for phase, of in numbers.items()
        for number in of
    ]
    Handouts(shared_service.database).offer(study["study"], requests)
    asked = [ada.ask(study["id"], worker) for worker in "abc"]
    assert [each["share"] for each in asked] == [1 / 9, 1 / 3, 1.0]
    ada.heartbeat(study["id"], asked[0]["lease"])
    assert ada.ask(study["id"], "a")["share"] == 1 / 9


def test_what_cannot_be_used_is_refused_and_the_training_is_still_its_workers(ada, study):
    asked = ada.ask(study, "one")
    wrong = {
        "is not finite": {"acc": [1e999, 0.0]},
        "came with a training of the search": {"acc": [1, 0], "acc_test": [1, 0]},
        "is one number": {"acc": 0.5},
        "no list of numbers": {"acc": [[1, 0], [1]]},
        "holds long texts": {"acc": [1, 0], "row_id": ["a" * 40_000] + ["b"] * 1000},
        "holds no target": {},
        "more than once": {"acc": [1, 0], "row_id": [1, 1]},
    }
    for words, scores in wrong.items():
        told = Told.model_construct(scores=scores, curves={}, seconds=1.0, saved=None)
        assert words in refused(lambda told=told: _raw(ada, study, asked["lease"], told), 422)
    assert ada.ask(study, "one")["lease"] == asked["lease"]
    ada.tell(study, asked["lease"], "it ran out of memory")
    confirming = ada.ask(study, "one")
    assert confirming["confirming"]
    told = Told(scores={"acc": [1, 0]})
    assert "acc_test" in refused(lambda: ada.tell(study, confirming["lease"], told), 422)


def _raw(client, study, lease, told):
    """Tell JSON as Python writes it: with Infinity and NaN."""
    content = json.dumps({"lease": lease, "reported": {"scores": told.scores}})
    headers = {"Content-Type": "application/json"}
    client._send("POST", f"/studies/{study}/tell", content=content, headers=headers)


def test_many_rows_are_told_in_a_file_as_they_would_be_in_json(shared_service, ada, study):
    asked = ada.ask(study, "one")
    rng = np.random.default_rng(0)
    scores = {"acc": rng.random(200_000).round(3).tolist(), "row_id": list(range(200_000))}
    told = Told(scores=scores, curves={"validation_loss": [1.0, None]}, seconds=3.0, saved="/x")
    ada.tell(study, asked["lease"], told)
    ada.tell(study, asked["lease"], told)  # as after a lost answer
    of_it = ada.status(study)["study"]
    (trial,) = StudyStore(shared_service.database).trials(of_it)
    expected = outcome_of(told.reported(confirming=False), trial.request)
    assert trial.outcome.to_bytes() == expected.to_bytes()


def test_what_is_no_file_of_scores_is_refused_and_the_training_stays(ada, study, monkeypatch):
    monkeypatch.setattr("tuner.client._IN_JSON", 0)
    asked = ada.ask(study, "one")
    told = Told(scores={"acc": [1, 0]})
    bomb, pickled = io.BytesIO(), io.BytesIO()
    np.savez_compressed(bomb, acc=np.zeros(2**25))  # 256 MiB of nothing
    np.savez(pickled, acc=np.array([print], dtype=object))
    contents = {
        "of 128.0 MiB. Save only the arrays that are needed, as float32.": bomb.getvalue(),
        "which only unpickling could read": pickled.getvalue(),
        "nothing is ever unpickled": pickle.dumps([1]),
        "not a whole .npz archive": b"PK no archive",
        "came with a training of the search": Told(
            scores={"acc": [1, 0], "acc_test": [1, 0]}
        ).archive(),
    }
    for words, content in contents.items():
        monkeypatch.setattr(Told, "archive", lambda _, content=content: content)
        assert words in refused(lambda: ada.tell(study, asked["lease"], told), 422)
    monkeypatch.setattr(Told, "archive", lambda _: bytes(SCORES_FILE_LIMIT + 2**16))
    assert refused(lambda: ada.tell(study, asked["lease"], told), 413)
    assert ada.ask(study, "one")["lease"] == asked["lease"]


def test_a_lease_that_is_over_counts_until_another_has_the_training(shared_service, ada, study):
    handouts, of_it = Handouts(shared_service.database), ada.status(study)["study"]
    late = ada.ask(study, "one")
    handouts.keep(of_it, late["lease"], -1.0)
    other = ada.ask(study, "two")
    assert (other["strength"], other["seed"]) == (late["strength"], late["seed"])
    assert "another worker" in refused(lambda: ada.tell(study, late["lease"], "late"), 409)
    assert refused(lambda: ada.heartbeat(study, late["lease"]), 409)
    handouts.keep(of_it, other["lease"], -1.0)
    ada.tell(study, other["lease"], report_of(other))
    assert ada.status(study)["trials"] == 1
    assert ada.ask(study, "three")["seed"] != other["seed"]
    assert ada.ask(study, "four")["state"] == "wait"


def test_what_is_given_back_is_handed_out_and_what_is_cancelled_is_not(ada, study):
    first = ada.ask(study, "one")
    ada.release(study, first["lease"])
    second = ada.ask(study, "two")
    assert second["seed"] == first["seed"]
    ada.cancel(study)
    assert ada.ask(study, "two")["state"] == "done"
    assert "cancelled" in refused(lambda: ada.tell(study, second["lease"], "no"), 409)


def test_nobody_else_has_a_part_in_it(shared_service, ada, study):
    asked = ada.ask(study, "one")
    with shared_service.client("eve") as eve:
        ada.share(study, "eve")
        for act in (
            lambda: eve.ask(study, "one"),
            lambda: eve.tell(study, asked["lease"], "no"),
            lambda: eve.heartbeat(study, asked["lease"]),
            lambda: eve.release(study, asked["lease"]),
        ):
            assert refused(act, 403)
        code, digest = "train.py", ada.status(study)["spec"]["script"]["digest"]
        hers = eve.submit_elsewhere(code, digest, **OPTIONS)  # the same question, but hers
        assert hers["study"] != ada.status(study)["study"]
        assert refused(lambda: eve.heartbeat(hers["id"], asked["lease"]), 409)
        assert eve.ask(hers["id"], "one")["state"] == "wait"
    assert ada.ask(study, "one")["lease"] == asked["lease"]


def test_bodies_and_options_are_bounded(ada, study):
    content = b" " * (SCORES_LIMIT + 1)
    assert refused(lambda: ada._send("POST", f"/studies/{study}/tell", content=content), 413)
    for options in (
        {"trials": 2},
        {"looks": [5]},
        {"ranks": 2},
        {"target": "a\0b"},
        {"name": "n" * 65},
    ):
        assert refused(lambda options=options: ada.submit_elsewhere("c", "d", **options), 422)
    assert refused(lambda: ada.submit_elsewhere("c", "../d"), 422)


def test_it_is_the_study_that_is_asked_about():
    study = ScriptStudy.of(SPEC, SCRIPT)
    again = ScriptStudy.read(study.id, json.loads(json.dumps(study.written)))
    assert (again.id, again.spec, again.script) == (study.id, study.spec, study.script)
