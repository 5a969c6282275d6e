"""Brings the tables of the study store to the version that this program needs.

A program also works on tables of a newer version that has left it room: drivers that were started
before an upgrade go on, and so do those that a machine with an older image starts. A step that only
adds (tables, indices, columns that may be null or have a default of the server) leaves room. One
that takes something away, or makes it mean something else, has to raise `OLDEST`, and to write that
into the database: `op.execute(f"UPDATE {VERSION_TABLE} SET oldest = '…'")`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, text

from tuner.errors import NewerStoreError
from tuner.storage.tables import Base

VERSION = "0011"  # the last step in tuner/migrations/versions
OLDEST = "0010"  # the oldest version whose programs can work on the tables of this one
VERSION_TABLE = "tuner_version"  # Optuna keeps its own in `alembic_version`

_ADVISORY_LOCK = 0x7475_6E65_72  # any number that nobody else takes


def migrate(engine: Engine) -> None:
    """Run the steps that are missing; does nothing where there are none.

    Several processes may do so at once on one database: one of them works, the others wait.

    Raises:
        NewerStoreError: If they are of a newer version, which leaves this one no room.
    """
    with engine.begin() as connection:
        if _is_usable(connection):
            return
    with exclusive(engine) as connection:
        if engine.dialect.name == "sqlite":  # else Python commits each table by itself
            connection.exec_driver_sql("BEGIN")
        if _version(connection) is None:
            _create(connection)
        elif not _is_usable(connection):
            _upgrade(connection)


def _is_usable(connection: Connection) -> bool:
    """Whether the tables are of this version, or of a newer one that leaves it room."""
    version = _version(connection)
    if version is None or version < VERSION:
        return False
    if version > VERSION and (oldest := _oldest(connection)) > VERSION:
        raise NewerStoreError(
            f"the study store was made by a newer version of tuner: its tables are of version "
            f"{version}, which needs a program of version {oldest}, and this one is of version "
            f"{VERSION}. Install the newer one, or name another store (TUNER_DATABASE_URL, "
            "TUNER_HOME)"
        )
    return True


def _oldest(connection: Connection) -> str:
    query = text(f"SELECT oldest FROM {VERSION_TABLE}")  # noqa: S608  # a constant
    return str(connection.execute(query).scalar_one())


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.execute(
        text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608  # a constant
    ).scalar()
    return version


@contextmanager
def exclusive(engine: Engine) -> Iterator[Connection]:
    """Keep every other process from building tables in the same database meanwhile."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        with FileLock(Path(engine.url.database).with_suffix(".lock")), engine.begin() as connection:
            yield connection
    else:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            yield connection


def _create(connection: Connection) -> None:
    """Build an empty database at once, as the steps would: Alembic takes a second to load."""
    Base.metadata.create_all(connection)
    version = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", String(32), primary_key=True),
        Column("oldest", String(32), nullable=False, server_default=OLDEST),
    )
    version.create(connection)
    connection.execute(version.insert().values(version_num=VERSION))


def _upgrade(connection: Connection, to: str = "head") -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
