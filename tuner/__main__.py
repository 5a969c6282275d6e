"""`tuner`, or `python -m tuner`: the command, which Ctrl-C ends with code 130 at any moment."""

import os
import signal
import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Load the command, which takes a moment, and run it."""
    try:
        from tuner.cli.main import main as command

        command()
    except KeyboardInterrupt:  # before there was anything to say so, or once more while it ended
        _end_at_once_if_interrupted()
        os.write(2, b"Interrupted.\n")
        sys.exit(_INTERRUPTED)
    finally:
        _end_at_once_if_interrupted()
    raise AssertionError("a command ends by exiting")


def _end_at_once_if_interrupted() -> None:
    """Have an interrupt end the process: what libraries do at its end may take long."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(_INTERRUPTED))


if __name__ == "__main__":
    main()
