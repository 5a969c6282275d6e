"""What a study begins with."""

from types import SimpleNamespace

import pytest
import threadpoolctl
import torch

from tests.support import worlds
from tests.support.scripted import SCRIPT
from tuner.drivers.orchestrator import check_gpus, opened
from tuner.drivers.tuning import ScriptDriver
from tuner.errors import SpecError
from tuner.execution.dispatcher import Dispatcher
from tuner.settings import Settings
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

STUDY = Study.of(StudySpec(), worlds.null(0, rows=200))


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("NoMemoryError: memory ran out for one replicate", True),
        ("its worker died 3 times, lately for: DeviceError: the GPU was lost", True),
        ("TrainingDivergedError: train_loss_a became nan", False),
    ],
)
def test_what_the_machine_failed_for_is_tried_again(store, reason, again):
    opened(STUDY, store, None)
    request = TrialRequest(phase="search", number=0, strength=0.0, seeds=(1,))
    store.record(STUDY.id, FinishedTrial(request=request, outcome=None, reason=reason))
    finished, _ = opened(STUDY, store, None)
    assert [trial.reason for trial in finished] == ([] if again else [reason])


def test_what_failed_in_a_study_that_has_its_answer_stays(store):
    opened(STUDY, store, None)
    request = TrialRequest(phase="search", number=0, strength=1.0, seeds=(1,))
    store.record(STUDY.id, FinishedTrial(request=request, outcome=None, reason="DeviceError: it"))
    store.update(STUDY.id, result={})
    assert len(opened(STUDY, store, None)[0]) == 1


def test_a_study_whose_baseline_fails_trains_nothing_more(store, tmp_path):
    spec = ScriptSpec()
    driver = ScriptDriver(
        study=ScriptStudy.of(spec, SCRIPT),
        settings=Settings(home=tmp_path),
        store=store,
        lease=SimpleNamespace(check=lambda: None),
        finished=[],
        spent=0.0,
        closed=False,
        on_progress=lambda _: None,
    )
    store.open(driver.study.id, name="code", fingerprint="f", spec={})
    asked = []
    dispatcher = Dispatcher(driver._next_trials, driver._record, workers=1)
    dispatcher.hire("one")
    while (request := dispatcher.next_request("one", 0.0)) is not None:
        asked.append(request)
        trial = FinishedTrial(request=request, outcome=None, reason="planted")
        dispatcher.finished("one", trial)
    assert "λ = 0) could not be trained" in str(dispatcher.error)
    assert "planted" in str(dispatcher.error)
    assert len(asked) == 1 < spec.trials * spec.replicates


def test_a_driver_computes_on_one_thread():
    """What a plan asks for and what an answer is are the same on a machine of many cores."""

    class Counting(ScriptDriver):
        def _asked(self, running):
            return threads()

        def _conclude(self):
            counted.append(threads())
            return SimpleNamespace(model_dump=lambda **_: {})

        def _publish(self, result):
            counted.append(threads())
            return result

    def threads():
        return {library["num_threads"] for library in threadpoolctl.threadpool_info()}

    counted = []
    driver = object.__new__(Counting)
    driver.study, driver.store = SimpleNamespace(id="s"), SimpleNamespace(update=lambda *_, **__: 0)
    driver._offered, driver._ended, driver.finished, driver.closed = [], set(), [], True
    before = threads()
    assert driver._next_trials(()) == {1}
    driver._finish()
    assert counted == [{1}, {1}]
    assert threads() == before


@pytest.mark.parametrize("address", [None, "auto"])
def test_ranks_do_not_share_a_gpu(tmp_path, address):
    spec = StudySpec(gpus=0.5, ranks=2)
    with pytest.raises(SpecError, match=r"--gpus 0.5 --ranks 2: .*--gpus 1"):
        check_gpus(spec, Settings(home=tmp_path, ray_address=address))


def test_a_machine_without_gpus_says_why(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SpecError, match=r"--gpus 1: torch \S+ is .*leave --gpus out"):
        check_gpus(StudySpec(gpus=1), Settings(home=tmp_path, ray_address=None))
