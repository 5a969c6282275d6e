"""Training on data larger than memory: rows in mapped files over rows in memory.

Usage: python -m tests.benchmarks.mapped [MIB-OF-A-MODALITY [MIB-OF-MEMORY]]

Each line is a process of its own with one thread. The last may have so much memory only, the
system's cache of files included (a cgroup; needs root): what does not fit is read from the disk.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

FEATURES = 3072  # an image of 32 x 32 in three colours
SEEDS = (1, 2)


def main() -> None:
    size, memory = (int(text) for text in (sys.argv[1:] + ["1400", "1000"][len(sys.argv) - 1 :]))
    table = Table("rows", "read and standardised, s", "steps a second", "over those in memory")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        rows = _write(path, size)
        base = None
        lines = {
            "in memory": ("held", None),
            "in mapped files": ("mapped", None),
            f"the same, {memory} MiB of memory for all": ("mapped", memory),
        }
        for name, (how, limit) in lines.items():
            found = _measured(path, how, limit)
            base = base or found["rate"]
            rate = f"{found['rate']:.0f}"
            table.add_row(name, f"{found['read']:.1f}", rate, f"{found['rate'] / base:.2f}")
    console = Console(width=100)
    console.print(f"{rows:,} pairs, twice {size:,} MiB as float32", table)


def _write(path: Path, size: int) -> int:
    """Write random images, uint8, a block of them again and again."""
    rows = size * 2**20 // (4 * FEATURES)
    block = np.random.default_rng(0).integers(0, 255, (2000, FEATURES), dtype=np.uint8)
    images = np.tile(block, (rows // 2000 + 1, 1))[:rows]
    np.savez(path, a=images, b=images[::-1], y=np.arange(rows) % 2)
    return rows


def _measured(path: Path, how: str, limit: int | None) -> dict[str, float]:
    script = f"from tests.benchmarks.mapped import work; work({str(path)!r}, {how == 'mapped'})"
    with _group(limit) as join:
        told = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, preexec_fn=join
        )
    found: dict[str, float] = json.loads(told.stdout)
    return found


@contextmanager
def _group(limit: int | None):
    """Make a control group of so many MiB; yield what has a process join it."""
    if limit is None:
        yield None
        return
    root, name = Path("/sys/fs/cgroup"), "memory.max"
    if (root / "memory").is_dir():  # version 1 of control groups
        root, name = root / "memory", "memory.limit_in_bytes"
    group = root / f"tuner-{os.getpid()}"
    group.mkdir()
    try:
        (group / name).write_text(str(limit * 2**20))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def work(path: str, is_mapped: bool) -> None:
    """Measure one line."""
    from tuner.data import read
    from tuner.data.memory import spool
    from tuner.models.compute.device import prepare_process
    from tuner.models.config import TrainingConfig
    from tuner.models.rows import TrainingData
    from tuner.models.training.loop import train

    prepare_process()
    spool.IN_MEMORY_BYTES = 2**20 if is_mapped else 2**40
    started = time.perf_counter()
    data = TrainingData.of(read(path))
    read_for = time.perf_counter() - started
    config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", epochs=1)
    outcome = train(data, config, strength=1.0, seeds=SEEDS)
    print(json.dumps({"read": read_for, "rate": outcome.steps / outcome.seconds}))


if __name__ == "__main__":
    main()
