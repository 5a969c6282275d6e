"""The processes that encoders are exported and tried in, shared by the tests of a process."""

import atexit

from tuner.tracking.registered.exporting import EncoderProcesses

PROCESSES = EncoderProcesses()  # they start when they are first needed
atexit.register(PROCESSES.end)
