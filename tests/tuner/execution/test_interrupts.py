import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tuner.execution.interrupts import interrupts_wait


def interrupted(number, then):
    with interrupts_wait():
        os.kill(os.getpid(), number)
        then()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_begun_is_finished_first(number):
    handler, done = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt):
        interrupted(number, lambda: done.append("written"))
    assert done == ["written"]
    assert signal.getsignal(number) is handler


def test_an_error_is_told_before_an_interrupt():
    with pytest.raises(ZeroDivisionError):
        interrupted(signal.SIGINT, lambda: 1 / 0)


def test_other_threads_are_left_alone():
    def work():
        with interrupts_wait():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() is signal.getsignal(signal.SIGINT)


def test_an_interrupt_that_nobody_heard_is_raised_again(unheard_interrupt):
    with interrupts_wait():
        pass
    unheard_interrupt()
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        pass


def run(code, number):
    """Run code that is interrupted by such a signal."""
    script = [sys.executable, "-c", code, str(int(number))]
    return subprocess.run(script, capture_output=True, text=True, timeout=15)


DROPPING = """
import os, signal, sys, weakref
from tuner.execution.interrupts import is_interrupted, raise_on_interrupt

class Told: ...

def interrupt(reference):
    os.kill(os.getpid(), int(sys.argv[1]))
    [n for n in range(10_000)]

class Faulty:
    def __del__(self):
        raise ValueError("of its own")

raise_on_interrupt()
told = Told()
reference = weakref.ref(told, interrupt)
del told
print("interrupted" if is_interrupted() else "not")
faulty = Faulty()
del faulty
"""


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_of_what_python_drops_only_an_interrupt_is_not_printed(number):
    """It is heard later: a stranger who stops a study saw a traceback of Python's weakref."""
    told = run(DROPPING, number)
    assert told.stdout == "interrupted\n", told.stderr
    assert "KeyboardInterrupt" not in told.stderr
    assert "ValueError: of its own" in told.stderr


IMPORTING = """
import os, signal, sys, time
from tuner.execution.interrupts import raise_on_interrupt

raise_on_interrupt()
code = "os.kill(os.getpid(), int(sys.argv[1])); done = [n for n in range(10_000)]; held = False"
held = True  # as the lock of imports
exec(compile(code, "<frozen importlib._bootstrap>", "exec"))
assert not held
try:
    time.sleep(20)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_lock_of_imports_is_given_back_before_an_interrupt(number):
    told = run(IMPORTING, number)
    assert told.stdout == "heard\n", told.stderr
