"""What is asked of a database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from tuner.storage.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect every statement that this process sends meanwhile."""
    told: list[str] = []

    def note(connection, cursor, statement, *_):
        told.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
