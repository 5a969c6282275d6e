"""Processes that have loaded what they need before they are asked for anything.

One process, the zygote, loads the program, which takes seconds; what it is given then it gives to a
copy of itself. The copy ends when its work is done, or nobody waits for the answer any more.
"""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable


class Zygote:
    """Has work done in processes of their own, by a module whose `main` calls `serve`.

    It is started where it is first needed, and again should it have died.

    Args:
        module: What is run.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def answer(self, request: bytes) -> bytes:
        """Return what a copy answers; nothing if it died.

        A copy whose answer is no longer waited for is ended.

        Args:
            request: One line.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._give(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(request + b"\n")
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def _give(self, connection: socket.socket) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._control is not None
        socket.send_fds(self._control, [b"."], [connection.fileno()])

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: else a file of ours may be one of the same name in the working directory
                [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # what is copied has no threads
            )
        self._control = ours
        weakref.finalize(self, _end, self._process, ours)


def serve(control: int, work: Callable[[bytes], bytes]) -> None:
    """Do work in copies of this process, until whoever asks for it is gone.

    Args:
        control: Number of the socket that brings connections.
        work: Given a request, answers it.
    """
    with socket.socket(fileno=control) as asked:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which says so
        while True:
            _, numbers, _, _ = socket.recv_fds(asked, 1, 1)
            if not numbers:
                return
            with socket.socket(fileno=numbers[0]) as connection:
                if os.fork() == 0:
                    asked.close()
                    _answer(connection, work)


def _answer(connection: socket.socket, work: Callable[[bytes], bytes]) -> None:
    """Answer one request, in the copy, and end it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as requests:
        request = requests.readline()
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        connection.sendall(work(request))
        gc.collect()  # removes temporary files
        os._exit(0)


def _end_with(connection: socket.socket) -> None:
    """End this process once nobody waits for its answer."""
    if not connection.recv(1):
        os._exit(1)


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.kill()  # it may be loading, for seconds; its copies end with what they are asked for
    process.wait()
