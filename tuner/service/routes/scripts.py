"""Studies of training code: of some that is offered here, or of what is trained elsewhere.

Elsewhere workers ask for trainings, and tell.
"""

import hashlib
import json
import logging
import threading
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, File, Form, Header, Response, UploadFile
from pydantic import ValidationError

from tuner.errors import ScriptError, SpecError, SubmissionError
from tuner.scripts.told import read_archive
from tuner.service.guard.bodies import JSON_LIMIT
from tuner.service.incoming.offers import OFFERED, offered, offers
from tuner.service.problems import OF_A_STUDY, PROBLEMS, ProblemError
from tuner.service.routes.dependencies import (
    DatabaseOf,
    Own,
    Reader,
    SettingsOf,
    Store,
    SubmissionsOf,
    Writer,
)
from tuner.service.trainings import (
    Asked,
    AskView,
    Kept,
    NewScript,
    NewScriptView,
    OfferedScript,
    OfferView,
    Outcome,
    Released,
    ToldBeside,
)
from tuner.storage.handouts import ELSEWHERE, Handout, Handouts
from tuner.storage.requests.submissions import CheckedSubmission, Submission
from tuner.storage.studies import StudyStore
from tuner.study.result import ENDED
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.scripts.trials import outcome_of
from tuner.study.trial import FinishedTrial

_log = logging.getLogger(__name__)
_AGAIN = 5.0  # seconds after which a worker asks again
_READING = threading.Semaphore(2)  # archives at a time, each of 128 MiB unpacked at most
_OF_A_LEASE = OF_A_STUDY | {409: PROBLEMS[409]}
_TAKEN = (
    "this lease is over: another worker has the training, or it is wanted no more. Ask for the next"
)
router = APIRouter(tags=["training code"])


@router.post(
    "/studies/elsewhere",
    status_code=201,
    response_model=NewScriptView,
    responses={status: PROBLEMS[status] for status in (403, 409)},
)
def submit_elsewhere(
    submissions: SubmissionsOf,
    store: Store,
    caller: Writer,
    new: NewScript,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> NewScriptView:
    """Submit a study of your training code, which runs where you run it.

    The same code, told by its digest, with the same options is the same study: one that failed or
    was cancelled goes on, and what had failed of it is tried again.
    """
    study = new.study(caller.user)
    earlier = store.get(study.id)
    if earlier is not None and earlier.status in ("failed", "cancelled"):
        store.forget_failed(study.id, ("",))
    of = hashlib.sha256(f"{study.id}\n{study.script.digest}".encode()).hexdigest()
    return NewScriptView.of(
        submissions.submit(_checked(study, caller.user, ELSEWHERE, of, idempotency_key))
    )


@router.get("/scripts", response_model=list[OfferView])
def list_scripts(settings: SettingsOf, caller: Reader) -> list[OfferView]:
    """List the training code that you may have trained here, by `POST /studies/scripts`."""
    theirs = {name: of for name, of in offers(settings).items() if of.allows(caller.name)}
    return [OfferView.of(name, offer) for name, offer in sorted(theirs.items())]


@router.post(
    "/studies/scripts",
    status_code=201,
    response_model=NewScriptView,
    responses={status: PROBLEMS[status] for status in (403, 409)},
)
def submit_script(
    submissions: SubmissionsOf,
    settings: SettingsOf,
    caller: Writer,
    new: OfferedScript,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> NewScriptView:
    """Submit a study of training code that is offered here: see `GET /scripts`."""
    offer = offered(settings, new.script, caller.name)
    try:
        study = offer.study(new.script, new.options)
    except SpecError as error:
        _log.error("the code %r that is offered: %s", new.script, error)
        words = "the code is not as it should be: tell who runs the service"
        raise SubmissionError(words) from None
    of = study.script.digest
    checked = _checked(study, caller.user, OFFERED + new.script, of, idempotency_key)
    checked = replace(checked, most=offer.studies, data_name=new.script)
    return NewScriptView.of(submissions.submit(checked))


@router.post("/studies/{id}/ask", response_model=AskView, responses=_OF_A_LEASE)
def ask(database: DatabaseOf, store: Store, mine: Own, asked: Asked) -> AskView:
    """Ask for a training: λ and a seed, yours until you tell what came of it or fall silent.

    Who asks again by the same name has what they had.
    """
    spec = _asked_elsewhere(store, mine)
    if mine.status in ENDED:
        return AskView(state="done", status=mine.status, error=mine.error)
    handout = Handouts(database).take(mine.study, asked.worker, asked.seconds)
    if handout is None:
        return AskView(state="wait", status=mine.status, again_in=_AGAIN)
    return AskView.of(handout, mine.status, spec)


@router.post(
    "/studies/{id}/tell",
    status_code=204,
    responses=_OF_A_LEASE | {413: PROBLEMS[413], 422: PROBLEMS[422]},
)
def tell(database: DatabaseOf, store: Store, mine: Own, outcome: Outcome) -> Response:
    """Tell what a training reported, or why it failed; twice is as once.

    It is accepted after its lease has expired, too, as long as nobody else has the training.
    """
    handout = _held(Handouts(database).find(mine.study, outcome.lease), mine)
    if not handout.is_told and mine.status not in ENDED:
        store.record(mine.study, _finished(handout, outcome))
    Handouts(database).release(mine.study, outcome.lease)
    return Response(status_code=204)


@router.post(
    "/studies/{id}/tell/file",
    status_code=204,
    responses=_OF_A_LEASE | {413: PROBLEMS[413], 422: PROBLEMS[422]},
)
def tell_file(
    database: DatabaseOf,
    store: Store,
    mine: Own,
    file: Annotated[UploadFile, File(description="the scores.npz of the training")],
    told: Annotated[str, Form(max_length=JSON_LIMIT, description="JSON: as `tell`, no scores")],
) -> Response:
    """Tell what a training of many rows reported, by its `scores.npz`: 64 MiB at most.

    `told` is JSON with `lease` and, if known, `seconds`, `saved` and `curves`, as `tell` has them.
    """
    try:
        beside = ToldBeside.model_validate_json(told)
    except ValidationError as error:
        raise SubmissionError(f"told: {error.errors()[0]['msg']}") from None
    handout = _held(Handouts(database).find(mine.study, beside.lease), mine)
    if not handout.is_told and mine.status not in ENDED:
        request = handout.request
        with _READING:
            try:
                reported = read_archive(
                    file.file,
                    confirming=request.phase == "confirm",
                    curves=beside.curves,
                    seconds=beside.seconds,
                    saved=beside.saved,
                )
            except ScriptError as error:
                raise SubmissionError(str(error)) from None
            trial = FinishedTrial(request=request, outcome=outcome_of(reported, request))
            store.record(mine.study, trial)
    Handouts(database).release(mine.study, beside.lease)
    return Response(status_code=204)


@router.post("/studies/{id}/heartbeat", response_model=AskView, responses=_OF_A_LEASE)
def heartbeat(database: DatabaseOf, store: Store, mine: Own, kept: Kept) -> AskView:
    """Keep a training that takes longer than its lease."""
    handout = Handouts(database).keep(mine.study, kept.lease, kept.seconds)
    return AskView.of(_held(handout, mine), mine.status, _asked_elsewhere(store, mine))


@router.post("/studies/{id}/release", status_code=204, responses=OF_A_STUDY)
def release(database: DatabaseOf, mine: Own, released: Released) -> Response:
    """Give a training back, for others to have it at once."""
    Handouts(database).release(mine.study, released.lease)
    return Response(status_code=204)


def _checked(
    study: ScriptStudy,
    user: int,
    source: str,
    fingerprint: str,
    idempotency_key: str | None,
) -> CheckedSubmission:
    return CheckedSubmission(
        user=user,
        study=study.id,
        name=study.name,
        fingerprint=fingerprint,
        spec=study.written,
        source=source,
        options={},
        request=hashlib.sha256(json.dumps(study.written).encode()).hexdigest(),
        idempotency_key=idempotency_key,
    )


def _asked_elsewhere(store: StudyStore, mine: Submission) -> ScriptSpec:
    row = store.get(mine.study)
    if row is None or row.source != ELSEWHERE:
        raise ProblemError(409, "this study is trained here: there is nothing to ask for")
    return ScriptStudy.read(row.id, row.spec).spec


def _held(handout: Handout | None, mine: Submission) -> Handout:
    """Return a training that its worker still has, in a study that goes on or has its outcome."""
    if handout is None or (mine.status in ENDED and not handout.is_told):
        ended = mine.status in ENDED and f"the study is {mine.status}, and wants no more trainings"
        raise ProblemError(409, ended or _TAKEN)
    return handout


def _finished(handout: Handout, outcome: Outcome) -> FinishedTrial:
    request = handout.request
    if outcome.reported is None:
        return FinishedTrial(request=request, outcome=None, reason=outcome.reason)
    try:
        reported = outcome.reported.reported(confirming=request.phase == "confirm")
    except ScriptError as error:
        raise SubmissionError(str(error)) from None
    return FinishedTrial(request=request, outcome=outcome_of(reported, request))
