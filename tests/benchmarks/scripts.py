"""What a training of a user's own code costs beside the training itself.

Usage: python -m tests.benchmarks.scripts. The scripts report and do nothing else. The baseline does
the same without this program: Python is started, NumPy imported, and a file of scores written.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tuner.scripts.script import Script
from tuner.scripts.training import run_training

ROUNDS = 15
FUNCTION = "def train(trial):\n    trial.report(acc=[0, 1])\n"
COMMAND = "import sys\nimport numpy as np\nnp.savez(sys.argv[1] + '/scores.npz', acc=[0, 1])\n"
AIM = 1.0  # seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty_function.py").write_text(FUNCTION)
        (folder / "empty_command.py").write_text(COMMAND)
        words = (sys.executable, "empty_command.py", "{out}", "{strength}", "{seed}")
        scripts = {
            "a function": Script.of_function("empty_function:train", folder),
            "a command": Script.of_command(words, folder),
        }
        baseline = _median(lambda: subprocess.run([*words[:2], name], cwd=folder, check=True))
        table = Table(title=f"seconds a training, median of {ROUNDS}")
        for heading in ("", "ours", "baseline", "overhead", "aim"):
            table.add_column(heading)
        for what, script in scripts.items():
            ours = _median(
                lambda script=script: run_training(
                    script, strength=0.1, seed=1, confirming=False, folder=folder / "training"
                )
            )
            cells = (f"{seconds:.2f}" for seconds in (ours, baseline, ours - baseline))
            table.add_row(what, *cells, f"< {AIM:g}")
    Console().print(table)


def _median(act) -> float:
    return statistics.median(_seconds(act) for _ in range(ROUNDS))


def _seconds(act) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
