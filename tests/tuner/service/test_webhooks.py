"""A receiver of its own hears, once and signed, that a study has ended."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.tuner.service.conftest import Service, refused
from tests.tuner.storage.test_submissions import checked
from tuner.service.webhooks import send_due
from tuner.settings import Settings
from tuner.storage.accounts import caller_of, create_key, webhook_secret
from tuner.storage.submissions import Submissions
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
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

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


@pytest.mark.integration
def test_the_service_tells_only_whom_it_may(tmp_path, receiver):
    service = Service(Settings(home=tmp_path, allowed_webhooks=receiver.url.replace("/hook", "/")))
    try:
        with service.client() as client:
            told = refused(lambda: client.submit("mfeat", webhook="http://10.0.0.1/x"), 422)
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
