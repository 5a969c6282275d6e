"""Who may ask for anything: decided before a byte of a body is read, on every route.

A route that nobody thought of is closed: what lies under the API wants a key unless it is named
here, and what changes something wants the scope `write` and the page's own origin. Of what a link
shows the link's token is the key, and it opens nothing else.
"""

from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tuner.service.guard.bodies import takes_data
from tuner.service.guard.turns import Bound, FairQueue
from tuner.service.problems import NO_LINK, ProblemError, database_away, problem
from tuner.service.routes.dependencies import COOKIE, Parts
from tuner.storage.accounts import Caller, caller_of, caller_of_session
from tuner.storage.database import DatabaseAwayError
from tuner.storage.requests.links import Link, Links

_API = "/api/v1"
_SESSION = f"{_API}/session"
_SHARED = f"{_API}/shared/"
_OPEN = {f"{_API}{path}" for path in ("/health/live", "/health/ready", "/metrics")}
_SAFE = ("GET", "HEAD", "OPTIONS")
_REQUESTS, _STREAMS = 64, 32  # of one user, under way
_ALL_REQUESTS, _ALL_STREAMS, _ALL_LOGINS = 512, 512, 32
_UPLOADS = 8  # that are received and checked at a time; the others wait, unread


class Gate:
    """Lets in who has a key, in an order that is fair, and tells the others why not.

    Args:
        app: What is behind it.
        parts: What the service is made of.
    """

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self._parts = app, parts
        self._requests = Bound(_REQUESTS, _ALL_REQUESTS)
        self._streams = Bound(_STREAMS, _ALL_STREAMS)
        self._logins = Bound(_ALL_LOGINS, _ALL_LOGINS)
        self._uploads = FairQueue(_UPLOADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._let_in(Request(scope)))
            except ProblemError as error:
                answer = problem(error.status, error.detail, headers=error.headers)
                await answer(scope, receive, send)
                return
            except DatabaseAwayError as error:
                await database_away(error)(scope, receive, send)
                return
            await self._app(scope, receive, send)

    @asynccontextmanager
    async def _let_in(self, request: Request) -> AsyncIterator[None]:
        """Let a request in, for as long as it lasts.

        Raises:
            ProblemError: If it may not come in, or not now.
        """
        path, is_change = request.scope["path"], request.method not in _SAFE
        if is_change and not _is_from_here(request):
            raise ProblemError(403, "this was sent by another web page: only our own may do so")
        if not path.startswith(f"{_API}/") or path in _OPEN:
            yield
        elif path == _SESSION and is_change:  # logging in and out
            with _counted(self._logins, None, "people log in"):
                yield
        elif path.startswith(_SHARED):
            link = await self._link(path.removeprefix(_SHARED).partition("/")[0])
            if is_change:
                raise ProblemError(405, "a link shows a study, and changes nothing")
            request.state.link = link
            async with self._turn(request, f"link {link.id}"):
                yield
        else:
            caller = await self._caller(request)
            if is_change and "write" not in caller.scopes:
                raise ProblemError(403, "this key has no scope 'write'")
            request.state.caller = caller
            async with self._turn(request, caller.user):
                yield

    async def _link(self, token: str) -> Link:
        """Find the link that a token opens.

        Raises:
            ProblemError: If there is none, or it is opened too often.
        """
        with _counted(self._logins, None, "links are opened"):
            links = Links(self._parts.database)
            link = await anyio.to_thread.run_sync(links.opened, token)
        if link is None:
            raise ProblemError(404, NO_LINK)
        if not self._parts.limiter.hit(self._parts.rate, f"link {link.id}"):
            raise ProblemError(429, f"more than {self._parts.rate}: slow down")
        return link

    async def _caller(self, request: Request) -> Caller:
        """Find out who asks.

        Raises:
            ProblemError: If that is unknown, or they ask too often.
        """
        parts = self._parts
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        session = request.cookies.get(COOKIE)
        caller = None
        if kind.lower() == "bearer":
            caller = await anyio.to_thread.run_sync(caller_of, parts.database, token.strip())
        elif session:
            caller = await anyio.to_thread.run_sync(caller_of_session, parts.database, session)
        if caller is None:
            detail = "a valid key is needed: Authorization: Bearer KEY"
            raise ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})
        if not parts.limiter.hit(parts.rate, caller.key):
            raise ProblemError(429, f"more than {parts.rate}: slow down")
        return caller

    @asynccontextmanager
    async def _turn(self, request: Request, user: Hashable) -> AsyncIterator[None]:
        """Have a request wait for its turn, if it takes much to serve.

        Raises:
            ProblemError: If its user has too many under way.
        """
        is_stream = request.scope["path"].endswith("/events")
        bound = self._streams if is_stream else self._requests
        with _counted(
            bound, user, "studies are followed" if is_stream else "requests are under way"
        ):
            if not takes_data(request.scope):
                yield
                return
            async with self._uploads.place(user):
                yield


@contextmanager
def _counted(bound: Bound, user: Hashable, what: str) -> Iterator[None]:
    """Count something of a user's meanwhile.

    Raises:
        ProblemError: If there is too much of it already.
    """
    if not bound.take(user):
        detail = f"too many {what}: end one, or try again in a while"
        raise ProblemError(429, detail, headers={"Retry-After": "1"})
    try:
        yield
    finally:
        bound.give_back(user)


def _is_from_here(request: Request) -> bool:
    """Whether a request comes from our own page, or from no page at all.

    Browsers say from where they send a change, and let no page say otherwise: first
    `Sec-Fetch-Site`, and where that is missing (it is on plain HTTP) `Origin`.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    here = request.headers.get("X-Forwarded-Host") or request.headers.get("Host", "")
    return urlsplit(origin).netloc.lower() == here.lower()
