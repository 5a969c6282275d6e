"""The session of the web page: its key lies in a cookie that no script can read."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from tuner.data.formats.examples import EXAMPLES
from tuner.service.routes.dependencies import COOKIE, DatabaseOf, Reader, SettingsOf
from tuner.service.routes.problems import ProblemError
from tuner.storage.accounts import caller_of

router = APIRouter(tags=["web page"], include_in_schema=False)


class Login(BaseModel):
    """A key for the web page."""

    key: str


@router.post("/session", status_code=204)
def log_in(request: Request, database: DatabaseOf, login: Login) -> Response:
    """Keep a key in the cookie."""
    if caller_of(database, login.key) is None:
        raise ProblemError(401, "this key is unknown, or was revoked")
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, login.key, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400
    )
    return response


@router.get("/session")
def who(settings: SettingsOf, caller: Reader) -> dict[str, Any]:
    """Tell who is logged in, and what the page needs to know."""
    return {"user": caller.name, "examples": sorted(EXAMPLES), "mlflow": settings.mlflow_url}


@router.delete("/session", status_code=204)
def log_out() -> Response:
    """Forget the key."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response
