"""A client asks again where that may help, sends all of it again, and gives up in the end."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tuner.client import Client
from tuner.errors import ServiceError

STUDY = b'{"id": "s1"}'


@pytest.fixture
def service():
    """Answers with the codes in `codes`, then 200; `bodies` has what was sent.

    Takes `seconds` for every answer; a code of 0 hangs up.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(server.seconds)
            code = server.codes.pop(0) if server.codes else 200
            if code:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(STUDY)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.codes, server.bodies, server.seconds = [], [], 0.0
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("code", [0, 429, 502, 503, 504])
def test_what_may_pass_is_waited_for_and_a_file_is_sent_as_a_whole_again(service, tmp_path, code):
    path = tmp_path / "x.npz"
    path.write_bytes(bytes(range(256)) * 9)
    service.codes = [code, code]
    with Client(service.url, "key") as client:
        assert client.submit(path, idempotency_key="k")["id"] == "s1"
    assert len(service.bodies) == 3
    assert all(path.read_bytes() in body for body in service.bodies)


@pytest.mark.parametrize("code", [400, 404, 409, 422, 500])
def test_what_will_not_pass_is_told_at_once(service, code):
    service.codes = [code]
    with Client(service.url, "key") as client, pytest.raises(ServiceError) as caught:
        client.submit("mfeat")
    assert caught.value.status == code
    assert len(service.bodies) == 1


def test_a_service_that_stays_busy_is_given_up(service):
    service.codes = [503] * 99
    with Client(service.url, "key", patience=1.0) as client, pytest.raises(ServiceError) as caught:
        client.submit("mfeat")
    assert caught.value.status == 503
    assert len(service.bodies) == 3  # at once, after .25 s and after .75 s: the next is too late


def test_a_service_that_is_not_there_is_named():
    with Client("http://127.0.0.1:9", "key", patience=0.0) as client:
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 does not answer"):
            client.submit("mfeat")
        with pytest.raises(ServiceError, match="does not answer"):
            list(client.watch("s1"))


@pytest.mark.slow
def test_patience_begins_with_the_first_failure(service):
    service.codes, service.seconds = [503], 1.0
    with Client(service.url, "key", patience=0.5) as client:
        assert client.submit("mfeat")["id"] == "s1"
