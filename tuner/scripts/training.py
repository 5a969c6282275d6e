"""Runs one training of a user's code in a process of its own."""

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tuner.errors import ScriptError
from tuner.models.encoders.source import search_path
from tuner.scripts.process import KilledError, launch
from tuner.scripts.reported import Reported, reported_of
from tuner.scripts.scores import FILE, read_scores
from tuner.scripts.script import Script
from tuner.scripts.supervisor import Ending, Task
from tuner.scripts.trial import EPOCHS, SAVED, Trial
from tuner.typing import Floats

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*|\w*error)(?:: (.*))?")
_OF_GROUP = re.compile(r" *(?:[|+] )+")  # before the lines of an exception in a group
_FRAME = re.compile(r' +File "(.*)", line (\d+)')
_THIS_PROGRAM = re.escape(str(Path(__file__).parents[1]))
_NOT_OF_USER = re.compile(rf"^<|^{_THIS_PROGRAM}/|/(?:site|dist)-packages/|/lib/python3\.\d+/")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OF_LAUNCHERS = ("CalledProcessError", "ChildFailedError")
_TRACEBACK = "Traceback (most recent call last):"
_MOST_CURVES = 2**24  # characters
_WORDS = 400  # characters of an exception that are told
_LINE = 200  # the same of a line
_DOOR = (sys.executable, "-P", "-m", "tuner.scripts.door")
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the latter as shells say it
RETRIES = 2  # of a training that was killed, as by a system that is short of memory

# Runs a task with these variables, and returns what of it counts: itself, or one of its ranks.
Launch = Callable[[Task, Mapping[str, str]], tuple[Task, Ending]]


def run_training(
    script: Script,
    *,
    strength: float,
    seed: int,
    confirming: bool,
    folder: Path,
    timeout: float | None = None,
    share: float = 1.0,
    environment: Mapping[str, str] = MappingProxyType({}),
    resume: bool = False,
    launch: Launch = launch,
) -> Reported:
    """Train once; no process of it is left when this returns, raises, or soon after it is killed.

    Args:
        script: What is run.
        strength: λ.
        seed: Of the training.
        confirming: Whether test rows are reported, too.
        folder: Of this training alone; made if it is not there. What it writes is in `out/`, which
            is emptied before it starts; its own checkpoints in `checkpoint/`, which is not, and
            is removed once it has reported; what it prints in `log.txt`, of which the beginning and
            the end are kept.
        timeout: Seconds after which it is ended.
        share: Of a whole training, that it is to be.
        environment: Variables beside those of this process.
        resume: Whether to take what the same training reported in this folder, if it ended well
            but nobody was left to be told.
        launch: What runs it.

    Raises:
        ScriptError: If it does not end well, or reports nothing that could be used: one sentence
            that says why and what to do.
    """
    told = Trial(strength=strength, seed=seed, confirming=confirming, share=share)
    trial = _placed(told, folder.absolute())
    task, variables = _task(script, trial, timeout), {**environment, **trial.to_environment()}
    try:
        seconds = _ended_before(task) if resume else None
        if seconds is None:
            seconds = _run_to_end(task, trial, lambda: launch(task, variables))
        _check_place(trial, Path(script.folder))
        reported = _reported(trial, seconds)
    except ScriptError as error:
        _forget(task, trial)
        raise ScriptError(f"{script.name}: {error}") from None
    shutil.rmtree(trial.checkpoint, ignore_errors=True)  # whoever is killed now has the mark
    return reported


def _forget(task: Task, trial: Trial) -> None:
    """Leave nothing of a training by which a later one would be taken for it, or be disturbed."""
    Path(task.mark).unlink(missing_ok=True)
    _end_orphans(trial.folder)


def _placed(trial: Trial, folder: Path) -> Trial:
    return replace(trial, folder=folder / "out", checkpoint=folder / "checkpoint")


def _task(script: Script, trial: Trial, timeout: float | None) -> Task:
    told = (script.digest, trial.strength, trial.seed, trial.confirming, trial.share)
    return Task(
        words=_words(script, trial),
        folder=script.folder,
        log=str(trial.folder.with_name("log.txt")),
        timeout=timeout,
        mark=str(trial.folder.with_name("ended.txt")),
        identity=json.dumps(told),
    )


def _ended_before(task: Task) -> float | None:
    """Return the seconds of the same training, if it ended well; else None."""
    try:
        identity, seconds = Path(task.mark).read_text(encoding="utf-8").splitlines()
        return float(seconds) if identity == task.identity else None
    except (OSError, ValueError):
        return None


def _run_to_end(task: Task, trial: Trial, run: Callable[[], tuple[Task, Ending]]) -> float:
    """Train, once more after a kill, which is no fault of the code: its checkpoints are there.

    Returns:
        The seconds that the last attempt took.

    Raises:
        ScriptError: If it does not end well, or was killed each time.
    """
    for _ in range(RETRIES):
        with suppress(KilledError):
            return _run(task, trial, run)
    return _run(task, trial, run)


def _run(task: Task, trial: Trial, run: Callable[[], tuple[Task, Ending]]) -> float:
    """Train, and return the seconds that it took.

    Raises:
        KilledError: If it was killed.
        ScriptError: If it does not end well.
    """
    _forget(task, trial)
    shutil.rmtree(trial.folder, ignore_errors=True)
    for place in (trial.folder, trial.checkpoint):
        place.mkdir(parents=True, exist_ok=True)
    counts, ending = run()
    _check_ending(ending, counts)
    return ending.seconds


def _words(script: Script, trial: Trial) -> tuple[str, ...]:
    """Return the command of a training."""
    if script.command is None:
        return (*_DOOR, script.name, script.folder, *search_path())
    values = {"{strength}": repr(trial.strength), "{seed}": str(trial.seed)}
    values |= {"{out}": str(trial.folder), "{share}": repr(trial.share)}
    pattern = re.compile("|".join(map(re.escape, values)))
    return tuple(pattern.sub(lambda m: values[m[0]], word) for word in script.command)


def _end_orphans(folder: Path) -> None:
    """End processes of a training whose supervisor was killed: they would write to its folder."""
    mark = f"TUNER_OUT={folder}\0".encode()
    for place in Path("/proc").glob("[0-9]*"):  # none where there is no /proc
        with suppress(OSError):
            if mark in (place / "environ").read_bytes() and place.name != str(os.getpid()):
                os.kill(int(place.name), signal.SIGKILL)


def _check_ending(ending: Ending, task: Task) -> None:
    """Do nothing if a training ended well."""
    if ending.code is None:
        raise ScriptError(
            f"{task.words[0]!r} cannot be started ({ending.error}). Write the command as it is "
            "typed in its folder, or with its path; a script without rights to be run needs its "
            "interpreter before it, as python train.py"
        )
    see = f"What it printed is in {task.log}"
    if ending.timed_out:
        raise ScriptError(
            f"it was ended after {task.timeout:g} s, its time. {see}; allow more, or train less"
        )
    if ending.code == 0:
        return
    raised, is_of_launcher = _raised(ending.tail)
    if raised is not None and (mend := _missing_module_words(raised, task)):
        raise ScriptError(f"{raised}. {mend}")
    is_killed = raised is None and ending.code in _KILLED
    if is_killed or (is_of_launcher and _says_killed(ending)):
        raise KilledError(f"it {_code_words(-signal.SIGKILL)}. {see}")
    ended = f"it {_code_words(ending.code)}{_last_words(ending.tail)}"
    raise ScriptError(f"{raised or ended}. {see}")


def _missing_module_words(raised: str, task: Task) -> str | None:
    """Say where a module is missing that a training imports; None if that is not its fault."""
    if "ModuleNotFoundError: No module named" not in raised:
        return None
    if task.words[: len(_DOOR)] == _DOOR:
        return (
            f"It was run by {sys.executable}: install the module there, or install this program "
            "where the module is"
        )
    if "No module named 'tuner'" in raised:
        return (
            "Install it for the Python of that command; or let it write its scores without it, by "
            f"numpy.savez, into the file {FILE} in the folder {{out}}"
        )
    return None


def _last_words(output: str) -> str:
    """Tell the last line that was printed, as seen once a progress bar has overwritten itself."""
    lines = [_COLOUR.sub("", line).strip() for line in output.splitlines()]
    last = next(filter(None, reversed(lines)), "")
    return f", after it printed {last[:_LINE]!r}" if last else ""


def _says_killed(ending: Ending) -> bool:
    """Whether a launcher says, in its last words, that a process of its was killed."""
    return "SIGKILL" in ending.tail.rpartition(_TRACEBACK)[2]


def raised_words(output: str) -> str | None:
    """Tell the last exception of what a Python program printed; None if there is none.

    Launchers of processes raise one more when a process of theirs did: the earlier says why.
    """
    return _raised(output)[0]


def _raised(output: str) -> tuple[str | None, bool]:
    """The exception of `raised_words`, and whether it is of a launcher, as no other is told."""
    tracebacks = output.split(_TRACEBACK)
    told = [words for words in map(_exception_words, tracebacks) if words is not None]
    own = [words for words in told if not any(name in words for name in _OF_LAUNCHERS)]
    return next(reversed(own or told), None), not own


def _exception_words(traceback: str) -> str | None:
    """Tell the exception after lines of files, of which a syntax error prints one alone.

    The place that is told is the last in code of the user's, not where a library raised.
    """
    place, is_of_user = "", False
    for printed in filter(str.strip, traceback.splitlines()):
        line = _OF_GROUP.sub("", printed, count=1) if printed.lstrip()[:1] in "|+" else printed
        if match := _FRAME.match(line):
            of_user = _NOT_OF_USER.search(match[1]) is None
            if of_user or not is_of_user:
                place = f" ({Path(match[1]).name}, line {match[2]})"
            is_of_user |= of_user
        elif place and (match := _EXCEPTION.fullmatch(line.rstrip())):
            words = (match[2] or "")[:_WORDS].rstrip(".")
            if match[1] == ScriptError.__name__:
                return words
            return f"it raised {match[1]}{': ' if words else ''}{words}{place}"
    return None


def _code_words(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return (
            f"was killed (SIGKILL) {1 + RETRIES} times, as systems do when memory is full: give it "
            "more memory, or train with smaller batches"
        )
    if code == 127:
        return "ended with exit code 127: a command in it was not found"
    with suppress(ValueError):
        return f"was ended by the signal {signal.Signals(number).name}"
    return f"ended with exit code {code}"


def _check_place(trial: Trial, folder: Path) -> None:
    """Do nothing unless a training left its scores in the folder that it was run in."""
    if not (trial.folder / FILE).exists() and (folder / FILE).exists():
        raise ScriptError(
            f"it reported nothing, and there is a {FILE} in {folder}, where it was run. Write it "
            "into the folder of {out} (in the environment: TUNER_OUT)"
        )


def _reported(trial: Trial, seconds: float) -> Reported:
    validation, test = read_scores(trial.folder, confirming=trial.confirming)
    saved = trial.folder / SAVED
    return reported_of(
        validation,
        test,
        curves=_curves(trial.folder / EPOCHS),
        seconds=seconds,
        saved=saved if saved.is_dir() else None,
    )


def _curves(path: Path) -> dict[str, Floats]:
    """Read what was told after epochs; NaN where one was not told. None if it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            epochs = [json.loads(line) for line in file.read(_MOST_CURVES).splitlines()]
        names = dict.fromkeys(name for epoch in epochs for name in epoch)
        return {
            name: np.array([epoch.get(name, np.nan) for epoch in epochs], dtype=float)
            for name in names
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
