"""Whether a Ray cluster still knows the process that is connected to it.

A head that is started again knows its jobs from Redis, but takes those for over whose machine was
lost meanwhile, its own among them. Their processes are not told: they would wait for workers for
ever, which such a cluster starts no more.
"""

import logging
import threading
from typing import Any, Self

_log = logging.getLogger(__name__)
_LOOK = 10.0  # seconds between two looks
_ANSWERS = 5.0  # seconds that the head may take
_SURE = 2  # looks in a row that have to say so


class Membership:
    """Looks, from `with` to its end, whether the cluster takes the job of this process for over.

    A head that does not answer says nothing: Ray itself ends a process that it does not answer
    for long (`RAY_gcs_rpc_server_reconnect_timeout_s`).

    Attributes:
        is_over: Whether it does: no worker will ever be started for it.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="membership", daemon=True)

    def __enter__(self) -> Self:
        import ray
        from ray._private.worker import global_worker

        self._job = ray.get_runtime_context().get_job_id()
        self._head: Any = global_worker.gcs_client  # type: ignore[attr-defined]  # since it connected
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        times = 0
        while times < _SURE and not self._ended.wait(_LOOK):
            times = times + 1 if self._is_said_to_be_over() else 0
        self.is_over = times >= _SURE

    def _is_said_to_be_over(self) -> bool:
        try:
            jobs = self._head.get_all_job_info(
                job_or_submission_id=self._job,
                skip_submission_job_info_field=True,
                skip_is_running_tasks_field=True,
                timeout=_ANSWERS,
            )
        except Exception as fault:  # noqa: BLE001  # of many kinds
            _log.warning("the head of the cluster does not answer: %s", fault)
            return False
        return bool(jobs) and all(job.is_dead for job in jobs.values())
