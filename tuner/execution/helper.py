"""A process beside this one that answers one question after another."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Timer
from typing import Any, Self

_SECONDS = 600.0  # that an answer may take


class HelperProcess:
    """A process that reads questions from its standard input and answers each with a line of JSON.

    It takes seconds to start, which it does when it is told to, or first asked; and again should it
    have died. What a question is, is for the process.

    Args:
        options: Of Python, the code to run among them.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Begin to start it, if it does not run."""
        self._running()

    def ask(self, question: bytes) -> Any:
        """Return its answer.

        Raises:
            ProcessDiedError: If it gives none.
        """
        process = self._running()
        watch = Timer(_SECONDS, process.kill)
        watch.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # it died, as the lack of an answer says
                process.stdin.write(question)
                process.stdin.flush()
            if line := process.stdout.readline():
                return json.loads(line)
        finally:
            watch.cancel()
        self._process = None
        process.communicate()
        raise ProcessDiedError(f"exit code {process.returncode}")

    def end(self) -> None:
        """End it; what it does is not waited for."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, *self._options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process


class ProcessDiedError(Exception):
    """A process died before it answered; the text is its exit code."""
