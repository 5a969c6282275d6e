"""Watches over the process of one training, from a small process of its own; needs Python alone.

Started by its path, `python -I -S supervisor.py`, it reads a `Task` as a line of JSON from standard
input, and writes an `Ending` to standard output once nothing of the training is left. Standard
input is its lifeline: when that closes, or whoever started it is gone, it ends the training.
"""

import codecs
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

HALF_LOG_BYTES = 2**20  # of the beginning of a log, and of its end
GRACE = 3.0  # seconds between asking processes to end and ending them
PATIENCE = 30.0  # seconds after which one that does not even end so, as with a lost disk, is left
_POLL = 0.1  # seconds
_FLUSH = 2.0  # seconds between two writings of a log's end
_TAIL_CHARACTERS = 10_000  # told of the log's end
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be run.

    Attributes:
        words: The command.
        folder: Where it is run.
        log: The file for what it prints.
        timeout: Seconds; None for ever.
        half_log: Bytes that are kept of the beginning of the log, and of its end.
        mark: A file that is written if it ends well.
        identity: What is run, in one line: the first of that file; the other is its seconds.
    """

    words: tuple[str, ...]
    folder: str
    log: str
    timeout: float | None = None
    half_log: int = HALF_LOG_BYTES
    mark: str = ""
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How it ended.

    Attributes:
        code: Exit code, or minus the number of a signal; None if it could not be started.
        error: Why it could not be started.
        timed_out: Whether it was ended for its time.
        tail: The last of what it printed.
        seconds: How long it took.
    """

    code: int | None
    error: str = ""
    timed_out: bool = False
    tail: str = ""
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return self.code == 0 and not self.timed_out


class Log:
    """A file that keeps the beginning and the end of what is written, as UTF-8.

    Args:
        path: The file; if it cannot be written, nothing is kept but what `tail` tells.
        half: Bytes of the beginning, and of the end.
    """

    def __init__(self, path: str, half: int) -> None:
        self._file: IO[bytes] | None = None
        with suppress(OSError):
            self._file = Path(path).open("w+b")  # noqa: SIM115  # open as long as it runs
        self._half, self._dropped = half, 0
        self._head = 0 if self._file else half  # bytes of the beginning that are written
        self._end = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._flushed = 0.0

    def write(self, chunk: bytes, *, final: bool = False) -> None:
        """Add what was printed."""
        text = self._decoder.decode(chunk, final).encode()
        fits = text[: max(0, self._half - self._head)]
        self._put(fits, self._head)
        self._head += len(fits)
        self._end += text[len(fits) :]
        if len(self._end) > 2 * self._half:
            self._drop()
        if final or time.monotonic() - self._flushed > _FLUSH:
            self._flush()

    def tail(self) -> str:
        """Return the last that was printed."""
        content = bytes(self._end)
        if self._file is not None and not self._dropped:
            with suppress(OSError):
                content = os.pread(self._file.fileno(), self._head, 0) + content
        return content.decode(errors="replace")[-_TAIL_CHARACTERS:]

    def _drop(self) -> None:
        excess = max(0, len(self._end) - self._half)
        self._dropped += excess
        del self._end[:excess]

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        self._drop()
        gap = f"\n[tuner: {self._dropped:,} bytes left out]\n" if self._dropped else ""
        self._put(gap.encode() + self._end, self._head)

    def _put(self, content: bytes, place: int) -> None:
        """Write to the file; a full disk must not stop the training."""
        if self._file is not None and content:
            with suppress(OSError):
                os.pwrite(self._file.fileno(), content, place)
                os.ftruncate(self._file.fileno(), place + len(content))


class Training:
    """A running command, and all that it starts."""

    def __init__(self, task: Task) -> None:
        self._parent = os.getppid()
        self._log = Log(task.log, task.half_log)
        self._output, printed = os.pipe()
        os.set_blocking(self._output, False)
        try:
            self._process = subprocess.Popen(
                task.words,
                cwd=task.folder,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # this process has one thread
            )
        finally:
            os.close(printed)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        self._wanted = True

    def run(self, timeout: float | None) -> Ending:
        """Follow it to its end, and end what it left behind."""
        begin = time.monotonic()
        deadline = None if timeout is None else begin + timeout
        timed_out = False
        while self._process.poll() is None and self._wanted and not timed_out:
            self._follow()
            timed_out = deadline is not None and time.monotonic() > deadline
        self._end()
        while self._drain():
            pass
        self._log.write(b"", final=True)
        return Ending(
            code=self._process.returncode,
            timed_out=timed_out,
            tail=self._log.tail(),
            seconds=time.monotonic() - begin,
        )

    def stop(self, *_: object) -> None:
        """End it soon: a signal says so."""
        self._wanted = False

    def _follow(self) -> None:
        for key, _ in self._selector.select(_POLL):
            if key.fd == self._output:
                if not self._drain():
                    self._selector.unregister(self._output)  # it closed what it prints to
            elif not os.read(0, 4096):
                self._selector.unregister(0)
                self._wanted = False
        if os.getppid() != self._parent:
            self._wanted = False

    def _drain(self) -> bool:
        """Log what is printed so far; return whether there was any."""
        try:
            chunk = os.read(self._output, 2**18)
        except BlockingIOError:
            return False
        if chunk:
            self._log.write(chunk)
        return bool(chunk)

    def _end(self) -> None:
        """Ask all of its processes to end, and end them after a moment."""
        begin = time.monotonic()
        asked: set[int] = set()
        while (alive := self._alive()) and time.monotonic() - begin < PATIENCE:
            late = time.monotonic() - begin > GRACE
            for process in alive if late else alive - asked:
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
            asked |= alive
            self._drain()
            time.sleep(0.02)

    def _alive(self) -> set[int]:
        """Return the processes of the training; those that have ended are forgotten."""
        self._process.poll()
        descendants = _descendants()
        if descendants is None:  # no /proc: those that stayed in its session's first group
            return _group(self._process.pid)
        for process in descendants - {self._process.pid}:
            with suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        return _descendants() or set()


def _group(leader: int) -> set[int]:
    """Return minus the number of a group's leader, by which it is signalled, while there is one."""
    try:
        os.killpg(leader, 0)
    except OSError:
        return set()
    return {-leader}


def _descendants() -> set[int] | None:
    """Return all processes below this one; None where there is no /proc."""
    parents: dict[int, int] = {}
    try:
        processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return None
    for process in processes:
        with suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{process}/stat").read_bytes()
            parents[process] = int(status.rpartition(b")")[2].split()[1])
    found, level = set[int](), {os.getpid()}
    while level := {process for process, parent in parents.items() if parent in level} - found:
        found |= level
    return found


def _prctl(option: int, value: int) -> None:
    """Call prctl(2), where there is one: on Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_with_parent() -> None:
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _mark(task: Task, ending: Ending) -> None:
    """Write down that it ended well, in case nobody is there any more who would be told."""
    if task.mark and ending.is_well:
        with suppress(OSError):
            aside = Path(f"{task.mark}.part")
            aside.write_text(f"{task.identity}\n{ending.seconds}\n", encoding="utf-8")
            aside.replace(task.mark)


def main() -> None:
    """Run the task that standard input tells."""
    _prctl(_SET_CHILD_SUBREAPER, 1)  # orphans of the training become children of this process
    line = b""
    while not line.endswith(b"\n") and (part := os.read(0, 2**16)):
        line += part
    task = Task(**json.loads(line))
    try:
        training = Training(task)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        ending = Ending(code=None, error=str(error).partition("] ")[2] or str(error))
    else:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, training.stop)
        ending = training.run(task.timeout)
        _mark(task, ending)
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(asdict(ending)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
