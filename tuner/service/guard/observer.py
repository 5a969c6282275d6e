"""Gives each request an id, counts it, and adds the headers that every answer has."""

import logging
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.service import metrics

_KEY_IN_PATH = re.compile(r"^(/api/v1/shared/)[^/]*")  # a link's token is a key: no log has it
_log = logging.getLogger(__name__)
_HEADERS = {
    "Cache-Control": "no-cache",  # asked for again each time: modules of two versions do not mix
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
}


class Observer:
    """Sees every request, refused or not.

    Args:
        app: What is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, started = uuid.uuid4().hex[:12], time.perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = number
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                _note(scope, number, message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, observed)


def _note(scope: Scope, number: str, status: int, seconds: float) -> None:
    """Count a request whose answer begins."""
    route = getattr(scope.get("route"), "path", "other")
    metrics.observe(scope["method"], route, status, seconds)
    _log.info(
        "request",
        extra={
            "request": number,
            "method": scope["method"],
            "path": _KEY_IN_PATH.sub(r"\1…", scope["path"]),
            "status": status,
            "seconds": round(seconds, 4),
        },
    )
