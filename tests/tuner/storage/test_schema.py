"""Migrations build what the program expects, however often and from how many processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, MetaData, create_engine, event, inspect, select, text

from tests.tuner.storage.requests.test_submissions import checked
from tests.tuner.storage.test_studies import trial
from tuner.errors import NewerStoreError
from tuner.storage import migrations
from tuner.storage.accounts import caller_of, create_key
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.requests.queue import StudyQueue
from tuner.storage.requests.submissions import Submissions
from tuner.storage.schema import OLDEST, VERSION, VERSION_TABLE, _upgrade, migrate
from tuner.storage.studies import StudyStore
from tuner.storage.tables import Base

LEFT_ROOM_SINCE = "0007"  # no step after this one took anything from the programs before it


@pytest.fixture
def engine(database_url):
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def test_the_program_wants_the_last_version():
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == VERSION


@pytest.fixture(params=["new", "of the first version"])
def beginning(request, engine):
    """Tables of a database that migrations begin with."""
    if request.param != "new":
        with engine.begin() as connection:
            _upgrade(connection, "0001")
    return set(inspect(engine).get_table_names())


@pytest.mark.usefixtures("beginning")
def test_migrations_build_the_tables_of_the_program(engine):
    migrate(engine)
    with engine.connect() as connection:
        assert (
            connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == VERSION
        )
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
        assert connection.execute(text(f"SELECT * FROM {VERSION_TABLE}")).all() == [
            (VERSION, OLDEST)
        ]


@contextmanager
def stopped_at(engine, statement):
    """Raise InterruptedError after so many statements."""

    def stop(*_):
        if next(done) == statement:
            raise InterruptedError

    done = count(1)
    event.listen(engine, "after_cursor_execute", stop)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", stop)


@pytest.mark.slow
def test_a_migration_that_is_stopped_anywhere_has_changed_nothing(engine, beginning):
    for statement in count(1):
        try:
            with stopped_at(engine, statement):
                migrate(engine)
            break
        except InterruptedError:
            assert set(inspect(engine).get_table_names()) == beginning, statement
    assert statement > 10
    assert len(inspect(engine).get_table_names()) > len(beginning)


def test_migrating_again_does_nothing_and_optunas_tables_stay(engine, database_url):
    import optuna

    storage = optuna.storages.RDBStorage(database_url)
    study = optuna.create_study(storage=storage, study_name="theirs")
    for _ in range(2):
        migrate(engine)
    assert {"tuner_studies", "studies", "alembic_version"} <= set(inspect(engine).get_table_names())
    assert study.get_trials() == []
    storage.engine.dispose()


def test_many_may_migrate_at_once(engine, database_url):
    engines = [create_engine(database_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(migrate, engines))
    assert inspect(engine).has_table("tuner_trials")
    for other in engines:
        other.dispose()


def revisions():
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    known = sorted(step.revision for step in scripts.walk_revisions())
    assert LEFT_ROOM_SINCE <= OLDEST
    return [revision for revision in known if LEFT_ROOM_SINCE <= revision < VERSION]


def value(column, number, rows):
    """Something to write there, the same again for the same number."""
    for key in column.foreign_keys:
        return rows[key.column.table.name, number][key.column.name]
    if isinstance(column.type, JSON):
        return {"number": number}
    kind = column.type.python_type
    if issubclass(kind, datetime):
        return datetime(2026, 1, number, tzinfo=UTC)
    return bytes([number]) if kind is bytes else kind(number)


def add(connection, tables, number):
    """Add a row to each table as a program writes that knows these columns."""
    rows = {}
    for table in tables:
        rows[table.name, number] = {c.name: value(c, number, rows) for c in table.columns}
        connection.execute(table.insert().values(rows[table.name, number]))


def read(connection, tables):
    return {table.name: connection.execute(select(table)).all() for table in tables}


@pytest.mark.parametrize("revision", revisions())
def test_what_programs_of_earlier_versions_ask_is_answered(engine, revision):
    """Their statements name the tables and columns that they know, on tables of this version."""
    with engine.begin() as connection:
        _upgrade(connection, revision)
    older = MetaData()
    older.reflect(engine, only=lambda name, _: name.startswith("tuner_") and name != VERSION_TABLE)
    tables = older.sorted_tables
    with engine.begin() as connection:
        add(connection, tables, 1)
        before = read(connection, tables)
    migrate(engine)
    with engine.begin() as connection:
        assert read(connection, tables) == before
        add(connection, tables, 2)
        for table in reversed(tables):
            first = before[table.name][0]._mapping
            this = [column == first[column.name] for column in table.primary_key]
            connection.execute(table.update().where(*this).values(dict(first)))
            connection.execute(table.delete())
        assert not any(read(connection, tables).values())


def upgrade_beyond(engine, oldest):
    """Do to the tables what a step of a later version may do, which leaves room since `oldest`."""
    with engine.begin() as connection:
        for table in Base.metadata.tables:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN later INTEGER"))
            words = f"ALTER TABLE {table} ADD COLUMN sure VARCHAR DEFAULT 'x' NOT NULL"
            connection.execute(text(words))
        connection.execute(text("CREATE TABLE tuner_later (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE INDEX ix_later ON tuner_studies (name)"))
        connection.execute(
            text(f"UPDATE {VERSION_TABLE} SET version_num = '9999', oldest = :oldest"),
            {"oldest": oldest},
        )


def version(engine):
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one()


def test_a_program_works_on_tables_of_a_later_version_that_leaves_it_room(engine, database_url):
    with Database(database_url) as running:
        store = StudyStore(running)
        store.open("s1", name="n", fingerprint="f" * 64, spec={})
        with Lease(running, "s1") as lease:
            upgrade_beyond(engine, VERSION)
            store.record("s1", trial())
            lease.check()
        with Database(database_url) as begun_later:  # as a driver that an older image starts
            store = StudyStore(begun_later)
            assert len(store.trials("s1")) == 1
            store.record("s1", trial(1))
            user = caller_of(begun_later, create_key(begun_later, "ada")).user
            Submissions(begun_later, max_queued=1).submit(checked(user, "s2"))
            assert StudyQueue(begun_later).claim(1, max_running=1) == ["s2"]
            store.set_status("s1", "done")
        assert len(StudyStore(running).trials("s1")) == 2
    assert version(engine) == "9999"


def test_a_program_says_so_where_a_later_version_leaves_it_no_room(engine, database_url):
    migrate(engine)
    upgrade_beyond(engine, "9998")
    with pytest.raises(
        NewerStoreError, match=f"needs a program of version 9998.*is of version {VERSION}"
    ):
        Database(database_url)
    assert version(engine) == "9999"
