"""The studies of the REST API: submit, look, cancel, delete."""

from typing import Annotated

from fastapi import APIRouter, Form, Header, Query, Response

from tuner.analysis.gains.needs import deciding_seeds
from tuner.errors import SpecError, SubmissionError
from tuner.service.incoming.intake import (
    NewSubmission,
    WebhookFormat,
    check_email,
    check_webhook,
    read_options,
)
from tuner.service.incoming.uploads import discard_unused, shown_name, stem
from tuner.service.problems import OF_A_STUDY, PROBLEMS, ProblemError
from tuner.service.routes.dependencies import (
    DatabaseOf,
    IntakeOf,
    Mine,
    Own,
    Reader,
    SettingsOf,
    Store,
    SubmissionsOf,
    WeightsOf,
    Writer,
)
from tuner.service.routes.downloads import answer_of
from tuner.service.routes.inspections import SentOf, WordsOf
from tuner.service.routes.listing import FilterOf, Sort, decoded, encoded, order_of
from tuner.service.schemas import (
    Extension,
    StudyEdit,
    StudyPage,
    StudyView,
    WebhookSecret,
)
from tuner.storage.accounts import Seal, webhook_secret
from tuner.study.result import StudyResult
from tuner.study.scripts.result import ScriptResult
from tuner.study.spec import StudySpec

router = APIRouter(tags=["studies"])

WebhookUrl = Annotated[
    str | None,
    Form(
        max_length=2048,
        description="URL that is told when the study ends, signed with your webhook secret",
    ),
]


@router.post(
    "/studies",
    status_code=201,
    response_model=StudyView,
    responses={status: PROBLEMS[status] for status in (403, 409, 413, 507)},
)
async def submit(
    intake: IntakeOf,
    settings: SettingsOf,
    sent: SentOf,
    webhook: WebhookUrl = None,
    webhook_format: Annotated[
        WebhookFormat | None, Form(description="slack: a sentence, as Slack and its like take it")
    ] = None,
    email: Annotated[
        str | None,
        Form(max_length=254, description="address that is told, too, if this service sends e-mail"),
    ] = None,
    words: WordsOf = "rest",  # noqa: ARG001  # of what is refused: see `problems`
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> StudyView:
    """Submit a data set: it is checked before this answers, with all that is wrong with it.

    A question that was answered before is answered from the store: the state is `done` at once.
    """
    options = read_options(sent.spec)
    check_webhook(webhook, settings)
    check_email(email, settings)
    async with sent.data_set() as (source, name):
        submission = NewSubmission(
            user=sent.caller.user,
            source=source,
            name=stem(name),
            data_name=shown_name(name),
            is_upload=sent.file is not None,
            options=options,
            webhook=webhook,
            webhook_format=webhook_format,
            email=email,
            idempotency_key=idempotency_key,
        )
        return StudyView.of(await intake.accept(submission))


@router.get("/studies", response_model=StudyPage)
def list_studies(
    submissions: SubmissionsOf,
    caller: Reader,
    only: FilterOf,
    sort: Annotated[Sort, Query(description="the largest first, if a - is before it")] = "-created",
    cursor: Annotated[str | None, Query(max_length=1024, description="`next` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> StudyPage:
    """List your studies and those that you were shown, the latest first."""
    order = order_of(sort)
    after = decoded(cursor, order)
    rest = submissions.page(caller.user, limit=limit + 1, only=only, order=order, after=after)
    page = rest[:limit]
    return StudyPage(
        studies=[StudyView.of(each) for each in page],
        next=encoded(page[-1], order) if len(rest) > limit else None,
    )


@router.get("/studies/{id}", response_model=StudyView, responses=OF_A_STUDY)
def get_study(mine: Mine) -> StudyView:
    """Tell how a study stands."""
    return StudyView.of(mine)


@router.patch("/studies/{id}", response_model=StudyView, responses=OF_A_STUDY)
def edit_study(submissions: SubmissionsOf, caller: Writer, mine: Own, edit: StudyEdit) -> StudyView:
    """Rename a study, or set its note, its tags, and whether it is archived."""
    after = submissions.edit(caller.user, mine.id, **edit.changes)
    return StudyView.of(after or mine)


@router.get(
    "/studies/{id}/result",
    response_model=StudyResult | ScriptResult,
    responses=OF_A_STUDY | {409: PROBLEMS[409]},
)
def get_result(mine: Mine) -> StudyResult | ScriptResult:
    """Give the answer of a study that is done."""
    return answer_of(mine)


@router.post(
    "/studies/{id}/extend",
    status_code=201,
    response_model=StudyView,
    responses=OF_A_STUDY | {409: PROBLEMS[409]},
)
async def extend(
    intake: IntakeOf,
    store: Store,
    caller: Writer,
    mine: Own,
    by: Extension,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> StudyView:
    """Submit a study that adds confirming seeds to one that is done; it trains nothing again."""
    row = store.get(mine.study)
    if "script" in mine.spec:
        raise ProblemError(
            409, "submit it with more confirm_replicates: training code is a new study then"
        )
    if row is None or row.source is None or mine.result is None:
        raise ProblemError(409, f"there is no answer to add seeds to: the study is {mine.status}")
    spec = StudySpec.model_validate(mine.spec)
    try:
        seeds = by.seeds or deciding_seeds(StudyResult.model_validate(mine.result))
        longer = spec.extended(seeds).model_dump(mode="json")
    except SpecError as error:
        raise SubmissionError(str(error)) from None
    return StudyView.of(
        await intake.accept(
            NewSubmission(
                user=caller.user,
                source=row.source,
                name=mine.name,
                data_name=mine.source,
                is_upload=False,
                options=longer.pop("training") | longer | mine.options,
                webhook=None,
                idempotency_key=idempotency_key,
            )
        )
    )


@router.post("/studies/{id}/cancel", response_model=StudyView, responses=OF_A_STUDY)
def cancel(submissions: SubmissionsOf, caller: Writer, mine: Own) -> StudyView:
    """Stop a study within seconds; its finished trials are kept, should it be asked for again."""
    after = submissions.cancel(caller.user, mine.id)
    return StudyView.of(after or mine)


@router.delete("/studies/{id}", status_code=204, responses=OF_A_STUDY)
def delete(
    submissions: SubmissionsOf,
    store: Store,
    weights: WeightsOf,
    settings: SettingsOf,
    mine: Own,
    caller: Writer,
) -> Response:
    """Delete a study, its trials, their weights and its data; MLflow's runs and models stay."""
    submissions.delete(caller.user, mine.id)
    weights.sweep()
    discard_unused(store, mine.fingerprint, settings)
    return Response(status_code=204)


@router.get("/webhook-secret", response_model=WebhookSecret, responses={403: PROBLEMS[403]})
def get_webhook_secret(database: DatabaseOf, settings: SettingsOf, caller: Writer) -> WebhookSecret:
    """Give what your webhooks are signed with (standardwebhooks.com)."""
    return WebhookSecret(secret=webhook_secret(database, caller.user, Seal(settings.sealing_key)))
