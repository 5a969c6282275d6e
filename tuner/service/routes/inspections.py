"""Looks at data before a study is submitted, and how data come with a request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile

from tuner.data.formats.files import UPLOADS
from tuner.errors import SubmissionError
from tuner.service.incoming.intake import Intake, Look, check_source, read_options
from tuner.service.incoming.uploads import SentData, received, stem
from tuner.service.problems import PROBLEMS, ProblemError
from tuner.service.routes.dependencies import (
    IntakeOf,
    SettingsOf,
    Store,
    SubmissionsOf,
    Writer,
)
from tuner.service.schemas import InspectionView, PlanView, PredictionView
from tuner.service.words import Words, all_said, said

router = APIRouter(tags=["studies"])
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: PROBLEMS[status] for status in (403, 413, 507)
}

DataFile = Annotated[
    UploadFile | None, Form(description=f"the data set, one file: {', '.join(UPLOADS)}")
]
DataName = Annotated[
    str | None,
    Form(
        description="a URI of it, a shipped example (mfeat), or study:ID, the data of a study of "
        "yours"
    ),
]
SpecText = Annotated[
    str,
    Form(
        description="JSON with options of `tuner run`: see the schema SubmitOptions",
        examples=['{"trials": 8, "seed": 1}'],
    ),
]

_OF_STUDY = "study:"
Earlier = Callable[[str], tuple[str, str]]


def _earlier(submissions: SubmissionsOf, store: Store, caller: Writer) -> Earlier:
    """Give what finds the data of an earlier study: where they are, and their name."""

    def find(study: str) -> tuple[str, str]:
        submission = submissions.get(caller.user, study[:32].replace("\0", ""))
        row = None if submission is None else store.get(submission.study)
        if submission is None or row is None or row.source is None:
            raise SubmissionError(f"data: you have no study {study!r}")
        if "script" in submission.spec:
            raise SubmissionError(f"data: study {study!r} is of training code: it has no data")
        if submission.owner != caller.name:  # who may see an answer may not use its data
            raise SubmissionError(f"data: study {study!r} is {submission.owner}'s: send its data")
        return row.source, submission.source or submission.name

    return find


EarlierOf = Annotated[Earlier, Depends(_earlier)]
WordsOf = Annotated[
    Words, Query(description="whose words findings are told in: of this API, or of the web page")
]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Data that come with a request, and the options of a study of them."""

    settings: SettingsOf
    caller: Writer
    earlier: EarlierOf
    file: DataFile = None
    data: DataName = None
    spec: SpecText = "{}"

    @asynccontextmanager
    async def data_set(self) -> AsyncIterator[tuple[str, str]]:
        """Where the data are, for as long as it lasts, and their name.

        Raises:
            SubmissionError: If neither or both came, or the service does not read from there.
        """
        file, data = self.file, self.data
        if file is not None and data is None:
            async with received(file, self.settings) as path:
                yield str(path), file.filename or path.name
        elif data is not None and file is None and data.startswith(_OF_STUDY):
            yield await anyio.to_thread.run_sync(self.earlier, data.removeprefix(_OF_STUDY))
        elif data is not None and file is None:
            check_source(data, self.settings)
            yield data, data
        else:
            raise SubmissionError("send either a file or data, a URI")


SentOf = Annotated[Sent, Depends(Sent)]


@router.post("/inspections", response_model=InspectionView, responses=_REFUSALS)
async def inspect(
    request: Request, intake: IntakeOf, sent: SentOf, words: WordsOf = "rest"
) -> InspectionView:
    """Tell what is in a data set, how it would be read and what a study of it would take.

    Nothing of it is kept.
    """
    found, name = await _looked("inspect", request, intake, sent)
    found |= {
        "source": name,
        "errors": all_said(found["errors"], words),
        "warnings": all_said(found["warnings"], words),
        "reading": {part: said(text, words) for part, text in found["reading"].items()},
        "findings": [each | {"text": said(each["text"], words)} for each in found["findings"]],
    }
    return InspectionView(**found)


@router.post("/plans", response_model=PlanView, responses=_REFUSALS)
async def plan(
    request: Request, intake: IntakeOf, sent: SentOf, words: WordsOf = "rest"
) -> PlanView:
    """Tell how small a gain a study would show, and what the smallest worth having would take.

    Three λs are trained for it, which takes a while: it ends with your connection, or after ten
    minutes. One user has one at a time. Nothing of it is kept.
    """
    told, _ = await _looked("plan", request, intake, sent)
    return PlanView(**told | {"words": all_said(told["words"], words)})


@router.post("/predictions", response_model=PredictionView, responses=_REFUSALS)
async def predict(
    request: Request, intake: IntakeOf, sent: SentOf, words: WordsOf = "rest"
) -> PredictionView:
    """Tell what past studies lead one to expect of a study, without a training, in seconds.

    Outside of what they have seen `targets` is empty, and `outside` says why. Nothing of it is
    kept.
    """
    told, _ = await _looked("predict", request, intake, sent)
    told |= {part: all_said(told[part], words) for part in ("words", "outside")}
    return PredictionView(**told)


async def _looked(
    task: Look, request: Request, intake: Intake, sent: Sent
) -> tuple[dict[str, Any], str]:
    """Look at the data that were sent, for as long as whoever asked is there; and their name."""
    options = read_options(sent.spec)
    async with sent.data_set() as (source, name):
        data = SentData(source, options, stem(name), sent.caller.user)
        return await _while_asked(request, intake.look(task, data)), name


async def _while_asked(request: Request, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Do work for as long as whoever asked for it is there.

    Raises:
        ProblemError: If they have gone, which nobody hears.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ProblemError(408, "the connection was closed")
        return await working
    finally:
        for each in (working, leaving):
            each.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Wait until whoever sent a request, which was read to its end, closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
