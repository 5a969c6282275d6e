"""The Ray cluster that a study's workers run on."""

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tuner.errors import PutOffError
from tuner.execution.interrupts import interrupts_wait
from tuner.execution.room import Takes, available_cpus

_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it takes SIGTERM for a crash, and aborts
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C belongs to us: what is finished is written down
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # our store is the truth, not Tune's state
}
# Tune's actors bring an environment of their own, so that no worker started ahead ever runs one.
_NO_IDLE_WORKERS = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}


_PAUSES = (2.0, 10.0)  # seconds between attempts to start Ray
_NOT_STARTED = (
    "Ray did not start in time, most likely because this machine is busy; what is finished is "
    "safe, and the study goes on when it is tried again",
    "the Ray cluster does not answer; what is finished is safe, and the study goes on when it is "
    "tried again (see RAY_ADDRESS)",
)
_log = logging.getLogger(__name__)
_ENOUGH = 64  # more than a plan ever asks for at a time, unless its batches are huge


class Cluster:
    """A Ray cluster that starts, and ends, in the background: seconds, most of them waiting."""

    def __init__(self, address: str | None, cpus: int, thread: ThreadPoolExecutor) -> None:
        self._thread, self._is_unwanted = thread, threading.Event()
        self._started = thread.submit(_start, address, cpus, self._is_unwanted)
        self._ended: Future[None] | None = None

    def wait_until_ready(self) -> None:
        """Return when it is ready."""
        self._started.result()

    def end(self) -> None:
        """Begin to end it, or the connection to it.

        Were a reference to one of Ray's objects freed while Ray shuts down, Ray would end this
        process. What Tune leaves holds such references in cycles: they are freed before, and no
        garbage is collected meanwhile.
        """
        self._is_unwanted.set()
        if self._ended is None:
            gc.collect()
            gc.disable()
            self._ended = self._thread.submit(_end)


@contextmanager
def ray_cluster(address: str | None, cpus: int) -> Iterator[Cluster]:
    """Connect to the Ray cluster at `address`, or start one on this machine and end it after.

    Args:
        address: A cluster, or None for a local one.
        cpus: Of a local cluster: more than the machine has means that trials share them.
    """
    for name, value in (_QUIET | ({} if address else _NO_IDLE_WORKERS)).items():
        os.environ.setdefault(name, value)
    with ThreadPoolExecutor(1) as thread:
        cluster = Cluster(address, cpus, thread)
        try:
            yield cluster
        finally:
            with interrupts_wait():  # Ray that is not shut down hangs as this process exits
                cluster.end()


def default_workers(address: str | None, spec: Takes) -> int:
    """Return how many trials to run at a time.

    On a cluster that is for Ray to say: trials wait for room, and an autoscaler makes it.
    """
    if address is not None:
        return _ENOUGH
    return max(1, available_cpus() // (spec.cpus * spec.ranks))


def _end() -> None:
    import ray

    try:
        ray.shutdown()
    finally:
        gc.enable()


def _start(address: str | None, cpus: int, is_unwanted: threading.Event) -> None:
    """Start Ray or connect to it; again where it took too long, as it does on a busy machine.

    Not again once it is unwanted: Ctrl-C ends what Ray started, too.

    Raises:
        PutOffError: If that was in vain.
    """
    import ray

    for pause in (*_PAUSES, None):
        try:
            _init(address, cpus)
        except (ValueError, TypeError, ImportError):  # not a matter of time
            raise
        except Exception as fault:
            ray.shutdown()
            _log.warning("Ray did not start: %s", fault)
            if pause is None or is_unwanted.wait(pause):
                raise PutOffError(_NOT_STARTED[address is not None]) from fault
        else:
            return


def _init(address: str | None, cpus: int) -> None:
    import ray
    from ray.job_config import JobConfig

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told by our result
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Otherwise the working directory comes first in the workers' `sys.path`: what lies there would
    # take the place of what is installed. It is not public: `test_ray_internals` holds it.
    options["job_config"] = JobConfig(_client_job=True)
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False, "address": "local"}
        with _no_helpers():
            ray.init(**options)
    else:
        ray.init(**options, address=address)


@contextmanager
def _no_helpers() -> Iterator[None]:
    """Have Ray start none of the processes that serve a cluster of many nodes and users.

    They are those of its dashboard, which it starts for statistics of usage where none is wanted,
    of its autoscaler, and of the logs that drivers print. Starting them and waiting for them is
    half of the time that Ray takes to start. The agent of the node is that of an installation
    without a dashboard. Ray has no option for any of this: `test_ray_internals` holds the names.
    """
    import ray._private.utils
    from ray._private.node import Node

    missing = ImportError("no dashboard is wanted")
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (Node, "start_api_server", lambda *_, **__: None),
        (Node, "start_monitor", lambda *_: None),
        (Node, "start_log_monitor", lambda *_: None),
        (ray._private.utils, "get_dashboard_dependency_error", lambda: missing),
    ]
    theirs = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, ours in replaced:
            setattr(owner, name, ours)
        yield
    finally:
        for owner, name, value in theirs:
            setattr(owner, name, value)
