"""The studies of the REST API: submit, follow, cancel, fetch, delete."""

import asyncio
import base64
import hashlib
import json
import logging
import sys
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Form, Header, Query, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.background import BackgroundTask

from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.sources import is_uri
from tuner.service.processes.check import spec_errors
from tuner.service.routes.problems import PROBLEMS, ProblemError
from tuner.service.routes.session import Reader, Writer
from tuner.service.schemas import (
    RUN_OPTIONS,
    Sharing,
    StudyPage,
    StudyView,
    SubmitOptions,
    WebhookSecret,
)
from tuner.service.uploads import discard_unused, keep, received, stem
from tuner.settings import Settings, is_under
from tuner.storage.accounts import Caller, webhook_secret
from tuner.storage.submissions import (
    ENDED,
    Asked,
    ConflictError,
    Submission,
    Submissions,
    TooManyError,
)
from tuner.study.result import Status, StudyResult

_log = logging.getLogger(__name__)
_LOOK = 0.5  # seconds between looks for new events
router = APIRouter(tags=["studies"])


Id = Annotated[str, PathParameter(pattern=r"^[0-9A-Za-z]{1,32}$", description="of a study")]


def _mine(request: Request, caller: Reader, id: Id) -> Submission:  # noqa: A002  # the path's
    found: Submission | None = request.app.state.submissions.get(caller.user, id)
    if found is None:
        raise ProblemError(404, f"you have no study {id!r}")
    return found


Mine = Annotated[Submission, Depends(_mine)]


def _own(caller: Writer, mine: Mine) -> Submission:
    if mine.owner != caller.name:
        raise ProblemError(403, f"this study is {mine.owner}'s: you may look at it, no more")
    return mine


Own = Annotated[Submission, Depends(_own)]


@router.post(
    "/studies",
    status_code=201,
    response_model=StudyView,
    responses={status: PROBLEMS[status] for status in (403, 409, 413)},
)
async def submit(
    request: Request,
    caller: Writer,
    file: Annotated[UploadFile | None, Form(description="the data set, .npz or .parquet")] = None,
    data: Annotated[
        str | None, Form(description="a URI of it, or a shipped example: mfeat")
    ] = None,
    spec: Annotated[
        str,
        Form(
            description="JSON with options of `tuner run`: see the schema SubmitOptions",
            examples=['{"trials": 8, "seed": 1}'],
        ),
    ] = "{}",
    webhook: Annotated[
        str | None,
        Form(
            max_length=2048,
            description="URL that is told when the study ends, signed with your webhook secret",
        ),
    ] = None,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> StudyView:
    """Submit a data set: it is checked before this answers, with all that is wrong with it.

    A question that was answered before is answered from the store: the state is `done` at once.
    """
    settings: Settings = request.app.state.settings
    options = _options(spec)
    if (file is None) == (data is None):
        raise ProblemError(422, "send either a file or data, a URI")
    if webhook is not None and not is_under(webhook, settings.allowed_webhooks):
        allowed = settings.allowed_webhooks or "none (TUNER_ALLOWED_WEBHOOKS)"
        raise ProblemError(422, f"webhook: this service calls URLs that begin with: {allowed}")
    accept = partial(_accept, request, caller, options, idempotency_key, webhook)
    if file is not None:
        async with received(file, settings) as path:
            digest = await anyio.to_thread.run_sync(_digest, path)
            return StudyView.of(await accept(str(path), digest, stem(file.filename), path))
    assert data is not None
    if data not in EXAMPLES and not (is_uri(data) and is_under(data, settings.allowed_sources)):
        allowed = settings.allowed_sources or "none"
        raise ProblemError(
            422,
            f"data: this service reads the examples {', '.join(EXAMPLES)} and URIs that begin "
            f"with: {allowed}",
        )
    return StudyView.of(await accept(data, data, stem(data), None))


async def _accept(
    request: Request,
    caller: Caller,
    options: dict[str, Any],
    idempotency_key: str | None,
    webhook: str | None,
    source: str,
    digest: str,
    name: str | None,
    path: Path | None,
) -> Submission:
    """Check a data set and write the submission down.

    Raises:
        ProblemError: If it cannot be accepted.
    """
    settings: Settings = request.app.state.settings
    submissions: Submissions = request.app.state.submissions
    asked = hashlib.sha256(json.dumps([digest, options, webhook]).encode()).hexdigest()
    try:
        known = await anyio.to_thread.run_sync(
            submissions.known, caller.user, idempotency_key, asked
        )
        if known is not None:
            return known
        earlier = await anyio.to_thread.run_sync(_earlier, submissions, caller.user, options)
        rest = {n: v for n, v in options.items() if n not in RUN_OPTIONS}
        if earlier is not None and earlier.result is not None:
            interval = earlier.result["joint"]["interval"]
            rest["warm_start"] = {"study": earlier.study, "interval": interval}
        found = await request.app.state.checker.check(source, rest, name)
        if earlier is not None and earlier.fingerprint != found["fingerprint"]:
            raise ProblemError(422, f"warm_start: {earlier.id} was a study of other data")
        if path is not None:
            source = await anyio.to_thread.run_sync(keep, path, found["fingerprint"], settings)
        question = Asked(
            user=caller.user,
            study=found["study"],
            name=found["name"],
            fingerprint=found["fingerprint"],
            spec=found["spec"],
            source=source,
            options={n: v for n, v in options.items() if n in RUN_OPTIONS},
            request=asked,
            idempotency_key=idempotency_key,
            webhook=webhook,
        )
        try:
            return await anyio.to_thread.run_sync(submissions.submit, question)
        except (ConflictError, TooManyError):
            discard = (request.app.state.store, question.fingerprint, settings)
            await anyio.to_thread.run_sync(discard_unused, *discard)
            raise
    except ConflictError:
        detail = "this Idempotency-Key was used for another request: take a new one"
        raise ProblemError(409, detail) from None
    except TooManyError:
        detail = f"you have {settings.max_queued} unfinished studies: wait for one, or cancel it"
        raise ProblemError(429, detail) from None


@router.get("/studies", response_model=StudyPage)
def list_studies(
    request: Request,
    caller: Reader,
    status: Annotated[Status | None, Query()] = None,
    name: Annotated[
        str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="part of the name")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=64, description="`next` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> StudyPage:
    """List your studies, the latest first."""
    found = request.app.state.submissions.page(
        caller.user, before=_decoded(cursor), limit=limit + 1, status=status, name=name
    )
    more = len(found) > limit
    page = found[:limit]
    return StudyPage(
        studies=[StudyView.of(each) for each in page],
        next=_encoded(page[-1].number) if more else None,
    )


_ONE: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (403, 404)}


@router.get("/studies/{id}", response_model=StudyView, responses=_ONE)
def get_study(mine: Mine) -> StudyView:
    """Tell how a study stands."""
    return StudyView.of(mine)


@router.get(
    "/studies/{id}/result",
    response_model=StudyResult,
    responses=_ONE | {409: PROBLEMS[409]},
)
def get_result(mine: Mine) -> StudyResult:
    """Give the answer of a study that is done."""
    if mine.result is None:
        reason = f": {mine.error}" if mine.error else ""
        raise ProblemError(409, f"there is no answer: the study is {mine.status}{reason}")
    return StudyResult.model_validate(mine.result)


@router.get(
    "/studies/{id}/report",
    response_class=FileResponse,
    responses=_ONE | {409: PROBLEMS[409], 200: {"content": {"text/html": {}}}},
)
async def get_report(request: Request, mine: Mine) -> FileResponse:
    """Give the self-contained page about the answer."""
    page: Path = request.app.state.settings.reports(mine.study) / "report.html"
    links = None if mine.result is None else mine.result.get("mlflow")
    if links is None:
        raise ProblemError(409, f"there is no report: the study is {mine.status}")
    if not page.is_file():  # its driver was on another machine
        page.parent.mkdir(parents=True, exist_ok=True)
        command = ["-m", "tuner.service.processes.fetch", "report", links["run_id"], str(page)]
        await _helper(command, "MLflow could not give the report; try again")
    # The page holds its own styles and pictures, and no script.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return FileResponse(page, headers={"Content-Security-Policy": policy})


@router.get(
    "/studies/{id}/encoders/{modality}",
    response_class=FileResponse,
    responses=_ONE | {409: PROBLEMS[409], 200: {"content": {"application/zip": {}}}},
)
async def get_encoder(request: Request, mine: Mine, modality: Literal["a", "b"]) -> FileResponse:
    """Give the registered encoder of a modality: an MLflow model, zipped."""
    side = None if mine.result is None else mine.result["modalities"][modality]
    if side is None or side["model"] is None:
        raise ProblemError(409, f"there is no encoder: the study is {mine.status}")
    settings: Settings = request.app.state.settings
    model = side["model"]
    out = settings.uploads / f"outgoing-{uuid.uuid4().hex}.zip"
    command = [
        "-m",
        "tuner.service.processes.fetch",
        "model",
        model["name"],
        model["version"],
        str(out),
    ]
    await _helper(command, "the registry could not give the encoder; try again")
    return FileResponse(
        out,
        media_type="application/zip",
        filename=f"{model['name']}-{model['version']}.zip",
        background=BackgroundTask(out.unlink, missing_ok=True),
    )


@router.get(
    "/studies/{id}/events",
    response_class=EventSourceResponse,
    responses=_ONE | {200: {"content": {"text/event-stream": {}}}},
)
async def get_events(
    request: Request,
    caller: Reader,
    id: Id,  # noqa: A002  # the path's
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> EventSourceResponse:
    """Follow a study: `status` and `progress` events, to its end.

    A client that lost its connection sends `Last-Event-ID` and misses nothing.
    """
    submissions: Submissions = request.app.state.submissions
    mine = await anyio.to_thread.run_sync(_mine, request, caller, id)
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0

    async def events() -> AsyncIterator[ServerSentEvent]:
        nonlocal seen
        while True:
            now = await anyio.to_thread.run_sync(submissions.get, caller.user, mine.id)
            news = partial(submissions.events, mine.study, after=seen)
            found = await anyio.to_thread.run_sync(news)
            for event in found:
                seen = event.id
                yield ServerSentEvent(json.dumps(event.content), event=event.kind, id=str(event.id))
            if now is None or now.status in ENDED:
                status = "deleted" if now is None else now.status
                yield ServerSentEvent(json.dumps({"status": status}), event="end")
                return
            await asyncio.sleep(_LOOK)

    return EventSourceResponse(events(), ping=15)


@router.post("/studies/{id}/cancel", response_model=StudyView, responses=_ONE)
def cancel(request: Request, caller: Writer, mine: Own) -> StudyView:
    """Stop a study within seconds; its finished trials are kept, should it be asked for again."""
    after = request.app.state.submissions.cancel(caller.user, mine.id)
    return StudyView.of(after or mine)


@router.delete("/studies/{id}", status_code=204, responses=_ONE)
def delete(request: Request, mine: Own, caller: Writer) -> Response:
    """Delete a study, its trials and its data; its MLflow runs and models stay."""
    state = request.app.state
    state.submissions.delete(caller.user, mine.id)
    discard_unused(state.store, mine.fingerprint, state.settings)
    return Response(status_code=204)


@router.get("/studies/{id}/shares", response_model=Sharing, responses=_ONE)
def get_shares(request: Request, mine: Mine) -> Sharing:
    """Tell who else may see a study."""
    return Sharing(shared_with=request.app.state.submissions.shared_with(mine.id))


User = Annotated[str, PathParameter(max_length=64, pattern=r"^[^\x00]+$", description="a name")]


@router.put("/studies/{id}/shares/{user}", response_model=Sharing, responses=_ONE)
def share(request: Request, caller: Writer, mine: Own, user: User) -> Sharing:
    """Let another user see a study, its answer and its encoders."""
    submissions: Submissions = request.app.state.submissions
    if not submissions.share(caller.user, mine.id, user):
        raise ProblemError(404, f"there is no user {user!r}")
    return get_shares(request, mine)


@router.delete("/studies/{id}/shares/{user}", response_model=Sharing, responses=_ONE)
def unshare(request: Request, caller: Writer, mine: Own, user: User) -> Sharing:
    """Show a study to another user no more."""
    request.app.state.submissions.unshare(caller.user, mine.id, user)
    return get_shares(request, mine)


@router.get("/webhook-secret", response_model=WebhookSecret, responses={403: PROBLEMS[403]})
def get_webhook_secret(request: Request, caller: Writer) -> WebhookSecret:
    """Give what your webhooks are signed with (standardwebhooks.com)."""
    return WebhookSecret(secret=webhook_secret(request.app.state.store, caller.user))


def _earlier(submissions: Submissions, user: int, options: dict[str, Any]) -> Submission | None:
    """Find the study to begin with.

    Raises:
        ProblemError: If the user has none of that id, or it has no answer.
    """
    wanted = options.get("warm_start")
    if wanted is None:
        return None
    found = submissions.get(user, str(wanted)[:64].replace("\0", ""))
    if found is None or found.result is None:
        raise ProblemError(422, f"warm_start: you have no study {wanted!r} with an answer")
    return found


def _options(spec: str) -> dict[str, Any]:
    """Read the options of a submission.

    Raises:
        ProblemError: If they are no JSON, unknown, or would run code of the sender's.
    """
    try:
        options = json.loads(spec)
    except ValueError as error:
        raise ProblemError(422, f"spec: is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise ProblemError(422, "spec: has to be a JSON object")
    try:
        SubmitOptions.model_validate(options)
    except ValidationError as error:
        raise ProblemError(422, "the spec is not as it should be", spec_errors(error)) from None
    for name in ("encoder_a", "encoder_b"):
        if ":" in str(options.get(name, "")):
            detail = f"{name}: a service runs built-in encoders only"
            raise ProblemError(422, detail)
    return options


async def _helper(command: list[str], failure: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", *command, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    if process.returncode != 0:
        _log.error("%s: %s", failure, told.decode(errors="replace")[-2000:])
        raise ProblemError(503, failure)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encoded(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def _decoded(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        number = int(base64.urlsafe_b64decode(cursor.encode()).decode())
    except ValueError:
        number = 0
    if not 0 < number < 2**31:
        raise ProblemError(422, "cursor: is none that this service gave")
    return number
