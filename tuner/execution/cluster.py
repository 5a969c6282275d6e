"""The Ray cluster that a study's workers run on."""

import gc
import logging
import os
import re
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tuner.errors import PutOffError, SpecError
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
# Of a cluster that is started here.
_QUICK = {
    # Tune's actors bring an environment of their own, so that no worker started ahead runs one.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # Ray looks again after a second for a socket that most often is there a moment later.
    "RAY_raylet_client_connect_timeout_milliseconds": "50",
    "RAY_raylet_client_num_connect_attempts": "200",
}
# Ray asks a cluster that does not answer for 14 minutes, and hears no interrupt meanwhile.
_FEW_QUESTIONS = {"RAY_NUM_REDIS_GET_RETRIES": "2"}

_PAUSES = (2.0, 10.0)  # seconds between attempts to start Ray
_NOT_STARTED = (
    "Ray did not start in time, most likely because this machine is busy; what is finished is "
    "safe, and the study goes on when it is tried again",
    "the Ray cluster does not answer; what is finished is safe, and the study goes on when it is "
    "tried again (start the cluster, or see to RAY_ADDRESS: without it Ray is started here)",
)
_LONGEST_PATH = 39  # bytes of TMPDIR: those of a socket in Ray's folder are 68 more, 107 at most
_LIMITS = ((resource.RLIMIT_AS, "ulimit -v"), (resource.RLIMIT_NPROC, "ulimit -u"))
_HOST_AND_PORT = re.compile(r"(ray://)?(?P<host>.+):(?P<port>\d{1,5})/?")
_PATIENCE = 10.0  # seconds for a host that says nothing
_REGISTERED, _LOOKING = 30.0, 0.02  # seconds that Ray waits for a node, and between two looks
_FEW = 2**12  # processes and threads; a limit above is no likely reason
_log = logging.getLogger(__name__)
_ENOUGH = 64  # more than a plan ever asks for at a time, unless its batches are huge


class Cluster:
    """A Ray cluster that starts, and ends, in the background: seconds, most of them waiting."""

    def __init__(self, address: str | None, cpus: int, thread: ThreadPoolExecutor) -> None:
        self._thread, self._is_unwanted = thread, threading.Event()
        self._started = thread.submit(_start, address, cpus, self._is_unwanted)
        self._ended: Future[None] | None = None

    def wait_until_ready(self) -> None:
        """Return when it is ready; of what is loaded by then `end` looks through nothing."""
        self._started.result()
        gc.freeze()

    def end(self) -> None:
        """Begin to end it, or the connection to it.

        Were a reference to one of Ray's objects freed while Ray shuts down, Ray would end this
        process. What Tune leaves holds such references in cycles: they are freed before, and no
        garbage is collected meanwhile.
        """
        self._is_unwanted.set()
        if self._ended is None:
            gc.collect()
            gc.unfreeze()
            gc.disable()
            self._ended = self._thread.submit(_end)


@contextmanager
def ray_cluster(address: str | None, cpus: int) -> Iterator[Cluster]:
    """Connect to the Ray cluster at `address`, or start one on this machine and end it after.

    Args:
        address: A cluster, or None for a local one.
        cpus: Of a local cluster: more than the machine has means that trials share them.
    """
    for name, value in (_QUIET | (_FEW_QUESTIONS if address else _QUICK)).items():
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
        SpecError: If the address is none.
    """
    import ray

    for pause in (*_PAUSES, None):
        try:
            _init(address, cpus)
        except ValueError as fault:  # not a matter of time, like the next
            if address is None:
                raise
            raise SpecError(
                f"Ray cannot be reached at {address!r} ({fault}): write RAY_ADDRESS as HOST:PORT, "
                "or leave it out, and Ray is started here"
            ) from fault
        except (TypeError, ImportError):
            raise
        except Exception as fault:
            ray.shutdown()
            if isinstance(fault, OSError) and not isinstance(
                fault, (ConnectionError, TimeoutError)
            ):
                raise PutOffError(_unusable_words(fault)) from fault
            _log.warning("Ray did not start: %s", fault)
            if pause is None or is_unwanted.wait(pause):
                raise PutOffError(_NOT_STARTED[address is not None] + _limit_words()) from fault
        else:
            return


def _unusable_words(fault: OSError) -> str:
    return (
        f"Ray cannot start: {fault}. What is finished is safe; give it a folder for temporary "
        "files that exists, has room and can be written (TMPDIR), and try again"
    )


def _limit_words() -> str:
    """Name the limits of this process that may be the reason."""
    limits = [(name, resource.getrlimit(kind)[0], kind) for kind, name in _LIMITS]
    told = [
        name
        for name, limit, kind in limits
        if limit != resource.RLIM_INFINITY and (kind == resource.RLIMIT_AS or limit < _FEW)
    ]
    return f"; if not, this shell allows it too little ({', '.join(told)})" if told else ""


def _temporary_folder() -> str | None:
    """Return the folder for Ray's files if it is not to choose it: TMPDIR may be none for it."""
    wanted = os.environ.get("TMPDIR")
    if wanted is None or "RAY_TMPDIR" in os.environ:
        return None
    usable = tempfile.gettempdir()  # another than is wanted, where that cannot be written
    folder = usable if len(os.fsencode(usable)) <= _LONGEST_PATH else "/tmp"  # noqa: S108
    return None if folder == wanted else f"{folder}/ray"


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
        options["_temp_dir"] = _temporary_folder()
        with _quick_start():
            ray.init(**options)
    else:
        _check_reachable(address)
        ray.init(**options, address=address)


def _check_reachable(address: str) -> None:
    """Do nothing unless nobody listens at an address that is a host's.

    Raises:
        OSError: If so: Ray would ask for minutes.
    """
    if match := _HOST_AND_PORT.fullmatch(address):
        with socket.create_connection((match["host"].strip("[]"), int(match["port"])), _PATIENCE):
            pass


@contextmanager
def _quick_start() -> Iterator[None]:
    """Have Ray start what is needed, and notice when that runs.

    It starts none of the processes that serve a cluster of many nodes and users. They are those of
    its dashboard, which it starts for statistics of usage where none is wanted, of its autoscaler,
    and of the logs that drivers print. Starting them and waiting for them is half of the time that
    Ray takes to start. The agent of the node is that of an installation without a dashboard. And it
    looks for the node, which takes half a second, more often than every second. Ray has no option
    for any of this: `test_ray_internals` holds the names.
    """
    import ray._private.services
    import ray._private.utils
    from ray._private.node import Node

    missing = ImportError("no dashboard is wanted")
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (Node, "start_api_server", lambda *_, **__: None),
        (Node, "start_monitor", lambda *_: None),
        (Node, "start_log_monitor", lambda *_: None),
        (ray._private.utils, "get_dashboard_dependency_error", lambda: missing),
        (ray._private.services, "get_node", _soon(ray._private.services.get_node)),
    ]
    theirs = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, ours in replaced:
            setattr(owner, name, ours)
        yield
    finally:
        for owner, name, value in theirs:
            setattr(owner, name, value)


def _soon(get_node: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Have Ray look for a node once it is there: else Ray looks again after a second."""
    from ray import NodeID
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # it is compiled

    def get_node_soon(address: str, node: str) -> Any:
        head, until = GcsClient(address=address), time.monotonic() + _REGISTERED
        while time.monotonic() < until:
            if NodeID.from_hex(node) in head.get_all_node_info():
                break
            time.sleep(_LOOKING)
        return get_node(address, node)

    return get_node_soon
