"""Errors as problem documents (RFC 9457), none with a path or a trace of this machine."""

import errno
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tuner.errors import ConflictError, SealError, SubmissionError, TooManyError
from tuner.service.words import Words, all_said, said
from tuner.storage.database import DatabaseAwayError
from tuner.study.spec import option_errors

_log = logging.getLogger(__name__)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": words,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for status, words in {
        400: "The request is malformed.",
        401: "There is no key, or an unknown one.",
        403: "The key may not do this.",
        404: "There is no such study.",
        409: "It stands otherwise than the request needs.",
        408: "The body came too slowly.",
        413: "The data set is too large.",
        422: "The data set or the spec is not as it should be: see the findings.",
        429: "Too many requests, or too many unfinished studies.",
        503: "The database is away, or this took too long.",
        507: "There is no room left for the data set.",
    }.items()
}
OF_A_STUDY: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (403, 404)}
NO_LINK = "this link shows nothing: it is wrong, has expired, or was revoked"
_REFUSALS: dict[type[SubmissionError], int] = {ConflictError: 409, TooManyError: 429}


def _is_full(error: BaseException | None) -> bool:
    """Whether a file could not be written for want of room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _full(error: BaseException) -> JSONResponse:
    _log.error("no room is left on a disk: %s", error)
    return problem(507, "the service has no room left for this; nothing of it was kept")


class ProblemError(Exception):
    """A request cannot be served."""

    def __init__(
        self,
        status: int,
        detail: str,
        findings: Sequence[str] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.findings = status, detail, list(findings)
        self.headers = headers


def problem(
    status: int,
    detail: str,
    findings: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Write a problem document."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "findings": list(findings),
        },
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def database_away(error: DatabaseAwayError) -> JSONResponse:
    """Say that the database does not answer."""
    _log.warning("the database is away: %s", error.orig)
    return problem(503, "the database is away; try again", headers={"Retry-After": "5"})


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""

    @app.exception_handler(ProblemError)
    def problematic(_: Request, error: ProblemError) -> JSONResponse:
        return problem(error.status, error.detail, error.findings, error.headers)

    @app.exception_handler(SubmissionError)
    def refused(request: Request, error: SubmissionError) -> JSONResponse:
        words: Words = "page" if request.query_params.get("words") == "page" else "rest"
        findings = all_said(error.findings, words)
        return problem(_REFUSALS.get(type(error), 422), said(str(error), words), findings)

    @app.exception_handler(SealError)
    def sealed(_: Request, error: SealError) -> JSONResponse:
        _log.error("%s", error)
        return problem(503, "webhook secrets cannot be read here: tell who runs the service")

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> JSONResponse:
        if _is_full(error.__cause__):  # while the body was read
            return _full(error)
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        findings = [str(fault) for fault in option_errors(error.errors())]
        return problem(422, "the request is not as it should be", findings)

    @app.exception_handler(DatabaseAwayError)
    def away(_: Request, error: DatabaseAwayError) -> JSONResponse:
        return database_away(error)

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> JSONResponse:
        return _full(error) if _is_full(error) else unexpected(request, error)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "the service failed; its log says why")
