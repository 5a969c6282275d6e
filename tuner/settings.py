"""Where things are kept: the environment, read once at the edge of the program."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tuner.data.formats.arrays.npz import MAX_BYTES
from tuner.data.formats.reach import Reach
from tuner.data.formats.sources import is_uri

_SECRETS = Path("/run/secrets")  # where containers find them


class Settings(BaseSettings):
    """Settings from the environment, or from files such as `/run/secrets/tuner_database_url`.

    Attributes:
        home: Folder of the embedded stores (TUNER_HOME).
        database_url: Study store (TUNER_DATABASE_URL), by default in `home`.
        secret_key: What secrets in the database are sealed with (TUNER_SECRET_KEY); by default the
            database's URL, or for one in `home` a file there.
        mlflow_tracking_uri: MLflow (MLFLOW_TRACKING_URI), by default in `home`.
        ray_address: Ray cluster (RAY_ADDRESS), by default one started on this machine.
        artifacts: Where MLflow keeps files (TUNER_ARTIFACTS), by default in `home`.
        kept_uploads: Folder or URI where submitted data sets are kept (TUNER_UPLOADS), by default
            in `home`; every machine of a cluster has to reach it.
        kept_checkpoints: Folder or URI where unfinished trainings and weights are kept
            (TUNER_CHECKPOINTS), by default in `home`; of trials of a cluster, only weights then.
        max_data: Bytes that a data set may take once it is unpacked (TUNER_MAX_DATA). What does
            not fit into memory lies in a folder for temporary files (TMPDIR).
        max_upload: Bytes of a submitted data set, at most (TUNER_MAX_UPLOAD).
        max_seconds: Seconds that a request may take in all, an upload and its check included
            (TUNER_MAX_SECONDS).
        max_queued: Unfinished submissions of one user, at most (TUNER_MAX_QUEUED).
        max_running: Studies of one user that run at a time (TUNER_MAX_RUNNING).
        slots: Studies that one runner has at a time (TUNER_SLOTS).
        driver_resource: Name of a resource of the Ray cluster that each driver takes one of, so
            that drivers run on the machines that have it (TUNER_DRIVER_RESOURCE); by default, or
            if empty, they run on the head.
        rate_limit: Requests of one key (TUNER_RATE_LIMIT), in the words of `limits`.
        allowed_sources: Prefixes of URIs that the service may read data from, separated by
            commas (TUNER_ALLOWED_SOURCES); none by default.
        allowed_webhooks: Prefixes of URLs that the service may tell of the end of a study
            (TUNER_ALLOWED_WEBHOOKS); none by default.
        mlflow_url: Where people find MLflow's page (TUNER_MLFLOW_URL), for links.
        smtp_url: Server that sends e-mail (TUNER_SMTP_URL): `smtps://user:password@host`, or
            `smtp://…`, which is encrypted, too, unless the server is on this machine.
        mail_from: Whom e-mail is from (TUNER_MAIL_FROM); none is sent without both.
        allowed_mail: Domains that e-mail may be sent to, with those below them, separated by
            commas (TUNER_ALLOWED_MAIL); by default that of `mail_from`.
        scripts: File that names the training code which users may have trained here
            (TUNER_SCRIPTS); none by default. See `tuner.service.incoming.offers`.
        public_url: Where people find this service (TUNER_PUBLIC_URL), for links; by default where
            a request for one was sent to.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="TUNER_",
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
    )

    home: Path = Path(".tuner")
    database_url: str | None = None
    secret_key: str | None = None
    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="mlflow_tracking_uri")
    ray_address: str | None = Field(default=None, validation_alias="ray_address")
    artifacts: str | None = None
    kept_uploads: str | None = Field(default=None, validation_alias="tuner_uploads")
    kept_checkpoints: str | None = Field(default=None, validation_alias="tuner_checkpoints")
    max_data: int = MAX_BYTES
    max_upload: int = 2 * 2**30
    max_queued: int = 100
    max_running: int = 2
    slots: int = 1
    driver_resource: str = ""
    max_seconds: float = 3600.0
    rate_limit: str = "50/second"
    allowed_sources: str = ""
    allowed_webhooks: str = ""
    mlflow_url: str | None = None
    public_url: str | None = None
    smtp_url: str | None = None
    mail_from: str | None = None
    allowed_mail: str = ""
    scripts: Path | None = None

    @property
    def folder(self) -> Path:
        """The home folder as an absolute path, made if it is not there."""
        path = self.home.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # others on this machine are strangers
        return path

    @property
    def sealing_key(self) -> str:
        """What secrets in the database are sealed with: the same for all services that share it."""
        if self.secret_key or self.database_url:
            return str(self.secret_key or self.database_url)
        path = self.folder / "secret-key"
        if path.exists():
            return path.read_text()
        with suppress(FileExistsError):
            aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
            with os.fdopen(
                os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                file.write(secrets.token_hex(32))
            try:
                path.hardlink_to(aside)  # of two that start at once, one makes it
            finally:
                aside.unlink()
        return path.read_text()

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

    @property
    def uploads(self) -> Path:
        """Where data sets arrive, and stay by fingerprint unless `kept_uploads` is a URI."""
        is_folder = self.kept_uploads is not None and not is_uri(self.kept_uploads)
        path = Path(self.kept_uploads or "") if is_folder else self.folder / "uploads"
        path.mkdir(parents=True, exist_ok=True)
        return path.resolve()

    @property
    def sources(self) -> Reach:
        """Where the data of submitted studies may be read from."""
        kept = self.kept_uploads if self.kept_uploads and is_uri(self.kept_uploads) else ""
        return Reach.of(f"{self.allowed_sources},{kept}")

    def is_kept(self, source: str) -> bool:
        """Whether a source is a submitted data set where every machine of a cluster reaches it."""
        kept = self.kept_uploads or ""
        return is_uri(kept) and source.startswith(f"{kept.rstrip('/')}/")

    @property
    def webhooks(self) -> Reach:
        """Whom a service may tell that a study ended."""
        return Reach.of(self.allowed_webhooks)

    @property
    def sends_mail(self) -> bool:
        """Whether a service can tell by e-mail that a study ended."""
        return self.smtp_url is not None and self.mail_from is not None

    @property
    def mail_domains(self) -> tuple[str, ...]:
        """Where e-mail may be sent to, in lower case."""
        own = (self.mail_from or "").rpartition("@")[2].strip("> ")
        named = (self.allowed_mail or own).lower().split(",")
        return tuple(domain.strip() for domain in named if domain.strip())

    def checkpoints(self, study: str) -> str | None:
        """Where the unfinished trainings of a study are kept, if anywhere."""
        home = None if self.ray_address else str(self.folder / "checkpoints")
        place = self.kept_checkpoints or home
        return None if place is None else f"{place.rstrip('/')}/{study}"

    def trainings(self, study: str) -> Path:
        """Where the trainings of a user's own code leave their logs and files, of one study."""
        return self.folder / "trainings" / study

    @property
    def weights(self) -> str:
        """Where the weights of confirmations are kept, of all studies together."""
        return f"{(self.kept_checkpoints or str(self.folder)).rstrip('/')}/weights"

    def reports(self, study: str) -> Path:
        """Where the report of a study is written."""
        return self.folder / "reports" / study
