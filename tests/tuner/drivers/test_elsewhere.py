"""Trainings of others give the answer that trainings here give."""

import json
import threading
from contextlib import contextmanager

import pytest

from tests.support.scripted import SCRIPT, answer, reporting
from tests.support.servers import until
from tuner.drivers.elsewhere import answer_elsewhere
from tuner.errors import StudyFailedError
from tuner.scripts.told import Told
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.handouts import ELSEWHERE, Handouts
from tuner.storage.studies import StudyStore
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import outcome_of
from tuner.study.trial import FinishedTrial

pytestmark = pytest.mark.integration
SPEC = ScriptSpec(trials=4, batch=2, seed=5)
REPORT = reporting(lambda strength: 0.6 + 0.1 * strength * (2 - strength), noise=0.005)
COSTS = {"cost", "mlflow", "unpublished"}


@pytest.fixture
def settings(new_home, tmp_path):
    return Settings(home=new_home(tmp_path / "home"))


@contextmanager
def driven(settings, study):
    """Answer a study on a thread; yields what comes of it."""
    with Database(settings.store_url) as database:
        store = StudyStore(database)
        store.open(
            study.id, name=study.name, fingerprint="f" * 64, spec=study.written, data=ELSEWHERE
        )
        came = []

        def work():
            try:
                came.append(answer_elsewhere(study, settings))
            except StudyFailedError as error:
                came.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield store, Handouts(database), came
        thread.join()


def tell(store, study, request, report):
    """What a service does with what is told."""
    told = report(request)
    if isinstance(told, str):
        store.record(study.id, FinishedTrial(request=request, outcome=None, reason=told))
        return
    sent = Told.model_validate_json(Told.of(told).model_dump_json())
    reported = sent.reported(confirming=request.phase == "confirm")
    outcome = outcome_of(reported, request)
    store.record(study.id, FinishedTrial(request=request, outcome=outcome))


def test_the_answer_is_that_of_trainings_here_and_no_training_is_done_twice(settings):
    study = ScriptStudy.of(SPEC, SCRIPT)
    trained = []
    with driven(settings, study) as (store, handouts, came):

        def step():
            had = [handouts.take(study.id, name, 60.0) for name in ("one", "two")]
            for handout in reversed([each for each in had if each is not None]):
                trained.append(handout.request)
                tell(store, study, handout.request, REPORT)
            return came

        until(step, 60.0)
    expected, finished = answer(SPEC, REPORT)
    assert len(set(trained)) == len(trained) == len(finished)
    told, wanted = (json.loads(r.model_dump_json(exclude=COSTS)) for r in (came[0], expected))
    assert told == wanted


def test_a_baseline_that_cannot_be_trained_ends_the_study(settings):
    study = ScriptStudy.of(SPEC, SCRIPT)
    with driven(settings, study) as (store, handouts, came):
        handout = until(lambda: handouts.take(study.id, "one", 60.0), 30.0)
        tell(store, study, handout.request, lambda _: "no memory")
        until(lambda: came, 30.0)
    assert "no memory" in str(came[0])
