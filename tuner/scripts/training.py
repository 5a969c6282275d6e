"""Runs one training of a user's code in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tuner.errors import ScriptError
from tuner.scripts.reported import Reported
from tuner.scripts.script import Script


def run_training(
    script: Script,
    *,
    strength: float,
    seed: int,
    confirming: bool,
    folder: Path,
    timeout: float | None = None,
) -> Reported:
    """Train once.

    Args:
        script: What is run.
        strength: λ.
        seed: Of the training.
        confirming: Whether test rows are reported, too.
        folder: Of this training alone; made if it is not there. What it writes is in `out/`, which
            is emptied before it starts; its own checkpoints in `checkpoint/`, which is not; what it
            prints in `log.txt`.
        timeout: Seconds after which it is ended.

    Raises:
        ScriptError: If it does not end well, or reports nothing that could be used: one sentence
            that says why and what to do.
    """
    out = folder.absolute() / "out"
    out.mkdir(parents=True, exist_ok=True)
    trial = {"strength": strength, "seed": seed, "confirming": confirming, "out": str(out)}
    values = {"{strength}": repr(strength), "{seed}": str(seed), "{out}": str(out)}
    words = [*(script.command or (sys.executable, "-m", "tuner.scripts.door", script.name))]
    for placeholder, value in values.items():
        words = [word.replace(placeholder, value) for word in words]
    begin = time.monotonic()
    environment = {"TUNER_TRIAL": json.dumps(trial), "TUNER_OUT": str(out)}
    with (folder / "log.txt").open("wb") as log:
        try:
            code = subprocess.run(
                words,
                cwd=script.folder,
                env=os.environ | environment,
                timeout=timeout,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise ScriptError(f"it was ended after {timeout} seconds") from None
    if code:
        raise ScriptError(f"it ended with exit code {code}: see {folder / 'log.txt'}")
    return _read(out, time.monotonic() - begin, confirming=confirming)


def _read(out: Path, seconds: float, *, confirming: bool) -> Reported:
    with np.load(out / "scores.npz", allow_pickle=False) as file:
        arrays = dict(file)
    ids, test_ids = arrays.pop("row_id", None), arrays.pop("row_id_test", None)
    scores = {name: a.astype(float) for name, a in arrays.items() if not name.endswith("_test")}
    test = {n.removesuffix("_test"): arrays[n].astype(float) for n in arrays if n not in scores}
    return Reported(
        scores=scores,
        test_scores=test if confirming else None,
        row_ids=ids,
        test_row_ids=test_ids,
        seconds=seconds,
    )
