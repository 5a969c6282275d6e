"""`tuner serve`: the API, the web page and a runner in one process."""

import json
import logging
import os
import socket
from pathlib import Path
from types import FrameType

import uvicorn

from tuner.errors import ServiceError
from tuner.execution.interrupts import have_interrupts
from tuner.service.app import create_app
from tuner.service.guard.connections import BACKLOG, BoundedProtocol
from tuner.settings import Settings
from tuner.storage.accounts import add_key, keys, new_token
from tuner.storage.database import Database

FIRST_USER = "admin"
_GRACE = 10  # seconds that open requests have when the service is told to stop
_EXTRA = ("request", "method", "path", "status", "seconds", "study")


def listen(host: str, port: int) -> socket.socket:
    """Take the port, before anything else is done.

    Raises:
        ServiceError: If that cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServiceError(
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}. "
            "Another program may have the port: choose one with --port, an address with --host."
        ) from None
    return listener


def serve(settings: Settings, listener: socket.socket, *, run_studies: bool = True) -> None:
    """Serve until the process is told to stop; studies that run go on."""
    _log_as_json()
    _close_home(settings)
    app = create_app(settings, run_studies=run_studies)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    have_interrupts(stop)  # before uvicorn hears of them itself, and after: it raises them anew
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends requests at once at a second Ctrl-C, and what runs beside them in order all the same."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()


def first_key(settings: Settings) -> Path | None:
    """Make the key of a new service and write it to a file that its owner alone may read.

    New is a service whose first user never had a key, whoever else has one. The file is written
    before the key counts: a start that was cut short is made good by the next.

    Returns:
        The file; None if that user had a key before.
    """
    path = settings.folder / "api-key"
    with Database(settings.store_url) as database:
        if any(user == FIRST_USER for _, user in keys(database)):
            return None
        token = new_token()
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
        add_key(database, FIRST_USER, token)
    return path


def _close_home(settings: Settings) -> None:
    """Let nobody else of this machine look into a home that version 0.1.0 made."""
    home = settings.folder
    if home.stat().st_uid == os.geteuid():
        home.chmod(0o700)


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        content |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        if record.exc_info:
            content["trace"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def _log_as_json() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
