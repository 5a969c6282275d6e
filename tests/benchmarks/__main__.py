"""`make bench`: every line is a ratio, or a figure, of one run on this machine.

Usage: python -m tests.benchmarks [steps] [loss] [study]; tests.benchmarks.decisions says how good
answers are, and tests.benchmarks.reproduce tries the paper's findings again.
"""

import json
import os
import platform
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

BATCHES = (128, 256, 512)
LOSSES = ((128, 64), (8192, 64), (16384, 64), (32768, 64))  # rows and width; the last two in strips
ROUNDS = 5
STARTS = 5
LONG = ("--trials", "60", "--replicates", "6")  # a study of about two minutes
SMALL = ("--trials", "10", "--replicates", "3")


def main() -> None:
    wanted = set(sys.argv[1:]) or {"steps", "loss", "study"}
    table = Table(title=f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}")
    for heading in ("", "what", "ours", "baseline", "ratio", "aim"):
        table.add_column(heading)
    if "study" in wanted:
        _study(table)
    if "steps" in wanted:
        _steps(table)
    if "loss" in wanted:
        _loss(table)
    Console(width=130).print(table)


def _study(table: Table) -> None:
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        ours = _run_study(Path(folder) / "long", LONG)
        small = _run_study(Path(folder) / "small", SMALL)
        firsts = {
            options: sorted(
                _first_trial(Path(folder) / f"start-{options[1]}-{n}", options)
                for n in range(STARTS)
            )
            for options in (LONG, SMALL)
        }
        script = json.loads(_python("documented_script", folder, "12", "6").splitlines()[-1])
    cost = ours["result"]["cost"]
    ideal = cost["training_seconds"] / cores
    table.add_row(
        "a", "study wall time, training ÷ cores (s)", f"{ours['wall']:.1f}", f"{ideal:.1f}",
        f"{ours['wall'] / ideal:.2f}", "≤ 1.2",
    )  # fmt: skip
    theirs = script["seconds"] / script["steps"]
    for options, study in ((LONG, ours), (SMALL, small)):
        per_step = study["wall"] / study["result"]["cost"]["gradient_steps"]
        table.add_row(
            "b", f"ms a gradient step ({' '.join(options)}), script after the docs",
            f"{per_step * 1e3:.2f}", f"{theirs * 1e3:.2f}", f"{theirs / per_step:.1f}", "≥ 15",
        )  # fmt: skip
    for options, took in firsts.items():
        table.add_row(
            "c", f"seconds to the first finished trial ({' '.join(options)}), median of {STARTS} "
            f"({took[0]:.1f} to {took[-1]:.1f})", f"{statistics.median(took):.1f}", "", "", "≤ 5",
        )  # fmt: skip
    driver, everything = small["cpu"]["driver"], sum(small["cpu"].values())
    table.add_row(
        "g", f"CPU seconds of the driver ({' '.join(SMALL)}), of all", f"{driver:.1f}",
        f"{everything:.1f}", f"{driver / everything:.2f}", "",
    )  # fmt: skip
    for who, peak in ours["peaks"].items():
        table.add_row("e", f"peak memory of {who} (MiB)", f"{peak:.0f}", "", "", "")


def _run_study(home: Path, options: tuple[str, ...]) -> dict:
    peaks: dict[str, float] = {}
    seconds: dict[int, float] = {}
    started = time.perf_counter()
    process = _start(home, options)
    watch = threading.Thread(target=_watch, args=(process, home, peaks, seconds), daemon=True)
    watch.start()
    out, _ = process.communicate()
    wall = time.perf_counter() - started
    watch.join()
    driver = seconds.pop(process.pid)
    cpu = {"driver": driver, "others": sum(seconds.values())}
    return {"result": json.loads(out), "wall": wall, "peaks": peaks, "cpu": cpu}


def _first_trial(home: Path, options: tuple[str, ...]) -> float:
    """Seconds from the command to the first trial in the store; the study is then interrupted."""
    started = time.perf_counter()
    process = _start(home, options)
    while process.poll() is None and not _trials(home / "studies.db"):
        time.sleep(0.02)
    took = time.perf_counter() - started
    process.send_signal(signal.SIGINT)
    process.communicate()
    return took


def _start(home: Path, options: tuple[str, ...]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tuner", "run", "mfeat", "--json", *options],
        env=os.environ | {"TUNER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _trials(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return int(database.execute("select count(*) from tuner_trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _watch(
    process: subprocess.Popen, home: Path, peaks: dict[str, float], seconds: dict[int, float]
) -> None:
    """Note the largest resident memory of the driver and of any worker, and all CPU seconds."""
    mark = f"TUNER_HOME={home}".encode()
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark not in (folder / "environ").read_bytes():
                    continue
                times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
                seconds[int(folder.name)] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
                worker = b"TrialWorker" in (folder / "cmdline").read_bytes()
                who = "driver" if int(folder.name) == process.pid else "worker" if worker else None
                if who:
                    pages = int((folder / "statm").read_text().split()[1])
                    size = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
                    peaks[who] = max(peaks.get(who, 0), size)
            except (OSError, ValueError, IndexError):
                continue
        time.sleep(1)


def _steps(table: Table) -> None:
    for batch in BATCHES:
        pairs = [
            [float(_python("steps", who, str(batch))) for who in ("ours", "plain")]
            for _ in range(ROUNDS)
        ]
        ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        table.add_row(
            "d", f"model-steps a second and core, batch {batch}, plain loop", f"{ours:.0f}",
            f"{plain:.0f}", f"{ratio:.2f}", "≥ 2",
        )  # fmt: skip


def _loss(table: Table) -> None:
    for rows, width in LOSSES:
        found = json.loads(_python("loss", str(rows), str(width)))
        square = rows**2 * 4 / 2**20
        table.add_row(
            "f", f"MiB of the loss of {rows:,} rows ({found['seconds'] * 1e3:,.1f} ms), their "
            "square", f"{found['mib']:.0f}", f"{square:.0f}", f"{found['mib'] / square:.2f}", "",
        )  # fmt: skip


def _python(module: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *words],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.machine()
    return f"{len(os.sched_getaffinity(0))} cores ({processor}), OpenBLAS for {_openblas_core()}"


def _openblas_core() -> str:
    """What NumPy's products are made for; OPENBLAS_CORETYPE may have it use less than there is."""
    core = "import threadpoolctl, numpy; print(threadpoolctl.threadpool_info()[0]['architecture'])"
    return subprocess.check_output([sys.executable, "-c", core], text=True).strip()


if __name__ == "__main__":
    main()
