"""The files of a study that is done: its report and its encoders."""

import asyncio
import logging
import sys
import uuid
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from tuner.data.memory.scratch import scratch
from tuner.reporting.table import curve_csv
from tuner.service.incoming.uploads import stem
from tuner.service.problems import OF_A_STUDY, PROBLEMS, ProblemError
from tuner.service.routes.dependencies import Mine, SettingsOf
from tuner.settings import Settings
from tuner.storage.requests.submissions import Submission
from tuner.study.result import StudyResult
from tuner.study.scripts.result import ScriptResult
from tuner.study.scripts.result import answer_of as read_answer

_log = logging.getLogger(__name__)
router = APIRouter(tags=["studies"])


@router.get(
    "/studies/{id}/report",
    response_class=FileResponse,
    responses=OF_A_STUDY | {409: PROBLEMS[409], 200: {"content": {"text/html": {}}}},
)
async def get_report(settings: SettingsOf, mine: Mine) -> FileResponse:
    """Give the self-contained page about the answer."""
    return await report_of(mine, settings)


@router.get(
    "/studies/{id}/curve.csv",
    response_class=Response,
    responses=OF_A_STUDY | {409: PROBLEMS[409], 200: {"content": {"text/csv": {}}}},
)
def get_curve(mine: Mine) -> Response:
    """Give the λ-curve as a table: a row for every λ and target (a, b, joint)."""
    return curve_of(mine)


def answer_of(submission: Submission) -> StudyResult | ScriptResult:
    """Return the answer of a study that is done.

    Raises:
        ProblemError: If there is none.
    """
    if submission.result is None:
        reason = f": {submission.error}" if submission.error else ""
        raise ProblemError(409, f"there is no answer: the study is {submission.status}{reason}")
    return read_answer(submission.result)


def curve_of(submission: Submission) -> Response:
    """Return the λ-curve of a study that is done, as CSV.

    Raises:
        ProblemError: If there is none.
    """
    name = f"{stem(submission.name) or 'study'}-{submission.id}-curve.csv".encode("ascii", "ignore")
    return Response(
        curve_csv(answer_of(submission)),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name.decode()}"'},
    )


async def report_of(submission: Submission, settings: Settings) -> FileResponse:
    """Return the page about an answer.

    Raises:
        ProblemError: If there is none, or MLflow does not give it.
    """
    page = settings.reports(submission.study) / "report.html"
    links = None if submission.result is None else submission.result.get("mlflow")
    if links is None:
        raise ProblemError(409, f"there is no report: the study is {submission.status}")
    if not page.is_file():  # its driver was on another machine
        page.parent.mkdir(parents=True, exist_ok=True)
        if not await _fetch("report", links["run_id"], out=page):
            raise ProblemError(503, "MLflow could not give the report; try again")
    # The page holds its own styles and pictures, and no script.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return FileResponse(page, headers={"Content-Security-Policy": policy})


@router.get(
    "/studies/{id}/encoders/{modality}",
    response_class=FileResponse,
    responses=OF_A_STUDY | {409: PROBLEMS[409], 200: {"content": {"application/zip": {}}}},
)
async def get_encoder(mine: Mine, modality: Literal["a", "b"]) -> FileResponse:
    """Give the registered encoder of a modality: an MLflow model, zipped."""
    if "script" in mine.spec:
        raise ProblemError(409, "there is no encoder: the models are where the code was trained")
    side = None if mine.result is None else mine.result["modalities"][modality]
    if side is None or side["model"] is None:
        raise ProblemError(409, f"there is no encoder: the study is {mine.status}")
    model = side["model"]
    out = scratch().path / f"outgoing-{uuid.uuid4().hex}.zip"
    if not await _fetch("model", model["name"], model["version"], out=out):
        raise ProblemError(503, "the registry could not give the encoder; try again")
    return FileResponse(
        out,
        media_type="application/zip",
        filename=f"{model['name']}-{model['version']}.zip",
        background=BackgroundTask(out.unlink, missing_ok=True),
    )


async def _fetch(*words: str, out: Path) -> bool:
    """Fetch a file from MLflow, in a process of its own; whether that worked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # else a file of ours may be one of the same name in the working directory
        "-m",
        "tuner.service.processes.fetch",
        *words,
        str(out),
        stderr=asyncio.subprocess.PIPE,
    )
    _, trace = await process.communicate()
    if process.returncode != 0:
        _log.error("fetching %s failed: %s", words[0], trace.decode(errors="replace")[-2000:])
    return process.returncode == 0
