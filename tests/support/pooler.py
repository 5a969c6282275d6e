"""PgBouncer before a PostgreSQL that the tests started, where it is installed."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.rules import starts
from tests.support.servers import ended, free_port, until

_CONFIGURATION = """[databases]
* = host={socket}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits
{settings}
"""


@contextmanager
def pgbouncer(server, size=4, **settings):
    """A pooler of transactions; yields the SQLAlchemy URL of the database `postgres` through it.

    Args:
        server: What `tests.conftest.postgres` yields.
        size: Connections to the server, at most.
        settings: Of PgBouncer.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs pgbouncer: apt-get install pgbouncer")
    starts("PgBouncer")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tuner-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            _CONFIGURATION.format(
                socket=server.pgdata,
                port=port,
                folder=folder,
                size=size,
                settings="\n".join(f"{name} = {value}" for name, value in settings.items()),
            )
        )
        command = [program, folder / "pgbouncer.ini"]
        if os.getuid() == 0:  # as which it does not run
            command[1:1] = ["-u", server.system_user]
        log = folder / "log"
        with log.open("wb") as out:
            pooler = subprocess.Popen(command, stdout=out, stderr=out)
        address = f"postgres@127.0.0.1:{port}/postgres"
        try:
            until(lambda: _answers(f"postgresql://{address}"), 60.0, fails_if=ended(pooler, log))
            yield f"postgresql+psycopg://{address}"
        finally:
            pooler.terminate()
            pooler.wait()


def _answers(url):
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
