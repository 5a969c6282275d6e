"""The session of the web page: a token of its own in a cookie that no script can read."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tuner.data.formats.examples import EXAMPLES
from tuner.service.problems import ProblemError
from tuner.service.routes.dependencies import COOKIE, DatabaseOf, Reader, SettingsOf, SubmissionsOf
from tuner.storage.accounts import SESSION_SECONDS, close_session, open_session

router = APIRouter(tags=["web page"], include_in_schema=False)


class Login(BaseModel):
    """A key for the web page."""

    key: str = Field(max_length=200)


@router.post("/session", status_code=204)
def log_in(request: Request, database: DatabaseOf, login: Login) -> Response:
    """Open a session with a key; the cookie has the session's token, which is no key."""
    token = open_session(database, login.key)
    if token is None:
        raise ProblemError(401, "this key is unknown, or was revoked")
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        max_age=SESSION_SECONDS,
    )
    return response


@router.get("/session")
def who(settings: SettingsOf, submissions: SubmissionsOf, caller: Reader) -> dict[str, Any]:
    """Tell who is logged in, and what the page needs to know."""
    return {
        "user": caller.name,
        "examples": sorted(EXAMPLES),
        "mlflow": settings.mlflow_url,
        "email": settings.sends_mail,
        "tags": submissions.tags(caller.user),
    }


@router.delete("/session", status_code=204)
def log_out(request: Request, database: DatabaseOf) -> Response:
    """Close the session: its token counts no more, wherever it is kept."""
    close_session(database, request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response
