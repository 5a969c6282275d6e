"""The REST API under `/api/v1`, and the web page at `/`."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from tuner.service import metrics
from tuner.service.routes import downloads, events, health, session, sharing, studies
from tuner.service.routes.body_limit import BodyLimit
from tuner.service.routes.dependencies import Parts, add_parts
from tuner.service.routes.problems import PROBLEMS, add_handlers
from tuner.service.runner import Runner
from tuner.service.schemas import Problem, SubmitOptions
from tuner.service.webhooks import send_due
from tuner.settings import Settings
from tuner.storage.database import Database, DatabaseError

_log = logging.getLogger(__name__)
_WEBHOOKS = 2.0  # seconds between looks for studies that ended
_PATIENCE = 3.0  # seconds that a request waits for a database that is away

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
}


def create_app(settings: Settings, *, run_studies: bool = True) -> FastAPI:
    """Make the application.

    Args:
        settings: Where things are, and limits.
        run_studies: Whether it starts drivers, too; a runner elsewhere may do so instead.
    """
    database = Database(settings.store_url, patience=_PATIENCE)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        webhooks = asyncio.create_task(_tell_webhooks(database, settings))
        try:
            async with _runner(settings) if run_studies else nullcontext():
                yield
        finally:
            webhooks.cancel()
            database.close()

    app = FastAPI(
        title="Alignment tuner",
        version="1",
        description="Finds the contrastive alignment strength λ that a paired data set wants.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={status: PROBLEMS[status] for status in (400, 401, 422, 429, 503)},
    )
    add_parts(app, Parts.of(settings, database))
    for routes in (studies, events, downloads, sharing, session):
        app.include_router(routes.router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(health.router, prefix="/api/v1", include_in_schema=False)
    add_handlers(app)
    app.middleware("http")(_observed)
    app.add_middleware(BodyLimit, limit=settings.max_upload)
    _add_problem_schema(app)
    app.mount("/", StaticFiles(directory=Path(__file__).with_name("static"), html=True))
    return app


@asynccontextmanager
async def _runner(settings: Settings) -> AsyncIterator[None]:
    """Run studies meanwhile, with more patience with the database than a request has."""
    with Database(settings.store_url) as database:
        runner = Runner(database, settings)
        runner.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(runner.stop)


async def _tell_webhooks(database: Database, settings: Settings) -> None:
    while True:
        await asyncio.sleep(_WEBHOOKS)
        try:
            await anyio.to_thread.run_sync(send_due, database, settings.webhooks)
        except DatabaseError as fault:
            _log.warning("webhooks wait for the database: %s", fault)


async def _observed(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give each request an id, count it, and add the headers that every answer has."""
    number = uuid.uuid4().hex[:12]
    started = time.perf_counter()
    response = await follow(request)
    seconds = time.perf_counter() - started
    route = getattr(request.scope.get("route"), "path", "other")
    metrics.observe(request.method, route, response.status_code, seconds)
    _log.info(
        "request",
        extra={
            "request": number,
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
            "seconds": round(seconds, 4),
        },
    )
    response.headers["X-Request-ID"] = number
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _add_problem_schema(app: FastAPI) -> None:
    build = app.openapi

    def with_problems() -> dict[str, Any]:
        document = build()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        schemas["SubmitOptions"] = SubmitOptions.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        for name, schema in schemas["SubmitOptions"].pop("$defs", {}).items():
            schemas[name] = schema
        return document

    app.openapi = with_problems  # type: ignore[method-assign]  # as FastAPI's documentation does
