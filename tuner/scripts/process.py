"""The process of one training under its supervisor."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Self

from tuner.errors import ScriptError
from tuner.scripts import supervisor
from tuner.scripts.supervisor import Ending, Task
from tuner.scripts.trial import RANKS

_LATE = supervisor.GRACE + supervisor.PATIENCE + 5  # seconds for a supervisor to end
_SECRETS = ("TUNER_DATABASE_URL", "TUNER_SECRET_KEY", "TUNER_SMTP_URL", "TUNER_API_KEY")


class KilledError(ScriptError):
    """A training was killed."""


class Process:
    """Runs a task under a supervisor, which ends it when this ends, whatever it started.

    Args:
        task: What is run.
        variables: Of its environment, beside those of this process.
    """

    def __init__(self, task: Task, variables: Mapping[str, str]) -> None:
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__],
            env=_environment(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then closes the input
        )
        assert self._supervisor.stdin is not None
        with suppress(OSError):  # it has ended already
            self._supervisor.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
            self._supervisor.stdin.flush()

    def wait(self) -> Ending:
        """Return how it ended, once nothing of it is left.

        Raises:
            KilledError: If nobody can say.
        """
        assert self._supervisor.stdout is not None
        told = self._supervisor.stdout.read()
        self.end()
        if not told:
            raise KilledError(
                "the process that watches over a training ended with code "
                f"{self._supervisor.returncode}: was it killed? Try again"
            )
        return Ending(**json.loads(told))

    def end(self) -> None:
        """End it, and return once nothing of it is left."""
        assert self._supervisor.stdin is not None
        with suppress(OSError):
            self._supervisor.stdin.close()
        try:
            self._supervisor.wait(_LATE)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        with self._supervisor:  # closes what is open
            pass


def launch(task: Task, variables: Mapping[str, str]) -> tuple[Task, Ending]:
    """Run a task to its end; return it, and how it ended.

    Raises:
        KilledError: If nobody can say.
    """
    with Process(task, variables) as process:
        return task, process.wait()


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of a training: its ranks are its own, and secrets are not for it."""
    kept_back = {*RANKS, *_SECRETS}
    inherited = {name: value for name, value in os.environ.items() if name not in kept_back}
    return inherited | {"PYTHONUNBUFFERED": "1"} | dict(added)
