"""Zips a registered encoder: `python -m tuner.service.encoder NAME VERSION OUT.zip`."""

import shutil
import sys
import tempfile
from pathlib import Path

from tuner.mlflow_access import connect
from tuner.settings import Settings


def save(name: str, version: str, out: Path, settings: Settings) -> None:
    """Write a model version as a zip file."""
    import mlflow.artifacts

    uri = settings.tracking_uri
    source = connect(uri).get_model_version(name, version).source
    with tempfile.TemporaryDirectory(prefix="tuner-encoder-") as scratch:
        folder = mlflow.artifacts.download_artifacts(
            artifact_uri=source, dst_path=scratch, tracking_uri=uri
        )
        made = shutil.make_archive(str(Path(scratch) / "encoder"), "zip", folder)
        shutil.move(made, out)


if __name__ == "__main__":
    save(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Settings())
