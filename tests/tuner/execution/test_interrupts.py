import os
import signal
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_nobody_heard_is_raised_again(unheard_interrupt):
    with interrupts_wait():
        pass
    unheard_interrupt()
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        pass
