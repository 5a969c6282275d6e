"""One line of what Ray says when a worker died: its texts are those of real deaths."""

import pytest

from tuner.execution.causes import in_one_line

CREATION = """\
The actor died because of an error raised in its creation task, \x1b[36mray::TrialWorker.__init__()\
\x1b[39m (pid=3289, ip=192.0.2.2, actor_id=4f8dbc1b01d37d329585973001000000, \
repr=<ray.tune.trainable.util.TrialWorker object at 0x7f9567a78350>)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/site-packages/ray/tune/trainable/util.py", line 123, in setup
    setup_kwargs[k] = parameter_registry.get(prefix + k)
                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/site-packages/ray/tune/registry.py", line 313, in get
    return ray.get(self.references[k])
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
                                  ^^^^^^^^^^^^^^^^^^^
ray.exceptions.RaySystemError: System error: No module named 'my_encoders'
traceback: Traceback (most recent call last):
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
ModuleNotFoundError: No module named 'my_encoders'
"""
KILLED = """\
The actor died unexpectedly before finishing this task.
\tclass_name: TrialWorker
\tactor_id: 06a9e224a40b828fcafa88a701000000
\tpid: 4542
\tnamespace: 4b1ecb55-213f-4a81-bae9-13961e78a40c
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes \
include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop \
--force was called, or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected \
error. If the process was killed by the kernel OOM killer (verifiable by checking for OOM in dmesg \
of the OOMing node), consider enabling resource isolation via --enable-resource-isolation.
"""
MEMORY = """\
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, \
ID: d2399ec029fc5f16548d0d2cb9dfb2e577bc28d2d7e3377bf0c47f8a) was 6.83GB used / 23.54GB limit \
(0.290338)
OOM kill reason: Memory usage 7338725376B exceeded threshold of 1263825792B (5.0% of 25276514304B \
limit)
Object store memory usage: [- objects spillable: 4
- bytes spillable: 18040

Eviction Stats:
(global lru) capacity: 5583947366
(global lru) bytes evicted: 0]
Ray killed 1 worker(s) based on the killing policy
Considered workers: [
Selected to kill: (Task: job ID=01000000, task name=TrialWorker.__init__, pid=6248)
"""
NODE = """\
The actor died unexpectedly before finishing this task.
\tclass_name: TrialWorker
\tactor_id: 2f2b1c3b2a4b828fcafa88a701000000
\tpid: 442
\tip: 10.195.73.2
The actor died because its node has died. Node Id: \
1b38142e4acf3fae21eab1dd0e234d08cabf5c0525318d31e5d5a3fe
\tthe actor's node was terminated unexpectedly: health check failed due to missing too many \
heartbeats
"""
TASK = """\
\x1b[36mray::TrialWorker.train()\x1b[39m (pid=3289, ip=192.0.2.2, actor_id=4f8d)
  File "/usr/lib/python3.11/site-packages/tuner/execution/workers/worker.py", line 118, in step
    raise FloatingPointError("a loss\\n  became inf")
FloatingPointError: a loss
  became inf
and worse
"""


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (CREATION, "ModuleNotFoundError: No module named 'my_encoders'"),
        (KILLED, "its process was killed, perhaps because memory ran out, or it crashed"),
        (MEMORY, "its node ran low on memory: 6.83GB of 23.54GB used"),
        (
            NODE,
            "The actor died because its node has died. Node Id: "
            "1b38142e4acf3fae21eab1dd0e234d08cabf5c0525318d31e5d5a3fe",
        ),
        (TASK, "FloatingPointError: a loss"),
        (
            "The actor is dead because its worker process has died. Worker exit type: USER_ERROR "
            "Worker exit detail: Worker exits with an exit code 3.\n",
            "Worker exits with an exit code 3.",
        ),
        (
            "The actor died unexpectedly before finishing this task.\n\tpid: 442\n",
            "The actor died unexpectedly before finishing this task.",
        ),
        ("\n", "of an unknown cause"),
    ],
)
def test_a_cause_is_one_line_without_addresses(cause, line):
    assert in_one_line(cause) == line
