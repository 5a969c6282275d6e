"""The tables of a new MLflow database as SQL, so that a first start need not migrate to them.

`python -m tests.support.mlflow_tables` writes those of the installed version to `tuner/tracking/`.
"""

import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import tuner.tracking.connection

FILE = Path(tuner.tracking.connection.__file__).with_name(f"mlflow-{version('mlflow')}.sql")


def migrated_tables() -> str:
    """What MLflow's own migrations make of an empty file, but for what depends on where it is."""
    from mlflow import MlflowClient

    with TemporaryDirectory() as folder:
        path = Path(folder, "mlflow.db")
        MlflowClient(tracking_uri=f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as database:
            database.execute("DELETE FROM experiments")  # the default one: its folder is named
            database.commit()
            return "\n".join(database.iterdump()) + "\n"


if __name__ == "__main__":
    for old in FILE.parent.glob("mlflow-*.sql"):
        old.unlink()
    FILE.write_text(migrated_tables(), encoding="utf-8")
