"""A connection to a server is there while it is used, and gone a moment later."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from tests.support.servers import until
from tuner.storage.connections import IDLE
from tuner.storage.database import Database

pytestmark = pytest.mark.integration
NAME = "watched"


@pytest.fixture
def count(postgres_url):
    """Counts the connections of programs that call themselves so."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    query = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
    with engine.connect() as connection:
        yield lambda: connection.scalar(query, {"name": NAME})
    engine.dispose()


def backend(session):
    return session.scalar(text("SELECT pg_backend_pid()"))


def named(url):
    return f"{url}{'&' if '?' in url else '?'}application_name={NAME}"


def test_nobody_is_connected_who_asks_nothing(postgres_url, count):
    with Database(named(postgres_url)) as database:
        until(lambda: count() == 0, 10 * IDLE + 5)
        with database.session() as session:
            backend(session)
            assert count() == 1
        until(lambda: count() == 0, 10 * IDLE + 5)
        database.ping()
        assert count() == 1


def test_what_is_asked_in_one_go_goes_over_one_connection(postgres_url):
    with Database(postgres_url) as database:
        assert len({database.run(backend) for _ in range(20)}) == 1


def test_what_is_used_is_not_taken_away(postgres_url, count):
    """Many threads that ask, pause, and hold transactions for longer than others are idle."""

    def ask(number):
        for turn in range(4):
            with database.session() as session:
                first = backend(session)
                session.execute(text(f"SELECT pg_sleep({IDLE * (number + turn) / 3})"))
                assert backend(session) == first
            time.sleep(IDLE * ((number + turn) % 3))

    with Database(named(postgres_url)) as database:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(ask, range(6)))
        until(lambda: count() == 0, 10 * IDLE + 5)
        assert database.engine.pool.checkedout() == 0


def test_a_service_keeps_what_it_is_connected_by(postgres_url, count):
    with Database(named(postgres_url), keeps_connections=True) as database:
        database.ping()
        time.sleep(3 * IDLE)
        assert count() == 1
    until(lambda: count() == 0, 5)
