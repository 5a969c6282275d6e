"""Events of a study, over lost connections and long silences."""

import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.statements import statements
from tests.tuner.service.conftest import refused
from tuner.client import Client

pytestmark = pytest.mark.integration


def test_events_are_taken_up_where_they_were_left(service):
    with service.client() as client:
        study = client.submit("mfeat")
        key = study["study"]
        service.store.set_status(key, "running")
        service.store.tell(key, "progress", {"done": 1})
        seen = []

        def follow():
            seen.extend(client.watch(study["id"]))

        watcher = threading.Thread(target=follow)
        watcher.start()
        time.sleep(1)
        service.store.tell(key, "progress", {"done": 2})
        service.store.set_status(key, "failed", "planted")
        watcher.join(10)
        assert [e.kind for e in seen] == ["status", "progress", "progress", "status", "end"]
        assert seen[-1].content == {"status": "failed"}
        later = list(client.watch(study["id"], after=seen[1].number))
        assert [e.content for e in later[:1]] == [{"done": 2}]
        assert "the study is failed: planted" in refused(lambda: client.result(study["id"]), 409)


def test_many_who_follow_what_is_silent_are_looked_after_together(service):
    with service.client() as client, service.http() as http, ExitStack() as stack:
        study = client.submit("mfeat")
        streams = [
            stack.enter_context(http.stream("GET", f"/studies/{study['id']}/events"))
            for _ in range(30)
        ]
        time.sleep(1)
        with statements(service.app_database) as told:
            time.sleep(1.6)
        # One look each for the right to follow, in seconds; not three for news and that.
        assert 0 < len(told) < 30 * 4
        service.store.tell(study["study"], "progress", {"said": "news"})
        assert all(any("news" in line for line in stream.iter_lines()) for stream in streams)


def test_a_study_that_was_silent_for_long_is_followed_through_a_lost_connection():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.headers["Last-Event-ID"])
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            kind, number = ("end", 0) if len(asked) > 2 else ("progress", len(asked))
            event = f"event: {kind}\nid: {number}\ndata: {{}}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(0.0 if kind == "end" else 1.5)
            self.close_connection = True  # in the middle of what it said it would send

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}", "key", patience=1.0) as client:
            kinds = [event.kind for event in client.watch("s")]
        server.shutdown()
    assert kinds == ["progress", "progress", "end"]
    assert asked == ["0", "1", "2"]
