"""`tuner ui`."""

import os
import sys
from typing import Annotated

import typer

from tuner.settings import Settings


def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Show runs, curves and registered models in MLflow's web page."""
    settings = Settings()
    if settings.mlflow_tracking_uri and settings.mlflow_tracking_uri.startswith("http"):
        typer.echo(f"MLflow is at {settings.mlflow_tracking_uri}", err=True)
        return
    from tuner.tracking.connection import as_tracking_error, connect

    with as_tracking_error(settings.tracking_uri):
        # This builds a new database, too, in a way that Ctrl-C cannot harm.
        experiments = connect(settings.tracking_uri).search_experiments(
            max_results=10, order_by=["last_update_time DESC"]
        )
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONSAFEPATH": "1",  # nothing of the working directory is imported
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--backend-store-uri", settings.tracking_uri, "--workers", "1"]
    if settings.artifact_location:
        command += ["--default-artifact-root", settings.artifact_location]
    typer.echo(f"MLflow: http://{host}:{port} (Ctrl-C ends it)", err=True)
    for experiment in experiments:  # MLflow's own list leads to its pages for language models
        if experiment.experiment_id != "0":
            page = f"#/experiments/{experiment.experiment_id}?workflowType=machine_learning"
            typer.echo(f"  http://{host}:{port}/{page}  {experiment.name}", err=True)
    os.execve(sys.executable, command, environment)  # noqa: S606  # it takes our place
