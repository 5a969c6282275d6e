"""Who may do what: keys in a header, or in a cookie of the web page."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from tuner.data.formats.examples import EXAMPLES
from tuner.service.routes.problems import ProblemError
from tuner.settings import Settings
from tuner.storage.accounts import Caller, caller_of

COOKIE = "tuner_key"
router = APIRouter(tags=["web page"], include_in_schema=False)
_bearer = HTTPBearer(auto_error=False)


def _caller(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    cookie: Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)] = None,
) -> Caller:
    token = given.credentials if given is not None else cookie
    caller = caller_of(request.app.state.store, token) if token else None
    if caller is None:
        detail = "a valid key is needed: Authorization: Bearer KEY"
        raise ProblemError(401, detail)
    limiter, rate = request.app.state.limiter
    if not limiter.hit(rate, caller.key):
        raise ProblemError(429, f"more than {rate}: slow down")
    return caller


def _may(scope: str) -> Callable[..., Caller]:
    def allowed(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if scope not in caller.scopes:
            raise ProblemError(403, f"this key has no scope {scope!r}")
        return caller

    return allowed


Reader = Annotated[Caller, Depends(_may("read"))]
Writer = Annotated[Caller, Depends(_may("write"))]


class Login(BaseModel):
    """A key for the web page."""

    key: str


@router.post("/session", status_code=204)
def log_in(request: Request, login: Login) -> Response:
    """Keep a key in a cookie that no script can read, for the web page."""
    if caller_of(request.app.state.store, login.key) is None:
        raise ProblemError(401, "this key is unknown, or was revoked")
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, login.key, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400
    )
    return response


@router.get("/session")
def who(request: Request, caller: Reader) -> dict[str, Any]:
    """Tell who is logged in, and what the page needs to know."""
    settings: Settings = request.app.state.settings
    return {"user": caller.name, "examples": sorted(EXAMPLES), "mlflow": settings.mlflow_url}


@router.delete("/session", status_code=204)
def log_out() -> Response:
    """Forget the key."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response
