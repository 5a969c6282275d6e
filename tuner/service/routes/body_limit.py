"""Bounds what a request may send, by what it says and by what comes."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuner.service.routes.problems import problem

_BESIDES = 2**20  # bytes of a form besides its file


class BodyLimit:
    """Refuses bodies that are too large, before and while they are read.

    Args:
        app: What is behind it.
        limit: Bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._limit + _BESIDES
        answer = problem(413, f"a data set may have {self._limit:,} bytes here")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await answer(scope, receive, send)
            return
        seen, answered = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            """Answer for an application that takes the fault for a damaged form."""
            nonlocal answered
            if seen <= most:
                await send(message)
            elif not answered:
                answered = True
                await answer(scope, receive, send)

        try:
            await self._app(scope, counted, noted)
        except _TooLargeError:
            if not answered:
                await answer(scope, receive, send)


class _TooLargeError(Exception):
    pass
