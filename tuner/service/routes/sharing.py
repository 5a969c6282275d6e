"""Who else may see a study: users by name, and whoever has a link that its owner made."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse

from tuner.service.problems import NO_LINK, OF_A_STUDY, PROBLEMS, ProblemError
from tuner.service.routes.dependencies import (
    DatabaseOf,
    Mine,
    Own,
    SettingsOf,
    SubmissionsOf,
    WatchOf,
    Writer,
)
from tuner.service.routes.downloads import answer_of, curve_of, report_of
from tuner.service.routes.events import followed, look_at
from tuner.service.schemas import LinkList, LinkRequest, LinkView, NewLinkView, SharedView, Sharing
from tuner.settings import Settings
from tuner.storage.requests.links import Link, Links
from tuner.storage.requests.submissions import Submission
from tuner.study.result import StudyResult
from tuner.study.scripts.result import ScriptResult

router = APIRouter(tags=["studies"])
User = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$", description="a name")]
LinkId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="of a link")]
Token = Annotated[str, Path(max_length=100, description="of a link: it is the key")]
_SHARED: dict[int | str, dict[str, Any]] = {404: PROBLEMS[404]}
_OF_AN_ANSWER = _SHARED | {409: PROBLEMS[409]}


@router.get("/studies/{id}/shares", response_model=Sharing, responses=OF_A_STUDY)
def get_shares(submissions: SubmissionsOf, mine: Mine) -> Sharing:
    """Tell who else may see a study."""
    return Sharing(shared_with=submissions.shared_with(mine.id))


@router.put("/studies/{id}/shares/{user}", response_model=Sharing, responses=OF_A_STUDY)
def share(submissions: SubmissionsOf, caller: Writer, mine: Own, user: User) -> Sharing:
    """Let another user see a study, its answer and its encoders."""
    if not submissions.share(caller.user, mine.id, user):
        raise ProblemError(404, f"there is no user {user!r}")
    return get_shares(submissions, mine)


@router.delete("/studies/{id}/shares/{user}", response_model=Sharing, responses=OF_A_STUDY)
def unshare(submissions: SubmissionsOf, caller: Writer, mine: Own, user: User) -> Sharing:
    """Show a study to another user no more."""
    submissions.unshare(caller.user, mine.id, user)
    return get_shares(submissions, mine)


@router.post(
    "/studies/{id}/links",
    status_code=201,
    response_model=NewLinkView,
    responses=OF_A_STUDY,
)
def create_link(
    request: Request,
    database: DatabaseOf,
    settings: SettingsOf,
    caller: Writer,
    mine: Own,
    wish: LinkRequest,
) -> NewLinkView:
    """Make a link that shows a study to whoever has it; its token is told here and never again."""
    try:
        link, token = Links(database).create(caller.user, mine.id, days=wish.days)
    except KeyError:  # deleted meanwhile
        raise ProblemError(404, f"you have no study {mine.id!r}") from None
    return NewLinkView(
        id=link.id,
        expires=link.expires,
        created=link.created,
        token=token,
        url=f"{_base(request, settings)}/#/shared/{token}",
    )


@router.get("/studies/{id}/links", response_model=LinkList, responses=OF_A_STUDY)
def get_links(database: DatabaseOf, caller: Writer, mine: Own) -> LinkList:
    """List the links to a study that open it."""
    return LinkList(links=[_view(link) for link in Links(database).of(caller.user, mine.id)])


@router.delete("/studies/{id}/links/{link}", status_code=204, responses=OF_A_STUDY)
def revoke_link(database: DatabaseOf, caller: Writer, mine: Own, link: LinkId) -> Response:
    """Let a link open the study no more."""
    if not Links(database).revoke(caller.user, mine.id, link):
        raise ProblemError(404, f"this study has no link {link!r}")
    return Response(status_code=204)


async def _link(request: Request, token: Token) -> Link:  # noqa: ARG001  # the path's
    """Give the link that the gate has opened: `tuner.service.guard.gate`."""
    link: Link | None = getattr(request.state, "link", None)
    if link is None:
        raise ProblemError(404, NO_LINK)
    return link


LinkOf = Annotated[Link, Depends(_link)]


def _shown(submissions: SubmissionsOf, link: LinkOf) -> Submission:
    submission = submissions.get(link.user, link.submission)
    if submission is None:
        raise ProblemError(404, NO_LINK)
    return submission


Shown = Annotated[Submission, Depends(_shown)]


@router.get("/shared/{token}", response_model=SharedView, responses=_SHARED)
def get_shared(shown: Shown) -> SharedView:
    """Tell how the study of a link stands."""
    return SharedView.of(shown)


@router.get(
    "/shared/{token}/result", response_model=StudyResult | ScriptResult, responses=_OF_AN_ANSWER
)
def get_shared_result(shown: Shown) -> StudyResult | ScriptResult:
    """Give the answer of the study of a link."""
    return answer_of(shown)


@router.get(
    "/shared/{token}/report",
    response_class=FileResponse,
    responses=_OF_AN_ANSWER | {200: {"content": {"text/html": {}}}},
)
async def get_shared_report(settings: SettingsOf, shown: Shown) -> FileResponse:
    """Give the self-contained page about the answer of the study of a link."""
    return await report_of(shown, settings)


@router.get(
    "/shared/{token}/events",
    response_class=EventSourceResponse,
    responses=_SHARED | {200: {"content": {"text/event-stream": {}}}},
)
async def get_shared_events(
    submissions: SubmissionsOf,
    database: DatabaseOf,
    watch: WatchOf,
    token: Token,
    link: LinkOf,
    shown: Shown,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> EventSourceResponse:
    """Follow the study of a link, to its end or that of the link."""
    look = partial(look_at, submissions, link.user, link.submission, shown.study)
    wait = partial(watch.wait, shown.study)
    return followed(look, wait, lambda: Links(database).opened(token) is not None, last_event_id)


@router.get(
    "/shared/{token}/curve.csv",
    response_class=Response,
    responses=_OF_AN_ANSWER | {200: {"content": {"text/csv": {}}}},
)
def get_shared_curve(shown: Shown) -> Response:
    """Give the λ-curve of the study of a link as a table."""
    return curve_of(shown)


def _view(link: Link) -> LinkView:
    return LinkView(id=link.id, expires=link.expires, created=link.created)


def _base(request: Request, settings: Settings) -> str:
    """Where people find this service."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    url = request.base_url
    host = request.headers.get("X-Forwarded-Host")  # of a proxy, as is the path that it takes off
    prefix = request.headers.get("X-Forwarded-Prefix", "").strip("/")
    base = str(url.replace(netloc=host) if host else url).rstrip("/")
    return f"{base}/{prefix}".rstrip("/")
