"""Migrations build what the program expects, however often and from how many processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text

from tuner.storage import migrations
from tuner.storage.schema import VERSION, VERSION_TABLE, _upgrade, migrate
from tuner.storage.tables import Base


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
