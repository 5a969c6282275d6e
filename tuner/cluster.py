"""The Ray cluster that a study's workers run on."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C belongs to us: what is finished is written down
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # our store is the truth, not Tune's state
}
# Tune's actors bring an environment of their own, so that no worker started ahead ever runs one.
_NO_IDLE_WORKERS = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}


@contextmanager
def ray_cluster(address: str | None, workers: int) -> Iterator[Callable[[], None]]:
    """Connect to the Ray cluster at `address`, or start one on this machine and end it after.

    Starting takes seconds, most of them waiting: it goes on in the background until the function
    that this yields is called, which returns when the cluster is ready.

    Args:
        address: A cluster, or None for a local one.
        workers: Trials at a time on a local cluster, one CPU each.
    """
    for name, value in (_QUIET | ({} if address else _NO_IDLE_WORKERS)).items():
        os.environ.setdefault(name, value)
    with ThreadPoolExecutor(1) as starter:
        started = starter.submit(_start, address, workers)
        try:
            yield started.result
        finally:
            wait([started])
            import ray

            ray.shutdown()


def _start(address: str | None, workers: int) -> None:
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told by our result
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False, "address": "local"}
    else:
        options["address"] = address
    ray.init(**options)
