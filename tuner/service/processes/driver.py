"""Runs one submitted study in a process of its own.

`python -m tuner.service.processes.driver STUDY`.

The service that started it may end and start again meanwhile; what holds the study is its lease.
"""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from contextlib import closing
from dataclasses import asdict
from typing import Any

from tuner.errors import StudyInUseError
from tuner.execution.interrupts import raise_on_interrupt
from tuner.orchestrator import Progress, run_study
from tuner.settings import Settings
from tuner.storage.studies import StudyStore
from tuner.study.spec import StudySpec
from tuner.study.study import Question, dataset_of

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between looks at whether the study is still wanted


def run(study: str, settings: Settings) -> None:
    """Run a study to its end, and tell whoever watches how it goes.

    Raises:
        KeyError: If there is no such study.
    """
    with closing(StudyStore(settings.store_url)) as store:
        row = store.get(study)
        if row is None or row.source is None:
            raise KeyError(f"there is no submitted study {study}")
        threading.Thread(target=_stop_if_cancelled, args=(store, study), daemon=True).start()
        try:
            question = _question(row.spec, row.source, row.name, study, settings.max_data)
            run_study(
                question,
                settings,
                workers=row.options.get("workers"),
                time_budget=row.options.get("time_budget"),
                step_budget=row.options.get("step_budget"),
                report=lambda progress: store.tell(study, "progress", _content(progress)),
            )
        except StudyInUseError as error:
            _log.info("%s", error)
        except KeyboardInterrupt:
            now = store.get(study)
            if now is not None and now.cancel_requested:
                store.update(study, status="cancelled", cancel_requested=False)
        except Exception as error:
            store.set_status(study, "failed", str(error))
            raise


def _question(spec: dict[str, Any], source: str, name: str, study: str, max_bytes: int) -> Question:
    asked = StudySpec.model_validate(spec)
    question = Question.of(asked, dataset_of(asked, source, name, max_bytes=max_bytes))
    if question.study != study:
        raise ValueError("the data are no longer those that were submitted")
    return question


def _content(progress: Progress) -> dict[str, Any]:
    content = asdict(progress)
    content["point"] = progress.point and progress.point.model_dump(mode="json")
    return content


def _stop_if_cancelled(store: StudyStore, study: str) -> None:
    pause = threading.Event()
    while not pause.wait(_LOOK):
        row = store.get(study)
        if row is None or row.cancel_requested:
            os.kill(os.getpid(), signal.SIGINT)
            pause.wait(10 * _LOOK)  # it may have come too early to be heard


def main() -> None:
    """Run the study that the command line names."""
    logging.basicConfig(level=logging.INFO)
    raise_on_interrupt()
    atexit.register(gc.freeze)  # as in tuner.cli.main
    run(sys.argv[1], Settings())


if __name__ == "__main__":
    main()
