"""What is told over a real PostgreSQL is heard at once, or it is known that nothing is."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.support.servers import until
from tuner.storage.accounts import create_key, keys, revoke_key
from tuner.storage.connections import LOOK, QUEUE
from tuner.storage.database import Database
from tuner.storage.requests import listener as module
from tuner.storage.requests.listener import Announcement, Listener
from tuner.storage.studies import StudyStore

SOON = 10.0  # seconds, on a busy machine


@contextmanager
def listening(url):
    """Yields what listens, and what it has heard, with when."""
    heard = []
    with Database(url) as database:
        listener = Listener(database)
        listener.tell(lambda told: heard.append((told, time.monotonic())))
        with listener:
            yield listener, heard


def end_listeners(url):
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        ended = connection.scalar(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%'"
            )
        )
    engine.dispose()
    return ended


class Deaf:
    """A proxy before PostgreSQL that drops what is told, as a pooler of transactions does."""

    def __init__(self, folder, server, port):
        self._server, self._stack = f"{server}/.s.PGSQL.{port}", ExitStack()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(folder) / f".s.PGSQL.{port}"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for work in (self._forward, self._answer):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _forward(self, client, server):
        with suppress(OSError):
            while sent := client.recv(65536):
                server.sendall(sent)
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client, server):
        with suppress(OSError), client, server, server.makefile("rb") as messages:
            while head := messages.read(5):
                body = messages.read(int.from_bytes(head[1:]) - 4)
                if head[:1] != b"A":  # NotificationResponse
                    client.sendall(head + body)


def test_of_a_file_nothing_is_told(tmp_path):
    with listening(f"sqlite:///{tmp_path}/studies.db") as (listener, heard):
        StudyStore(listener._database).open("s1", name="n", fingerprint="f" * 64, spec={})
        StudyStore(listener._database).tell("s1", "progress", {"done": 1})
        assert not listener.is_listening
        assert not heard


@pytest.mark.integration
def test_what_is_committed_is_heard_at_once_and_in_order(postgres_url):
    with listening(postgres_url) as (listener, heard):
        until(lambda: listener.is_listening, SOON)
        assert [told for told, _ in heard] == [None]  # what was before may have been missed
        heard.clear()
        store = StudyStore(listener._database)
        store.open("s1", name="n", fingerprint="f" * 64, spec={})
        took = []
        for number in range(1, 21):
            started = time.monotonic()
            store.tell("s1", "progress", {"done": number})
            until(lambda count=number: len(heard) == count, SOON)
            took.append(heard[-1][1] - started)
        store.set_status("s1", "running")
        with pytest.raises(KeyError):
            store.set_status("s2", "running")
        create_key(store.database, "ada")
        ((key, _),) = keys(store.database)
        assert revoke_key(store.database, key.id)
        until(lambda: len(heard) == 22, SOON)
    numbers = [told.number for told, _ in heard[:21]]
    assert numbers == sorted(set(numbers))
    assert {(told.study, told.kind) for told, _ in heard[:20]} == {("s1", "progress")}
    assert (heard[20][0].study, heard[20][0].kind) == ("s1", "status")
    assert heard[21][0] == Announcement(kind=LOOK)
    assert sorted(took)[10] < 0.1, took
    print(f"an event is heard after {1e3 * sorted(took)[10]:.1f} ms")


@pytest.mark.integration
def test_a_lost_connection_is_noticed_and_made_anew(postgres_url, caplog, monkeypatch):
    monkeypatch.setattr(module, "_AGAIN", 0.5)
    with listening(postgres_url) as (listener, heard):
        until(lambda: listener.is_listening, SOON)
        assert end_listeners(postgres_url) == 1
        until(lambda: not listener.is_listening, SOON)
        until(lambda: listener.is_listening, SOON)
        assert [told for told, _ in heard] == [None, None]
        StudyStore(listener._database).open("s1", name="n", fingerprint="f" * 64, spec={})
        StudyStore(listener._database).set_status("s1", "running")
        until(lambda: len(heard) == 3, SOON)
    assert "the database tells nothing, and is asked instead" in caplog.text


@pytest.mark.integration
def test_behind_a_pooler_that_drops_what_is_told_nobody_is_said_to_listen(
    postgres_url, tmp_path_factory, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_HEARD", 0.5)
    url = make_url(postgres_url)
    folder = tmp_path_factory.mktemp("deaf")
    deaf = Deaf(folder, url.query["host"], url.port or 5432)
    behind = url.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)
    with listening(behind) as (listener, heard):
        until(lambda: "as behind a pooler of transactions" in caplog.text, SOON)
        assert not listener.is_listening
        assert not heard
    deaf.close()


@pytest.mark.integration
def test_it_ends_at_once_whatever_it_waits_for(postgres_url):
    for seconds in (0.0, 0.3):
        with listening(postgres_url):
            time.sleep(seconds)
            started = time.monotonic()
        assert time.monotonic() - started < SOON / 4


def test_names_are_what_is_told():
    assert (QUEUE, LOOK) == ("queue", "look")
    assert module._announcement("progress", ["s1", "7"]) == Announcement(
        kind="progress", study="s1", number=7
    )
    assert module._announcement("of a later version", ["s1", "x", "y"]) == Announcement(
        kind="of a later version"
    )
