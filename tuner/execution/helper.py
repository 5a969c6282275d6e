"""A process beside this one that answers one question after another."""

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Timer
from typing import Any, Self

from tuner.models.encoders.source import search_path

_SECONDS = 600.0  # that an answer may take
# It looks where this process does, and nowhere before: a file of the user's may have any name.
_SERVE = "import sys; sys.path[:] = sys.argv[1:]; from {} import serve; serve()"


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


class OwnProcess(HelperProcess):
    """A process of this program, whose questions and answers are any objects: see `answering`.

    Args:
        module: Its `serve` is run.
    """

    def __init__(self, module: str) -> None:
        super().__init__(("-P", "-c", _SERVE.format(module), *search_path()))

    def tell(self, question: object) -> Any:
        """Return its answer.

        Raises:
            ProcessDiedError: If it gives none.
        """
        return pickle.loads(base64.b64decode(self.ask(pickle.dumps(question))))  # noqa: S301  # ours


def answering(answer: Callable[[Any], object], *, load: Callable[[], None] = lambda: None) -> None:
    """Answer an `OwnProcess` until it asks no more; what else is printed goes to nobody.

    Args:
        answer: Answers a question.
        load: Loads what that takes, before anything is asked.
    """
    heard = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    load()
    while True:
        try:
            question = pickle.load(sys.stdin.buffer)  # noqa: S301  # of the process that started this
        except EOFError:
            return
        said = base64.b64encode(pickle.dumps(answer(question))).decode()
        print(json.dumps(said), file=heard, flush=True)


class ProcessDiedError(Exception):
    """A process died before it answered; the text is its exit code."""
