"""A receiver of its own hears, once and signed, that a study has ended."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.tuner.service.conftest import Service, refused
from tests.tuner.storage.requests.test_submissions import checked
from tuner.service.notices.webhooks import send_due
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key, webhook_secret
from tuner.storage.requests.submissions import Submissions
from tuner.storage.tables import SubmissionRow


class Receiver:
    """Keeps what it hears: (headers, body) each. It answers with the codes given, then 204."""

    def __init__(self):
        self.heard, self.codes = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.heard.append((dict(self.headers), body))
                self.send_response(outer.codes.pop(0) if outer.codes else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def user(store):
    return caller_of(store.database, create_key(store.database, "ada")).user


def submit(store, user, url, study="s1"):
    return Submissions(store.database, max_queued=99).submit(checked(user, study, webhook=url))


def row(store):
    return store.database.run(lambda session: session.scalar(select(SubmissionRow)))


def test_the_end_of_a_study_is_told_once_and_signed(store, user, receiver):
    mine = submit(store, user, receiver.url)
    assert send_due(store.database) == 0  # it has not ended
    store.update("s1", status="done", result={"joint": {"lambda": 0.5, "verdict": "align"}})
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send_due, [store.database] * 4)) == 1
    ((headers, body),) = receiver.heard
    told = Webhook(webhook_secret(store.database, user)).verify(body, headers)
    assert told["type"] == "study.ended"
    assert told["data"]["id"] == mine.id
    assert (told["data"]["status"], told["data"]["lambda"]) == ("done", 0.5)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(store.database, user)).verify(
            body.replace(b"align", b"avoid"), headers
        )


def test_a_chat_is_told_a_sentence(store, user, receiver):
    wish = checked(user, webhook=receiver.url, webhook_format="slack")
    mine = Submissions(store.database, max_queued=9).submit(wish)
    result = {"headline": "Align: <b> & λ = 0.5.", "joint": {"lambda": 0.5, "verdict": "align"}}
    store.update("s1", status="done", result=result)
    assert send_due(store.database, public_url="https://tuner.example.org/x/") == 1
    ((_, body),) = receiver.heard
    link = f"https://tuner.example.org/x/#/studies/{mine.id}"
    words = f"name of s1: Align: &lt;b&gt; &amp; λ = 0.5. {link}"
    assert json.loads(body) == {"text": words}


@pytest.mark.parametrize("code", [500, 302])
def test_a_message_that_did_not_arrive_is_sent_again_later(store, user, receiver, code):
    submit(store, user, receiver.url)
    store.set_status("s1", "failed", "planted")
    receiver.codes = [code]
    assert send_due(store.database) == 0
    assert send_due(store.database) == 0  # not at once
    assert len(receiver.heard) == 1
    store.database.run(
        lambda session: session.execute(update(SubmissionRow).values(webhook_due=0.0))
    )
    assert send_due(store.database) == 1
    assert len(receiver.heard) == 2
    assert receiver.heard[0][0]["webhook-id"] == receiver.heard[1][0]["webhook-id"]


def test_a_receiver_that_is_gone_is_given_up_in_the_end(store, user):
    submit(store, user, "http://127.0.0.1:9/hook")
    store.set_status("s1", "cancelled")
    for attempt in range(7):
        assert row(store).webhook_attempts == attempt
        assert send_due(store.database) == 0
        due = row(store).webhook_due
        assert (due is None) == (attempt == 6)
        store.database.run(
            lambda session, due=due: session.execute(
                update(SubmissionRow).values(webhook_due=None if due is None else 0.0)
            )
        )
    assert send_due(store.database) == 0
    assert row(store).webhook_attempts == 7


class Dripper:
    """A receiver that answers without an end, a byte at a time."""

    def __init__(self, beginning):
        self._beginning, self._socket = beginning, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/hook"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection):
        with suppress(OSError), connection:
            connection.sendall(self._beginning)
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    def close(self):
        self._socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_nobody_waits_for_the_receivers_of_others(store, receiver, monkeypatch, beginning):
    monkeypatch.setattr("tuner.service.notices.webhooks._TIMEOUT", 1.0)
    dripper = Dripper(beginning)
    bad, good = (caller_of(store.database, create_key(store.database, n)).user for n in "bg")
    for n in range(30):
        submit(store, bad, dripper.url, f"bad{n}")
    submit(store, good, receiver.url, "good")
    for study in ("good", *(f"bad{n}" for n in range(30))):
        store.set_status(study, "failed", "planted")
    # Claims that are written to a slow disk fit in, the good one's after four of the bad.
    monkeypatch.setattr("tuner.service.notices.webhooks._ROUND", 2.0)
    started = time.monotonic()
    send_due(store.database)
    assert time.monotonic() - started < 5
    (heard,) = receiver.heard
    assert json.loads(heard[1])["data"]["study"] == "good"
    dripper.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/hook", "the connection was refused"),
        ("http://127.0.0.1:99999/hook", "cannot be called"),
        ("http://127.0.0.1:9/\x01", "refused"),
        ("no url", "cannot be called"),
    ],
)
def test_the_owner_is_told_what_became_of_a_bad_one(store, user, receiver, url, words):
    submissions = Submissions(store.database, max_queued=99)
    mine = submit(store, user, url)
    other = submit(store, user, receiver.url, "s2")
    for study in ("s1", "s2"):
        store.set_status(study, "failed", "planted")
    assert send_due(store.database) == 1
    assert len(receiver.heard) == 1
    told = submissions.get(user, mine.id).webhook_error
    assert told.startswith("The webhook's URL: ")
    assert words in told
    assert told.endswith("Tried 1 times.")
    assert submissions.get(user, other.id).webhook_error is None


@pytest.mark.integration
def test_the_service_tells_only_whom_it_may(tmp_path, receiver):
    service = Service(Settings(home=tmp_path, allowed_webhooks=receiver.url.replace("/hook", "/")))
    try:
        with service.client() as client:
            for url in (
                *("http://10.0.0.1/x", "http://", "ftp://127.0.0.1/x", "x"),
                *(f"{receiver.url}{end}" for end in ("/\x01", "\x7f", "\n", "/ ", "/../..")),
            ):
                told = refused(lambda url=url: client.submit("mfeat", webhook=url), 422)
            assert "webhook: this service calls URLs that begin with: http://127.0.0.1" in told
            study = client.submit("mfeat", webhook=receiver.url)
            client.cancel(study["id"])
            for _ in range(100):
                if receiver.heard:
                    break
                threading.Event().wait(0.1)
            ((headers, body),) = receiver.heard
            told = Webhook(client.webhook_secret()).verify(body, headers)
            assert told["data"]["status"] == "cancelled"
    finally:
        service.stop()
