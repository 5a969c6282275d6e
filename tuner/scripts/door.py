"""The process of a training that is a function: `python -m tuner.scripts.door MODULE:NAME`."""

import sys
from importlib import import_module
from pathlib import Path

from tuner.scripts.trial import current_trial


def main() -> None:
    """Call the function with the trial of the environment."""
    sys.path.append(str(Path.cwd()))
    module, _, name = sys.argv[1].partition(":")
    getattr(import_module(module), name)(current_trial())


if __name__ == "__main__":
    main()
