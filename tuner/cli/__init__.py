"""The command `tuner`: words, flags, exit codes."""
