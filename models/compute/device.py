"""The one place that knows about devices, threads and the allocator."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from tuner.models.config import Precision

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

_threads: int | None = None  # of this process, once it is prepared


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to train on; `auto` is the GPU that this process sees, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def hide_gpus() -> None:
    """Let this process see no GPU, as a worker that was given none; before anything used one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def place_of_rows(device: torch.device, size: int) -> torch.device:
    """Return where rows of so many bytes lie for training on a device: there, or else in memory.

    Half of a GPU's free memory is left to parameters and activations.
    """
    if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] // 2:
        return torch.device("cpu")
    return device


def mixed_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which products are computed in the wanted precision.

    bfloat16 has the range of float32, so gradients need no scaling (Kalamkar et al.,
    arXiv 1905.12322).
    """
    if precision == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if able else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which products of `x` keep its precision.

    Where they do so anyway it is none, and `torch.export` sees nothing of it.
    """
    place = x.device.type
    if torch.amp.is_autocast_available(place) and torch.is_autocast_enabled(place):
        return torch.autocast(place, enabled=False)
    return nullcontext()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute products and convolutions in float32, as a registered encoder does anywhere.

    Under an autocast they would be bfloat16, and cuDNN's convolutions are TF32 unless told.
    """
    cudnn = torch.backends.cudnn
    kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    with torch.autocast(device.type, enabled=False), cudnn.flags(**kept, allow_tf32=False):
        yield


def prepare_process(threads: int = 1) -> None:
    """Make this process fit to run one trial: few threads, and memory kept between steps.

    Two processes of one thread train faster than one process of two. glibc returns large blocks
    to the system after every step and has to fault them in again: keeping them is 1.2 to 1.7
    times as fast. Where there is no `mallopt` nothing happens.
    """
    global _threads
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    _threads = threads
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # glibc refuses more
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


def numpy_computes(device: torch.device) -> bool:
    """Whether NumPy does what it is faster at: where `prepare_process` gave one thread to all.

    The threads of its OpenBLAS and those of torch take the cores from each other.
    """
    return device.type == "cpu" and _threads == 1
