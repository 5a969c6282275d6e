"""`python -m tuner` is the command `tuner`."""

from tuner.cli.main import main

main()
