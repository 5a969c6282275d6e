"""Work in copies of a process that has loaded all that it needs."""

import asyncio
import gc
import os
import signal

import psutil
import pytest

from tests.support.servers import until
from tuner.service.processes.zygote import Zygote

pytestmark = pytest.mark.integration
MODULE = """
import os, signal, sys, time
from pathlib import Path
from tuner.service.processes.zygote import serve

def work(request):
    if request == b"die\\n":
        os.kill(os.getpid(), signal.SIGKILL)
    if request == b"fail\\n":
        raise ValueError("planted")
    if request == b"sleep\\n":
        Path(__file__).with_name("sleeps").write_text(str(os.getpid()))
        time.sleep(60)
    return b"%d %d " % (os.getpid(), os.getppid()) + request

serve(int(sys.argv[1]), work)
"""


@pytest.fixture
def zygote(tmp_path, monkeypatch):
    (tmp_path / "planted_work.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Zygote("planted_work")


def ask(zygote, *requests):
    async def all_of_them():
        return await asyncio.gather(*map(zygote.answer, requests))

    return asyncio.run(all_of_them())


def test_each_request_has_a_copy_of_one_process(zygote):
    first, second = (answer.split() for answer in ask(zygote, b"one", b"two"))
    assert (first[2], second[2]) == (b"one", b"two")
    assert first[1] == second[1]
    assert len({first[0], second[0], first[1]}) == 3


@pytest.mark.parametrize("end", [b"die", b"fail"])
def test_a_copy_that_breaks_answers_nothing_and_breaks_nobody_else(zygote, end):
    broken, whole = ask(zygote, end, b"whole")
    assert broken == b""
    assert whole.endswith(b"whole\n")
    assert ask(zygote, b"again")[0].split()[1] == whole.split()[1]


def test_a_zygote_that_was_killed_is_there_again(zygote):
    (before,) = ask(zygote, b"before")
    os.kill(int(before.split()[1]), signal.SIGKILL)
    until(lambda: not psutil.pid_exists(int(before.split()[1])) or zygote._process.poll())
    (after,) = ask(zygote, b"after")
    assert after.endswith(b"after\n")


def test_work_that_nobody_waits_for_ends(zygote, tmp_path):
    async def given_up():
        work = asyncio.create_task(zygote.answer(b"sleep"))
        while not (tmp_path / "sleeps").exists():
            await asyncio.sleep(0.05)
        work.cancel()

    asyncio.run(given_up())
    until(lambda: not psutil.pid_exists(int((tmp_path / "sleeps").read_text() or 0)))


def test_it_ends_with_whoever_had_it(zygote, tmp_path):
    ask(zygote, b"one")
    process = zygote._process
    ends = Zygote("planted_work")
    ask(ends, b"one")
    other = ends._process
    del ends
    gc.collect()
    assert other.poll() is not None
    assert process.poll() is None
