"""Fetches from MLflow, in a process of its own because MLflow takes seconds to load.

`python -m tuner.service.processes.fetch model NAME VERSION OUT.zip` or `… report RUN OUT.html`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tuner.settings import Settings
from tuner.tracking.connection import connect


def save_model(name: str, version: str, out: Path, tracking_uri: str) -> None:
    """Write a model version as a zip file."""
    source = connect(tracking_uri).get_model_version(name, version).source
    with tempfile.TemporaryDirectory(prefix="tuner-fetch-") as scratch:
        folder = _download(scratch, tracking_uri, artifact_uri=source)
        made = shutil.make_archive(str(Path(scratch) / "encoder"), "zip", folder)
        shutil.move(made, out)


def save_report(run: str, out: Path, tracking_uri: str) -> None:
    """Write the report that a run carries."""
    with tempfile.TemporaryDirectory(prefix="tuner-fetch-", dir=out.parent) as scratch:
        page = _download(scratch, tracking_uri, run_id=run, artifact_path="report.html")
        Path(page).replace(out)


def _download(scratch: str, tracking_uri: str, **what: str) -> str:
    import mlflow.artifacts

    path: str = mlflow.artifacts.download_artifacts(
        dst_path=scratch, tracking_uri=tracking_uri, **what
    )
    return path


def main() -> None:
    """Fetch what the command line names."""
    kind, *named, out = sys.argv[1:]
    uri = Settings().tracking_uri
    if kind == "model":
        save_model(named[0], named[1], Path(out), uri)
    else:
        save_report(named[0], Path(out), uri)


if __name__ == "__main__":
    main()
