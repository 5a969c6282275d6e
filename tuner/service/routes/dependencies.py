"""What routes are given: who asks, which study is meant, and what the service is made of."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tuner.service.guard.supervisor import Supervisor
from tuner.service.guard.watch import Watch
from tuner.service.incoming.intake import Intake
from tuner.service.problems import ProblemError
from tuner.settings import Settings
from tuner.storage.accounts import Caller
from tuner.storage.database import Database
from tuner.storage.requests.listener import Listener
from tuner.storage.requests.submissions import Submission, Submissions
from tuner.storage.studies import StudyStore
from tuner.storage.weights import WeightStore

COOKIE = "tuner_session"
_bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What the service is made of."""

    settings: Settings
    database: Database
    studies: StudyStore
    submissions: Submissions
    weights: WeightStore
    intake: Intake
    limiter: MovingWindowRateLimiter
    rate: RateLimitItem
    supervisor: Supervisor
    listener: Listener
    watch: Watch

    @classmethod
    def of(cls, settings: Settings, database: Database) -> "Parts":
        """Make them of settings, on a database."""
        studies = StudyStore(database)
        submissions = Submissions(database, max_queued=settings.max_queued)
        listener = Listener(database)
        return cls(
            settings=settings,
            database=database,
            studies=studies,
            submissions=submissions,
            weights=WeightStore(database, settings.weights),
            intake=Intake(submissions, studies, settings),
            limiter=MovingWindowRateLimiter(MemoryStorage()),
            rate=parse(settings.rate_limit),
            supervisor=Supervisor(),
            listener=listener,
            watch=Watch(submissions, listener),
        )


def add_parts(app: FastAPI, parts: Parts) -> None:
    """Let the routes of an application have its parts."""
    app.state.parts = parts


async def _parts(request: Request) -> Parts:  # none of these waits: a thread would cost more
    parts: Parts = request.app.state.parts
    return parts


_Parts = Annotated[Parts, Depends(_parts)]


async def _settings(parts: _Parts) -> Settings:
    return parts.settings


async def _database(parts: _Parts) -> Database:
    return parts.database


async def _studies(parts: _Parts) -> StudyStore:
    return parts.studies


async def _submissions(parts: _Parts) -> Submissions:
    return parts.submissions


async def _weights(parts: _Parts) -> WeightStore:
    return parts.weights


async def _supervisor(parts: _Parts) -> Supervisor:
    return parts.supervisor


async def _intake(parts: _Parts) -> Intake:
    return parts.intake


async def _watch(parts: _Parts) -> Watch:
    return parts.watch


SettingsOf = Annotated[Settings, Depends(_settings)]
DatabaseOf = Annotated[Database, Depends(_database)]
Store = Annotated[StudyStore, Depends(_studies)]
SubmissionsOf = Annotated[Submissions, Depends(_submissions)]
WeightsOf = Annotated[WeightStore, Depends(_weights)]
SupervisorOf = Annotated[Supervisor, Depends(_supervisor)]
IntakeOf = Annotated[Intake, Depends(_intake)]
WatchOf = Annotated[Watch, Depends(_watch)]


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Give whom the gate has let in: `tuner.service.guard.gate`."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise ProblemError(401, "a valid key is needed: Authorization: Bearer KEY")
    return caller


def _may(scope: str) -> Callable[..., Awaitable[Caller]]:
    async def allowed(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if scope not in caller.scopes:
            raise ProblemError(403, f"this key has no scope {scope!r}")
        return caller

    return allowed


Reader = Annotated[Caller, Depends(_may("read"))]
Writer = Annotated[Caller, Depends(_may("write"))]
Id = Annotated[str, PathParameter(pattern=r"^[0-9A-Za-z]{1,32}$", description="of a study")]


def _mine(submissions: SubmissionsOf, caller: Reader, id: Id) -> Submission:  # noqa: A002  # the path's
    submission = submissions.get(caller.user, id)
    if submission is None:
        raise ProblemError(404, f"you have no study {id!r}")
    return submission


Mine = Annotated[Submission, Depends(_mine)]


def _own(caller: Writer, mine: Mine) -> Submission:
    if mine.owner != caller.name:
        raise ProblemError(403, f"this study is {mine.owner}'s: you may look at it, no more")
    return mine


Own = Annotated[Submission, Depends(_own)]
