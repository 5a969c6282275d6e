"""Runs one submitted study in a process of its own.

`python -m tuner.service.processes.driver STUDY`.

The service that started it may end and start again meanwhile; what holds the study is its lease.
"""

import atexit
import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuner.data.memory.blocks import OnStep
from tuner.drivers.elsewhere import answer_elsewhere
from tuner.drivers.faults import passing_fault
from tuner.drivers.orchestrator import run_study
from tuner.drivers.tuning import tune_study
from tuner.errors import PutOffError, StudyInUseError
from tuner.execution.garbage import collect_seldom
from tuner.execution.interrupts import is_interrupted, raise_on_interrupt
from tuner.service.incoming.offers import OFFERED, offered
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.handouts import ELSEWHERE
from tuner.storage.leases import lease_of
from tuner.storage.studies import StudyStore
from tuner.study.budget import Budget
from tuner.study.progress import Progress
from tuner.study.scripts.study import ScriptStudy
from tuner.study.spec import StudySpec
from tuner.study.study import Study, read_dataset

if TYPE_CHECKING:
    from tuner.storage.tables import StudyRow

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between looks at whether the study is still wanted
_PAUSE = 2.0  # seconds between two things that are told of a step


def run(study_id: str, settings: Settings) -> None:
    """Run a study to its end, and tell whoever watches how it goes.

    Raises:
        KeyError: If there is no such study.
    """
    with Database(settings.store_url) as database:
        store = StudyStore(database)
        row = store.get(study_id)
        if row is None or row.source is None:
            raise KeyError(f"there is no submitted study {study_id}")
        threading.Thread(target=_stop_if_cancelled, args=(store, study_id), daemon=True).start()
        try:
            with _of_this_version(store, study_id):
                answer = _answering(row, settings, store)
            answer(on_progress=lambda told: _tell(store, study_id, told))
        except (StudyInUseError, PutOffError) as error:
            _log.warning("%s", error)
        except KeyboardInterrupt:
            now = store.get(study_id)
            if now is not None and now.cancel_requested:
                store.update(study_id, status="cancelled")
        except Exception as error:
            if (words := passing_fault(error)) is None:
                store.set_status(study_id, "failed", str(error))
                raise
            _log.warning("study %s %s", study_id, words)
            store.set_status(study_id, "queued", words)


def _answering(row: "StudyRow", settings: Settings, store: StudyStore) -> Callable[..., object]:
    """Return what answers a study, given `on_progress`.

    Raises:
        ValidationError: If an option is wrong, or not known to this version.
        ValueError: If the data are others by now.
    """
    if row.source == ELSEWHERE:
        return partial(answer_elsewhere, ScriptStudy.read(row.id, row.spec), settings)
    if str(row.source).startswith(OFFERED):
        return _offered(row, settings)
    spec = StudySpec.model_validate(row.spec)
    read = partial(
        read_dataset,
        spec,
        str(row.source),
        row.name,
        max_bytes=settings.max_data,
        alone=True,
        reach=settings.sources,
    )
    dataset = read(on_step=_steps(store, row.id, "queued"))
    study = Study.of(spec, dataset).stored_as(row.id, Budget.of(row.options))
    if study is None:
        raise ValueError("the data are no longer those that were submitted")
    return partial(
        run_study,
        study,
        settings,
        workers=row.options.get("workers"),
        on_step=_steps(store, row.id, "running"),
        read=read if settings.is_kept(str(row.source)) else None,
    )


def _offered(row: "StudyRow", settings: Settings) -> Callable[..., object]:
    """Return what answers a study of training code that is offered here.

    Raises:
        SubmissionError: If it is offered no more.
        SpecError: If it cannot be run.
        ValueError: If it is another by now.
    """
    study = ScriptStudy.read(row.id, row.spec)
    offer = offered(settings, str(row.source).removeprefix(OFFERED))
    script = offer.script()
    if script.digest != study.script.digest:
        raise ValueError("the code was changed since: submit the study again, as a new one")
    return partial(
        tune_study, study, settings, workers=offer.workers, timeout=offer.timeout, script=script
    )


@contextmanager
def _of_this_version(store: StudyStore, study_id: str) -> Iterator[None]:
    """Read what a study asks, which a service of a newer version may have written.

    Raises:
        PutOffError: If it has an option that this version does not know: the study waits.
        ValidationError: If an option is wrong.
    """
    try:
        yield
    except ValidationError as error:
        unknown = [
            ".".join(map(str, fault["loc"]))
            for fault in error.errors()
            if fault["type"] == "extra_forbidden"
        ]
        if not unknown:
            raise
        words = (
            "waits for a newer version of tuner where studies run: the one there does not know "
            f"the option {', '.join(unknown)}"
        )
        store.set_status(study_id, "queued", words)
        raise PutOffError(words) from error


def _steps(store: StudyStore, study_id: str, status: str) -> OnStep:
    """Return what adds an event of each step, and every other second of one that moves.

    It is of the kind that says how a study stands: clients of version 0.1.0 know no other.
    """
    told, at = "", -math.inf

    def on_step(words: str) -> None:
        nonlocal told, at
        step, now = words.split(":")[0], time.monotonic()
        if step != told or now > at + _PAUSE:
            told, at = step, now
            store.tell(study_id, "status", {"status": status, "step": words})

    return on_step


def _tell(store: StudyStore, study_id: str, progress: Progress) -> None:
    """Add an event, over the connection by which the trial was written down just before."""
    lease = lease_of(study_id)
    near = store if lease is None else StudyStore(lease.database)
    near.tell(study_id, "progress", _content(progress))


def _content(progress: Progress) -> dict[str, Any]:
    content = asdict(progress)
    content["point"] = progress.point and progress.point.model_dump(mode="json")
    return content


def _stop_if_cancelled(store: StudyStore, study: str) -> None:
    pause = threading.Event()
    while not pause.wait(_LOOK):
        if _is_unwanted(store, study):
            pause.wait(_LOOK)  # its runner says so within that time, if there is one
            if not is_interrupted():
                os.kill(os.getpid(), signal.SIGINT)
            pause.wait(10 * _LOOK)
            os.kill(os.getpid(), signal.SIGINT)  # it may have come too early to be heard


def _is_unwanted(store: StudyStore, study: str) -> bool:
    """Whether to stop; a server, which all drivers ask, is asked as the lease is renewed."""
    lease = lease_of(study) if store.database.is_on_a_server else None
    return store.is_unwanted(study) if lease is None else lease.is_unwanted


def main() -> None:
    """Run the study that the command line names."""
    logging.basicConfig(level=logging.INFO)
    raise_on_interrupt()
    collect_seldom()
    atexit.register(gc.freeze)  # as in tuner.cli.main
    run(sys.argv[1], Settings())


if __name__ == "__main__":
    main()
