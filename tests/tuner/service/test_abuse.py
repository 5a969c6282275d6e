"""Strangers and bad receivers at once: who has a key notices little, and the service bears it."""

import socket
import statistics
import threading
import time
from contextlib import suppress

import httpx2
import psutil
import pytest

from tests.support.servers import until
from tests.tuner.service.conftest import client_of, serving
from tests.tuner.service.notices.test_webhooks import Dripper, Receiver
from tests.tuner.storage.requests.test_submissions import checked
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.database import Database
from tuner.storage.requests.submissions import Submissions

pytestmark = [pytest.mark.integration, pytest.mark.soak]
STRANGERS, DRIPPERS, HOOKS, SUBMITS = 20, 100, 100, 7
MEBIBYTES = 100


class Crowd:
    """Threads that do something over and over until the end."""

    def __init__(self):
        self._end, self._threads = threading.Event(), []

    def add(self, work):
        def over_and_over():
            while not self._end.is_set():
                with suppress(OSError, httpx2.HTTPError):
                    work()

        self._threads.append(threading.Thread(target=over_and_over, daemon=True))
        self._threads[-1].start()

    def end(self):
        self._end.set()
        for thread in self._threads:
            thread.join(30)


def upload(url):
    """Send a large file without a key, reading no answer before it is sent."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(
            b"POST /api/v1/studies HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; "
            b"boundary=b\r\nContent-Length: %d\r\n\r\n" % (MEBIBYTES * 2**20)
        )
        for _ in range(MEBIBYTES):
            stream.sendall(bytes(2**20))
        stream.recv(1000)


def drip(url):
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\n")
        while True:
            stream.sendall(b"X: y\r\n")
            time.sleep(1)


def watch_memory(pid, most):
    process = psutil.Process(pid)
    with suppress(psutil.NoSuchProcess):
        most.append(process.memory_info().rss)
    time.sleep(0.2)


def submitted(client, path, seed):
    """Submit, and return the seconds that it took."""
    started = time.monotonic()
    client.submit(path, seed=seed)
    return time.monotonic() - started


@pytest.mark.timeout(600)
def test_a_user_notices_little_of_twenty_strangers_and_a_hundred_bad_webhooks(tmp_path, data):
    home, path = tmp_path / "home", data()
    receiver, dripper = Receiver(), Dripper(b"HTTP/1.1 200 OK\r\nX: ")
    hooks = f"{receiver.url},{dripper.url}".replace("/hook", "/")
    limits = {"TUNER_ALLOWED_WEBHOOKS": hooks, "TUNER_MAX_QUEUED": "1000", "TUNER_SLOTS": "0"}
    with serving(home, **limits) as (process, url), client_of(home, url) as client:
        with Database(Settings(home=home).store_url) as database:
            mallory = caller_of(database, create_key(database, "mallory")).user
            submissions = Submissions(database, max_queued=1000)
            for n in range(HOOKS):
                mine = submissions.submit(checked(mallory, f"m{n}", webhook=dripper.url))
                submissions.cancel(mallory, mine.id)
        undisturbed = [submitted(client, path, seed) for seed in range(3)]
        crowd, most = Crowd(), []
        crowd.add(lambda: watch_memory(process.pid, most))
        for _ in range(STRANGERS):
            crowd.add(lambda: upload(url))
        for _ in range(DRIPPERS):
            crowd.add(lambda: drip(url))
        time.sleep(3)
        seconds = [submitted(client, path, seed) for seed in range(3, 3 + SUBMITS)]
        client.cancel(client.submit(path, seed=0, webhook=receiver.url)["id"])
        until(lambda: receiver.heard, 60.0)
        crowd.end()
        assert process.poll() is None
        spooled = [f for f in psutil.Process(process.pid).open_files() if "incoming" in f.path]
    before, meanwhile = statistics.median(undisturbed), statistics.median(seconds)
    print(
        f"{before:.2f} s before, {meanwhile:.2f} s meanwhile; {max(most) / 2**20:.0f} MiB at most"
    )
    assert meanwhile < max(2, 2.5 * before)  # the crowd itself keeps the cores busy
    assert max(most) < 400 * 2**20
    assert not spooled
    receiver.close()
    dripper.close()
