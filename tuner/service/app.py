"""The REST API under `/api/v1`, and the web page at `/`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from tuner.service.guard.bodies import Bodies
from tuner.service.guard.gate import Gate
from tuner.service.guard.observer import Observer
from tuner.service.incoming.uploads import clear_incoming
from tuner.service.notices.mail import send_mail_due
from tuner.service.notices.webhooks import send_due
from tuner.service.problems import PROBLEMS, add_handlers
from tuner.service.routes import (
    downloads,
    events,
    health,
    inspections,
    scripts,
    session,
    sharing,
    studies,
)
from tuner.service.routes.dependencies import Parts, add_parts
from tuner.service.runner import Runner
from tuner.service.schemas import Problem, SubmitOptions
from tuner.service.words import title
from tuner.settings import Settings
from tuner.storage.accounts import Seal
from tuner.storage.database import Database

_WEBHOOKS = 2.0  # seconds between looks for studies that ended
_STUDIES = 0.5  # seconds between looks for studies to start, and for drivers that ended
_PATIENCE = 3.0  # seconds that a request waits for a database that is away


def create_app(settings: Settings, *, run_studies: bool = True) -> FastAPI:
    """Make the application.

    Args:
        settings: Where things are, and limits.
        run_studies: Whether it starts drivers, too; a runner elsewhere may do so instead.
    """
    database = Database(settings.store_url, patience=_PATIENCE, keeps_connections=True)
    parts = Parts.of(settings, database)
    seal = Seal(settings.sealing_key)
    send = partial(send_due, database, settings.webhooks, seal, settings.public_url)
    mail = partial(send_mail_due, database, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        clear_incoming(settings)
        async with AsyncExitStack() as stack:
            stack.callback(database.close)
            stack.enter_context(parts.listener)
            if run_studies:
                await stack.enter_async_context(_runner(parts))
            await stack.enter_async_context(parts.supervisor.keeps("webhooks", send, _WEBHOOKS))
            if settings.sends_mail:
                await stack.enter_async_context(parts.supervisor.keeps("mail", mail, _WEBHOOKS))
            yield

    app = FastAPI(
        title="Alignment tuner",
        version="1",
        description="Finds the contrastive alignment strength λ that a paired data set wants.",
        lifespan=lifespan,
        form_limits={"max_files": 1, "max_fields": 8},  # each lies in memory, to begin with
        docs_url=None,
        redoc_url=None,
        responses={status: PROBLEMS[status] for status in (400, 401, 422, 429, 503)},
    )
    add_parts(app, parts)
    for routes in (studies, inspections, events, downloads, sharing, session, scripts):
        app.include_router(routes.router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(health.router, prefix="/api/v1", include_in_schema=False)
    add_handlers(app)
    app.add_middleware(Bodies, settings=settings)
    app.add_middleware(Gate, parts=parts)
    app.add_middleware(Observer)  # the outermost: what is refused is counted, too
    _add_problem_schema(app)
    app.mount("/", StaticFiles(directory=Path(__file__).with_name("static"), html=True))
    return app


@asynccontextmanager
async def _runner(parts: Parts) -> AsyncIterator[None]:
    """Run studies meanwhile, with more patience with the database than a request has."""
    with Database(parts.settings.store_url, keeps_connections=True) as database:
        runner = Runner(database, parts.settings, parts.listener)
        async with parts.supervisor.keeps("runner", runner.tick, _STUDIES):
            yield


def _add_problem_schema(app: FastAPI) -> None:
    build = app.openapi

    def with_problems() -> dict[str, Any]:
        document = build()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        schemas["SubmitOptions"] = SubmitOptions.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        for of in ("SubmitOptions", "ScriptSpec"):
            for name, option in schemas[of]["properties"].items():
                option["title"] = title(name)
        for name, schema in schemas["SubmitOptions"].pop("$defs", {}).items():
            schemas[name] = schema
        return document

    app.openapi = with_problems  # type: ignore[method-assign]  # as FastAPI's documentation does
