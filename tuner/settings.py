"""Where things are kept: the environment, read once at the edge of the program."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings from the environment.

    Attributes:
        home: Folder of the embedded stores (TUNER_HOME).
        database_url: Study store (TUNER_DATABASE_URL), by default in `home`.
        mlflow_tracking_uri: MLflow (MLFLOW_TRACKING_URI), by default in `home`.
        ray_address: Ray cluster (RAY_ADDRESS), by default one started on this machine.
        artifacts: Where MLflow keeps files (TUNER_ARTIFACTS), by default in `home`.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="TUNER_")

    home: Path = Path(".tuner")
    database_url: str | None = None
    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="mlflow_tracking_uri")
    ray_address: str | None = Field(default=None, validation_alias="ray_address")
    artifacts: str | None = None

    @property
    def folder(self) -> Path:
        """The home folder as an absolute path, made if it is not there."""
        path = self.home.expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the study store."""
        return self.database_url or f"sqlite:///{self.folder / 'studies.db'}"

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and models."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def artifact_location(self) -> str | None:
        """Where MLflow keeps files; None leaves it to a tracking server."""
        if self.artifacts:
            return self.artifacts
        return None if self.mlflow_tracking_uri else (self.folder / "artifacts").as_uri()
