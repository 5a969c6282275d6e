"""Bounds what a request may send, by what it says and by what comes, and how long it may take."""

import asyncio
import re

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.service.problems import problem
from tuner.settings import Settings

JSON_LIMIT = 2**20  # bytes that a route takes, unless it takes a data set or scores of rows
SCORES_LIMIT = 2**24
SCORES_FILE_LIMIT = 2**26
_BESIDES = 2**20  # bytes of a form besides its file
_UPLOADS = frozenset(
    f"/api/v1/{route}" for route in ("studies", "inspections", "plans", "predictions")
)
_SCORES = re.compile(r"/api/v1/studies/[0-9A-Za-z]+/tell(?P<file>/file)?")
_SILENCE = 30.0  # seconds in which something of a body has to come
_SLOWEST = 4096  # bytes a second that have to come on average, after these first seconds


def takes_data(scope: Scope) -> bool:
    """Whether a request may bring a data set along."""
    return scope["method"] == "POST" and scope["path"] in _UPLOADS


class Bodies:
    """Refuses bodies that are too large or come too slowly, and ends requests that take too long.

    Args:
        app: What is behind it.
        settings: Limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _limit(scope["path"])
        words = f"this takes {limit:,} bytes at most"
        if takes_data(scope):
            limit = self._settings.max_upload
            words = f"a data set may have {limit:,} bytes here"
            limit += _BESIDES
        body = _Body(receive, send, limit, words)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await body.too_large(scope, receive, send)
            return
        is_stream = scope["path"].endswith("/events")
        try:
            async with asyncio.timeout(None if is_stream else self._settings.max_seconds):
                await self._app(scope, body.receive, body.send)
        except _BodyError:
            pass
        except TimeoutError:  # if the answer has begun, its connection is closed
            body.refusal = problem(503, "this took longer than the service gives to a request")
        if body.refusal is not None and not body.has_answered:
            await body.refusal(scope, receive, send)


def _limit(path: str) -> int:
    """Bytes that a route takes which takes no data set."""
    scores = _SCORES.fullmatch(path)
    if scores is None:
        return JSON_LIMIT
    return SCORES_FILE_LIMIT if scores["file"] else SCORES_LIMIT


class _BodyError(Exception):
    """A body is none that is read to its end."""


class _Body:
    """One request's body, as it comes."""

    def __init__(self, receive: Receive, send: Send, limit: int, words: str) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self.too_large = problem(413, words)
        self.refusal: JSONResponse | None = None
        self.has_answered = False
        self._seen, self._waited, self._is_over = 0, 0.0, False

    async def receive(self) -> Message:
        """Give the next part.

        Raises:
            _BodyError: If it is too large by now, or too slow.
        """
        if self._is_over:  # what is waited for now is the end of the connection
            return await self._receive()
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(_SILENCE):
                message = await self._receive()
        except TimeoutError:
            self._refuse(problem(408, f"nothing came for {_SILENCE:.0f} seconds", headers=_CLOSE))
        self._waited += loop.time() - started
        self._seen += len(message.get("body", b""))
        self._is_over = message["type"] != "http.request" or not message.get("more_body", False)
        if self._seen > self._limit:
            self._refuse(self.too_large)
        if not self._is_over and self._waited > _SILENCE + self._seen / _SLOWEST:
            self._refuse(problem(408, "the body came too slowly", headers=_CLOSE))
        return message

    async def send(self, message: Message) -> None:
        """Answer, but not for an application that takes our fault for a damaged form."""
        if self.refusal is None:
            self.has_answered = True
            async with asyncio.timeout(_SILENCE):  # else who reads nothing holds it for ever
                await self._send(message)

    def _refuse(self, answer: JSONResponse) -> None:
        self.refusal, self._is_over = answer, True
        raise _BodyError


_CLOSE = {"Connection": "close"}
