"""The one place that knows about devices, threads and the allocator."""

import ctypes
import gc
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from tuner.models.config import Precision
from tuner.models.errors import DeviceError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

_DRIVER = Path("/proc/driver/nvidia/version")
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(CUBLAS|CUDNN|CUSOLVER)_STATUS_ALLOC_FAILED|can't allocate memory",
    re.IGNORECASE,
)
_CAPTURE = re.compile(r"captur", re.IGNORECASE)  # a graph that cannot be made harms nothing else
_NOT_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")

_threads: int | None = None  # of this process, once it is prepared


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to train on; `auto` is the GPU that this process sees, else the CPU.

    Raises:
        DeviceError: If it is one that training was never tried on.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "mps":
        raise DeviceError(
            "Apple's GPUs (mps) are not used: they have no float64, and not every operation of a "
            "stack. Train on the CPU: leave --gpus out"
        )
    return device


def given_device(gpus: float) -> torch.device:
    """Return what a process trains on that was given so many GPUs: them, or the CPU, never else.

    Without one it makes no CUDA context, whatever the machine has; before anything used a GPU. With
    a part of one it takes no more than that part of its memory.

    Raises:
        DeviceError: If there is no GPU that this torch can use; it says why.
    """
    if not gpus:
        hide_gpus()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(f"--gpus {gpus:g}: {why_no_gpu()}")
    torch.cuda.set_per_process_memory_fraction(float(min(gpus, 1.0)))
    return torch.device("cuda")


def why_no_gpu() -> str:
    """Say why torch sees no GPU, and what to do."""
    driver = _driver()
    if torch.backends.mps.is_built() and torch.backends.mps.is_available():
        return "Apple's GPUs are not used: leave --gpus out to train on the CPU"
    if torch.version.cuda is None and torch.version.hip is None:
        there = (
            f"the NVIDIA driver here is {driver}" if driver else "there is no NVIDIA driver here"
        )
        return (
            f"torch {torch.__version__} is a build for CPUs alone, and {there}. Install a build "
            "for CUDA (pytorch.org, Get started), or leave --gpus out to train on the CPU"
        )
    built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return f"{built}, but CUDA_VISIBLE_DEVICES hides every GPU from this process: unset it"
    if driver is None:
        return f"{built}, but no NVIDIA driver is loaded here: install one, or leave --gpus out"
    return (
        f"{built}, and the NVIDIA driver {driver} shows it no GPU that it can use. The driver is "
        "too old for that build, or the GPU has vanished: look at nvidia-smi"
    )


def _driver() -> str | None:
    """Version of the NVIDIA driver that is loaded; asking makes no CUDA context."""
    with suppress(OSError):
        words = re.search(r"\b\d+\.\d+(\.\d+)?\b", _DRIVER.read_text(encoding="utf-8"))
        return words[0] if words else "of an unknown version"
    return None


def hide_gpus() -> None:
    """Let this process see no GPU, as a worker that was given none; before anything used one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def raise_if_lost(error: RuntimeError) -> None:
    """Raise DeviceError if an error says that a GPU, or this process's hold on it, is lost.

    What is in its memory is gone, and this process can use no GPU any more.
    """
    is_one = isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
    if is_one and not _CAPTURE.search(str(error)):
        raise DeviceError(
            f"the GPU was lost while it trained ({str(error).strip().splitlines()[0]}); NVIDIA "
            f"driver {_driver()}. Look at nvidia-smi and at Xid messages of the kernel's log"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a GPU or of the machine, is too small for what it is.

    Libraries of CUDA have words of their own for it, and a CPU's allocator, too.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_size(device: torch.device) -> int | None:
    """Bytes that this process may take of a device: its part of a GPU; None for a CPU."""
    if device.type != "cuda":
        return None
    number = torch.cuda.current_device() if device.index is None else device.index
    part = torch.cuda.get_per_process_memory_fraction(number)  # which wants a number
    return int(part * torch.cuda.get_device_properties(number).total_memory)


def peak_memory(device: torch.device, work: Callable[[], object]) -> int:
    """Bytes that a GPU holds of this process at most while `work` is done."""
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device)


@contextmanager
def deterministic(device: torch.device) -> Iterator[list[str]]:
    """Have a GPU compute the same bits each time, and in float32 what is to be float32.

    Yields:
        Operations that have no deterministic algorithm and were used all the same: known once the
        block has ended. A CPU needs nothing of this.
    """
    used: list[str] = []
    if device.type != "cuda":
        yield used
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    with (
        _deterministic_algorithms(used),
        torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=False,
            deterministic=True,
            allow_tf32=False,
        ),
    ):
        yield used


@contextmanager
def _deterministic_algorithms(used: list[str]) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("default", message=_NOT_DETERMINISTIC.pattern)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warns)
            settings.fill_uninitialized_memory = fills
    for one in caught:
        words = _NOT_DETERMINISTIC.search(str(one.message))
        if words is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif words[1] not in used:
            used.append(words[1])


def described(
    device: torch.device,
    precision: Precision,
    nondeterministic: Sequence[str],
    not_replayed: Sequence[str] = (),
) -> dict[str, str]:
    """Return where and how a training was computed, in words.

    Args:
        device: Where.
        precision: What was asked for.
        nondeterministic: What `deterministic` yielded.
        not_replayed: Why steps were not replayed, if any were not: see `replay`.
    """
    words = {
        "device": device.type,
        "precision": _precision(device, precision),
        "torch": torch.__version__,
        "deterministic": "yes",
    }
    if nondeterministic:
        words["deterministic"] = f"no: {', '.join(nondeterministic)} cannot be"
    if device.type == "cuda":
        words |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda or torch.version.hip),
            "tf32": "on" if torch.backends.cuda.matmul.allow_tf32 else "off",
            "graphs": f"no: {not_replayed[0]}" if not_replayed else "yes",
        }
    return words


def place_of_rows(device: torch.device, size: int) -> torch.device:
    """Return where rows of so many bytes lie for training on a device: there, or else in memory.

    Half of a GPU's free memory, or of this process's part of it, is left to parameters and
    activations.
    """
    part = memory_size(device)
    if part is not None and size > min(part, torch.cuda.mem_get_info(device)[0]) // 2:
        return torch.device("cpu")
    return device


def mixed_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which products are computed in the wanted precision.

    bfloat16 has the range of float32, so gradients need no scaling (Kalamkar et al.,
    arXiv 1905.12322).
    """
    enabled = _precision(device, precision) == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _precision(device: torch.device, precision: Precision) -> Precision:
    """Name the precision of `auto`: bfloat16 where the GPU itself has it, not where it is emulated.

    Raises:
        DeviceError: If bfloat16 is asked for and the GPU would emulate it.
    """
    if device.type != "cuda":
        return "float32" if precision == "auto" else precision
    able = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not able:
        raise DeviceError(
            f"--precision bfloat16: {torch.cuda.get_device_name(device)} has none and would "
            "emulate it, slower than float32. Leave --precision out"
        )
    if precision == "auto":
        return "bfloat16" if able else "float32"
    return precision


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


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy values to a device; from memory to a GPU while the next are made ready.

    Only from pinned memory does the copy not wait, and what computes with it waits on the GPU.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


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
