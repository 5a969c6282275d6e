"""Transactions happen as a whole, on the disk, and wait for a server that is away."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from tests.conftest import start_postgres, stop_postgres
from tuner.storage.database import (
    Database,
    DatabaseAwayError,
    DatabaseError,
    alone,
    sqlite_file,
)
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow

NOBODY = "postgresql+psycopg://127.0.0.1:9/away"


def add(session, name="s1"):
    session.add(StudyRow(id=name, name="n", fingerprint="f" * 64, spec={}))


def hold(database):
    with Lease(database, "s2") as lease:
        lease.check()


def test_what_was_done_is_there_for_the_next_process(database):
    assert database.run(lambda session: add(session)) is None
    with Database(database.url) as another:
        assert another.run(lambda session: session.get(StudyRow, "s1").name) == "n"


def test_a_transaction_that_fails_has_done_nothing(database):
    def work(session):
        add(session)
        session.flush()
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        database.run(work)
    assert database.run(lambda session: session.get(StudyRow, "s1")) is None


def test_a_fault_of_the_work_itself_is_told_at_once(database):
    attempts = []

    def work(session):
        attempts.append(1)
        session.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DatabaseError, match="nowhere"):
        database.run(work)
    assert len(attempts) == 1


def test_a_database_that_answers_may_be_asked_whether_it_does(database):
    database.ping()


def test_a_database_that_is_not_there_is_away():
    with pytest.raises(DatabaseAwayError):
        Database(NOBODY)


def test_sqlite_writes_are_durable(tmp_path):
    with Database(f"sqlite:///{tmp_path}/studies.db") as database, database.session() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA synchronous")).scalar() == 2


@pytest.mark.integration
def test_a_server_that_goes_away_for_a_while_is_waited_for(postgres_server, postgres_url):
    with Database(postgres_url) as database, Database(postgres_url, patience=0.0) as hasty:
        stop_postgres(postgres_server)
        with pytest.raises(DatabaseAwayError, match="connection"):
            StudyStore(hasty).trials("s1")
        with pytest.raises(DatabaseAwayError):
            database.ping()
        with ThreadPoolExecutor(2) as pool:
            writing, holding = pool.submit(database.run, add), pool.submit(hold, database)
            with pytest.raises(TimeoutError):
                writing.result(timeout=2)
            assert not holding.done()
            start_postgres(postgres_server)
            writing.result(timeout=60)
            holding.result(timeout=60)
        assert StudyStore(database).get("s1") is not None


@pytest.mark.integration
@pytest.mark.parametrize("keeps_connections", [True, False])
def test_no_statement_is_prepared_which_a_pooler_would_give_to_others(
    postgres_url, keeps_connections
):
    with (
        Database(postgres_url, keeps_connections=keeps_connections) as database,
        database.session() as session,
    ):
        for number in range(20):
            session.execute(select(StudyRow).where(StudyRow.id == str(number)))
        prepared = session.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
    assert prepared == 0


def test_one_at_a_time_builds_tables(database_url):
    """Eight threads that count without a lock of their own: a count is lost if two are inside."""
    count = 0

    def build(_):
        nonlocal count
        with alone(database_url):
            before = count
            time.sleep(0.01)
            count = before + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(build, range(8)))
    assert count == 8


def test_a_server_of_mlflows_needs_no_such_care():
    with alone("http://127.0.0.1:9"), alone("http://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////home/a b/x.db", Path("/home/a b/x.db")),
        ("sqlite:///x.db", Path("x.db")),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql+psycopg://host/x.db", None),
        ("http://host/x.db", None),
    ],
)
def test_only_sqlite_has_a_file(url, path):
    assert sqlite_file(url) == path
