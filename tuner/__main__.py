"""`tuner`, or `python -m tuner`: the command, which Ctrl-C ends with code 130 at any moment."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

_INTERRUPTED = 130
_WORDS = b"Interrupted.\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> NoReturn:
    """Load the command, which takes a moment, and run it."""
    _have_interrupts(_end)  # until the command has a handler of its own: nothing is begun yet
    try:
        from tuner.cli.main import main as command

        command()
    except KeyboardInterrupt:  # once more while it ended
        _have_interrupts(signal.SIG_DFL)
        os.write(2, _WORDS)
        sys.exit(_INTERRUPTED)
    finally:
        # The system ends the process then, which shells tell as 130, too: what libraries do at the
        # end may take long, and hear of nothing. Ray asks a server that is gone.
        _have_interrupts(signal.SIG_DFL)
    raise AssertionError("a command ends by exiting")


def _have_interrupts(handler: "Callable[..., None] | signal.Handlers") -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _end(*_: object) -> None:
    os.write(2, _WORDS)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
