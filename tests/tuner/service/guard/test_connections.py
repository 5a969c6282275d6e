"""Who only holds connections open keeps nobody out."""

import socket
import time
from contextlib import ExitStack, suppress

import httpx2
import pytest

from tests.tuner.service.conftest import serving
from tuner.service.guard.connections import HEADER_SECONDS

pytestmark = pytest.mark.integration
FEW = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (128, 128)); "


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that may have 128 descriptors, and so 16 connections."""
    home = tmp_path_factory.mktemp("few")
    (home / "sitecustomize.py").write_text(f"{FEW}\n", encoding="utf-8")
    with serving(home / "home", PYTHONPATH=str(home)) as (process, url):
        yield process, url


def connected(url, stack, sent):
    stream = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5)
    stack.enter_context(stream)
    stream.sendall(sent)
    return stream


def is_closed(stream):
    stream.settimeout(0.2)
    try:
        return stream.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"G"])
def test_three_hundred_that_say_nothing_keep_nobody_out(service, sent):
    process, url = service
    with ExitStack() as stack:
        for _ in range(300):
            connected(url, stack, sent)
        for _ in range(3):
            started = time.monotonic()
            assert httpx2.get(f"{url}/health/live", timeout=5).status_code == 200
            assert time.monotonic() - started < 2
    assert process.poll() is None


def test_headers_that_drip_are_ended_and_a_kept_connection_too(service):
    _, url = service
    with ExitStack() as stack:
        slow = connected(url, stack, b"GET / HTTP/1.1\r\n")
        kept = connected(url, stack, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /")
        started, closed = time.monotonic(), {}
        while len(closed) < 2 and time.monotonic() - started < HEADER_SECONDS + 5:
            for name, stream in (("slow", slow), ("kept", kept)):
                if name in closed:
                    continue
                try:
                    stream.sendall(b"X: y\r\n" if name == "slow" else b"x")
                except ConnectionError:
                    closed[name] = time.monotonic() - started
                    continue
                if is_closed(stream):
                    closed[name] = time.monotonic() - started
    assert set(closed) == {"slow", "kept"}
    assert max(closed.values()) < HEADER_SECONDS + 3


def test_a_body_that_was_refused_is_cut_off(service):
    _, url = service
    head = b"POST /api/v1/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    with ExitStack() as stack:
        stream = connected(url, stack, head)
        stream.settimeout(5)
        assert stream.recv(100).startswith(b"HTTP/1.1 401")
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * 2**20:
                stream.sendall(bytes(2**20))
                sent += 2**20
    assert sent < 50 * 2**20
