"""Starts the driver of a study: a process here, or a job on a Ray cluster.

A driver outlives the service that started it. On a cluster it reads its settings (database, MLflow)
from the environment of the cluster's machines: no secret travels with the job.
"""

import logging
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tuner.settings import Settings

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_log = logging.getLogger(__name__)
_MODULE = "tuner.service.processes.driver"
# Seconds that a driver has to end by itself when it is told to: Ray's are three.
_ENDS = {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
_SAFELY = ("-P", "-m")  # else Python looks for modules in the working directory first


class RunningDriver(Protocol):
    """A driver that was started."""

    def poll(self) -> int | None:
        """Return None while it runs, as far as is known, and its exit code afterwards."""

    def terminate(self) -> None:
        """Have it end, should it run."""


Launch = Callable[[str], RunningDriver]


def launcher(settings: Settings) -> Launch:
    """Return what starts the driver of a study: jobs if RAY_ADDRESS is that of a Jobs API."""
    address = settings.ray_address or ""
    if address.startswith(("http://", "https://")):
        return _Jobs(address, settings.driver_resource).launch
    return lambda study: _process(study, settings)


def _process(study: str, settings: Settings) -> RunningDriver:
    folder = settings.folder / "logs"
    folder.mkdir(exist_ok=True)
    with (folder / f"{study}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *_SAFELY, _MODULE, study],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class _Jobs:
    """Submits drivers to the Jobs API of a Ray cluster.

    Args:
        address: Of the Jobs API.
        resource: What a driver takes one of; if empty, drivers run on the head.
    """

    def __init__(self, address: str, resource: str) -> None:
        self._address, self._resource = address, resource
        self._client: JobSubmissionClient | None = None

    def launch(self, study: str) -> RunningDriver:
        """Submit the driver of a study.

        Raises:
            ConnectionError: If the cluster does not answer.
            RuntimeError: If it refuses the job.
        """
        from ray.job_submission import JobSubmissionClient

        if self._client is None:
            self._client = JobSubmissionClient(self._address)
        job = self._client.submit_job(
            entrypoint=f"python {' '.join(_SAFELY)} {_MODULE} {study}",
            submission_id=f"tuner-{study}-{uuid.uuid4().hex[:8]}",
            metadata={"study": study},
            runtime_env={"env_vars": _ENDS},
            entrypoint_resources={self._resource: 1.0} if self._resource else None,
        )
        return _Job(self._client, job)


class _Job:
    def __init__(self, client: "JobSubmissionClient", job: str) -> None:
        self._client, self._job = client, job

    def poll(self) -> int | None:
        from ray.job_submission import JobStatus

        try:
            status = self._client.get_job_status(self._job)
        except RuntimeError as fault:
            if "404" in str(fault):  # a new cluster, which knows nothing of the job
                return 1
            _log.warning("job %s: %s", self._job, fault)
            return None
        except OSError as fault:  # the cluster is away; the study's lease tells if it works
            _log.warning("job %s: %s", self._job, fault)
            return None
        if not status.is_terminal():
            return None
        return 0 if status == JobStatus.SUCCEEDED else 1

    def terminate(self) -> None:
        try:
            self._client.stop_job(self._job)
        except (RuntimeError, OSError) as fault:
            _log.warning("job %s: %s", self._job, fault)
