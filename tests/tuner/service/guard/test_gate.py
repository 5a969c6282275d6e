"""Nothing before the key: what strangers and other pages send is refused unread."""

import json
import socket
import time

import httpx2
import pytest

from tests.support.servers import until
from tests.tuner.service.conftest import Service, uploads
from tuner.service.guard.bodies import JSON_LIMIT
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, revoke_key

pytestmark = pytest.mark.integration
EVIL = {"Origin": "https://evil.example"}


def raw(service, head, body=b"", seconds=20.0):
    """Send bytes as they are, and return the answer's first line, or nothing, and the seconds."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as stream:
        stream.settimeout(seconds)
        stream.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = stream.recv(4096)
    return answer.partition(b"\r\n")[0].decode(), time.monotonic() - started


def test_every_route_wants_a_key_before_it_reads_anything(service):
    """A body is announced that never comes: only who does not wait for it can answer."""
    document = httpx2.get(f"{service.url}/openapi.json").json()
    closed = [
        (method.upper(), path.format(id="x1", user="u", modality="a", link="0" * 12, token="tl_x"))
        for path, item in document["paths"].items()
        for method in item
        if path.startswith("/api/v1")
    ]
    assert len(closed) > 12
    closed += [
        ("GET", "/api/v1/session"),
        ("POST", "/api/v1/nothing"),
        ("PATCH", "/api/v1/studies"),
    ]
    for method, path in closed:
        for kind in ("multipart/form-data; boundary=b", "application/json"):
            for proof in ("", "\r\nAuthorization: Bearer tk_x", "\r\nCookie: tuner_session=ts_x"):
                head = (
                    f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: 100000{proof}"
                )
                line, _ = raw(service, head, b"--b\r\n", seconds=5)
                code = 404 if "/shared/" in path else 401  # a link's token is the key
                assert line.startswith(f"HTTP/1.1 {code}"), (method, path, kind, proof)


def test_a_key_for_reading_sends_no_body_either(service):
    key = service.key("ada", ("read",))
    head = (
        "POST /api/v1/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nAuthorization: Bearer {key}"
    )
    assert raw(service, head, seconds=5)[0].startswith("HTTP/1.1 403")


def test_each_route_has_a_limit_of_its_own(service):
    with service.http() as http:
        large = b'{"key": "' + b"x" * JSON_LIMIT + b'"}'
        answer = http.post("/session", content=large, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "1,048,576" in answer.text) == (413, True)
        assert http.put("/studies/x/shares/u", content=large).status_code == 413

        def chunks():
            for _ in range(JSON_LIMIT // 2**16 + 2):
                yield b" " * 2**16

        answer = http.post(
            "/session", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/session", "/studies"])
def test_a_body_that_drips_is_ended(service, monkeypatch, path):
    monkeypatch.setattr("tuner.service.guard.bodies._SILENCE", 0.5)
    kind = "application/json" if path == "/session" else "multipart/form-data; boundary=b"
    head = (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Content-Length: 5000\r\nAuthorization: Bearer {service.key()}"
    )
    begun = b'{"key": "' if path == "/session" else b"--b\r\nContent-Disposition: form-data"
    assert raw(service, head, begun)[0].startswith("HTTP/1.1 408")  # silent
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(head.encode() + b"\r\n\r\n" + begun)
        stream.settimeout(0.1)
        answer, end = b"", time.monotonic() + 10
        while not answer and time.monotonic() < end:  # a byte at a time
            stream.sendall(b"-")
            try:
                answer = stream.recv(100)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")
    assert uploads(service) == []


def test_a_request_ends_in_time(tmp_path, data):
    service = Service(Settings(home=tmp_path / "home", max_seconds=0.2))
    try:
        with service.http() as http:
            files = {"file": ("x.npz", data().read_bytes())}
            answer = http.post("/studies", files=files)  # checking it takes seconds
        assert answer.status_code == 503
        assert "took longer than the service gives" in answer.json()["detail"]
        until(lambda: uploads(service) == [], 20.0)
    finally:
        service.stop()


def test_another_page_changes_nothing(service):
    key = service.key("ada")
    with httpx2.Client(base_url=f"{service.url}/api/v1") as browser:
        assert browser.post("/session", json={"key": key}, headers=EVIL).status_code == 403
        browser.post("/session", json={"key": key}, headers={"Origin": service.url})
        own = [{}, {"Origin": service.url}, {"Sec-Fetch-Site": "same-origin"}]
        for headers in own:
            sent = browser.post("/studies", data={"data": "mfeat"}, headers=headers)
            assert sent.status_code == 201, headers
        identifier = sent.json()["id"]
        others = [EVIL, {"Origin": "null"}, {"Origin": f"{service.url}.evil.example"}]
        others += [{"Sec-Fetch-Site": site} for site in ("cross-site", "same-site")]
        for headers in others:
            for method, path in (
                ("POST", "/studies"),
                ("POST", f"/studies/{identifier}/cancel"),
                ("DELETE", f"/studies/{identifier}"),
                ("PUT", f"/studies/{identifier}/shares/grace"),
                ("DELETE", "/session"),
            ):
                answer = browser.request(method, path, headers=headers)
                assert answer.status_code == 403, (method, path, headers)
        behind = EVIL | {"Host": "inside", "X-Forwarded-Host": "evil.example"}  # a proxy's words
        assert browser.post(f"/studies/{identifier}/cancel", headers=behind).status_code == 200


def test_a_cookie_is_a_session_and_no_key(service):
    key = service.key("ada")
    with httpx2.Client(base_url=f"{service.url}/api/v1") as browser:
        answer = browser.post("/session", json={"key": key})
        (cookie,) = (c for c in browser.cookies.jar)
        assert key not in answer.headers["set-cookie"]
        bearer = {"Authorization": f"Bearer {cookie.value}"}
        assert httpx2.get(f"{service.url}/api/v1/studies", headers=bearer).status_code == 401
        as_key = {"Cookie": f"{cookie.name}={key}"}
        assert httpx2.get(f"{service.url}/api/v1/studies", headers=as_key).status_code == 401
        held = {"Cookie": f"{cookie.name}={cookie.value}"}
        assert httpx2.get(f"{service.url}/api/v1/studies", headers=held).status_code == 200
        browser.delete("/session")  # whoever has a copy of the cookie has nothing
        assert httpx2.get(f"{service.url}/api/v1/studies", headers=held).status_code == 401
        secure = browser.post("/session", json={"key": key}, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in secure.headers["set-cookie"]


def log_out(service, browser, _key):
    browser.delete("/session")


def revoke(service, _browser, key):
    revoke_key(service.database, caller_of(service.database, key).key)


def unshare(service, _browser, _key):
    with service.client("grace") as grace:
        (study,) = grace.list()
        grace.share(study["id"], "ada", remove=True)


@pytest.mark.parametrize("end", [log_out, revoke, unshare])
def test_open_streams_end_with_the_right_to_see_them(service, end):
    key = service.key("ada")
    with service.client("grace") as grace, httpx2.Client(base_url=f"{service.url}/api/v1") as ada:
        study = grace.submit("mfeat")
        grace.share(study["id"], "ada")
        ada.post("/session", json={"key": key})
        service.store.tell(study["study"], "progress", {"said": "before"})
        with ada.stream("GET", f"/studies/{study['id']}/events", timeout=10) as answer:
            lines = answer.iter_lines()
            assert any("before" in line for line in lines)
            end(service, ada, key)
            time.sleep(0.7)  # a look takes half a second
            service.store.tell(study["study"], "progress", {"said": "after"})
            rest = "".join(lines)
    assert "after" not in rest


def test_streams_and_requests_are_bounded_for_each(service, monkeypatch):
    monkeypatch.setattr("tuner.service.guard.gate._STREAMS", 2)
    service = Service(service.settings)
    try:
        with service.client("ada") as client:
            study = client.submit("mfeat")["id"]
        headers = {"Authorization": f"Bearer {service.key('ada')}"}
        url = f"{service.url}/api/v1/studies/{study}/events"
        with (
            httpx2.stream("GET", url, headers=headers) as one,
            httpx2.stream("GET", url, headers=headers) as two,
        ):
            assert (one.status_code, two.status_code) == (200, 200)
            third = httpx2.get(url, headers=headers)
            assert third.status_code == 429
            assert "too many studies are followed" in json.loads(third.text)["detail"]
        until(lambda: _opens(url, headers), 10.0)
    finally:
        service.stop()


def _opens(url, headers):
    with httpx2.stream("GET", url, headers=headers) as answer:
        return answer.status_code == 200
