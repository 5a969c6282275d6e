"""What the API takes and gives, for its clients and its OpenAPI document."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator

from tuner.analysis.gains.forecast import Forecast
from tuner.models.config import TrainingConfig
from tuner.prediction.answer import Prediction
from tuner.service.stage import Phase, Stage
from tuner.storage.requests.submissions import Submission
from tuner.study.answer import Interval, verdict_of_today
from tuner.study.result import Status
from tuner.study.spec import MOST_SEEDS, StudySpec


class _RunOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    workers: Annotated[int | None, Field(ge=1, le=1024, description="trials at a time")] = None
    time_budget: Annotated[
        float | None, Field(gt=0, description="seconds after which no further search trial starts")
    ] = None
    step_budget: Annotated[
        int | None, Field(ge=1, description="gradient steps after which none does")
    ] = None


class _SubmitBase(_RunOptions):
    warm_start: Annotated[
        str | None,
        Field(
            description="id of an earlier study of yours, to begin with: of the same data it says "
            "where to look first; of others its curve is a small part of what is expected"
        ),
    ] = None
    prior: Annotated[
        Literal["none", "shipped", "own"] | None,
        Field(
            description="past studies that have a say in where the best λ is sought, and none in "
            "whether it gains: shipped, those that come with the program; own, with those that "
            "the operator has added"
        ),
    ] = None


_NAMED = ("training", "warm_start", "prior")  # of a spec; a submission says them otherwise
RUN_OPTIONS = tuple(_RunOptions.model_fields)

SubmitOptions = create_model(  # the options of `tuner run`, flat
    "SubmitOptions",
    __base__=_SubmitBase,
    **{  # type: ignore[call-overload]  # fields by name
        name: (field.annotation, field)
        for name, field in (
            {n: f for n, f in StudySpec.model_fields.items() if n not in _NAMED}
            | TrainingConfig.model_fields
        ).items()
    },
)


class UnderWayView(BaseModel):
    """A trial that is being trained."""

    strength: Annotated[float, Field(serialization_alias="lambda", description="its λ")]
    epoch: Annotated[float, Field(description="passes over the training rows made so far")]
    epochs: Annotated[int, Field(description="those that are made at most")]


class StudyView(BaseModel):
    """A submitted study."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "5f0c8e4b9a1d2c37",
                "study": "83064a307ea61a37",
                "name": "mfeat",
                "owner": "ada",
                "status": "running",
                "error": None,
                "answered_from_store": False,
                "fingerprint": "dee727bc0c79ac5ad1293916de1294efa483eee0ac6fb58c866d15cb553dbc6e",
                "spec": {"trials": 8, "seed": 0},
                "options": {"time_budget": 600},
                "trials": 3,
                "lambda": None,
                "verdict": None,
                "webhook_error": None,
                "created": "2026-01-01T12:00:00Z",
                "started": "2026-01-01T12:00:02Z",
                "ended": None,
                "note": "the first try",
                "tags": ["digits"],
                "archived": False,
                "source": "mfeat.npz",
                "phase": "search",
                "progress": 0.3,
                "seconds_left": 40.0,
                "under_way": [{"lambda": 0.5, "epoch": 2.4, "epochs": 18}],
            }
        }
    )

    id: str
    study: Annotated[str, Field(description="identifies data and spec: equal questions share it")]
    name: str
    owner: Annotated[str, Field(description="whose it is; others may have been shown it")]
    status: Status
    error: str | None
    answered_from_store: Annotated[
        bool, Field(description="whether the question had an answer when it was submitted")
    ]
    fingerprint: str
    spec: dict[str, Any]
    options: dict[str, Any]
    trials: Annotated[int, Field(description="finished trials")]
    strength: Annotated[
        float | None, Field(serialization_alias="lambda", description="joint λ*, if done")
    ]
    verdict: str | None
    webhook_error: Annotated[
        str | None,
        Field(description="why your webhook was not told, the last time that it was due"),
    ] = None
    email_error: Annotated[
        str | None, Field(description="why your e-mail was not sent, the last time that it was due")
    ] = None
    created: datetime
    started: Annotated[datetime | None, Field(description="when work on it began")] = None
    ended: Annotated[datetime | None, Field(description="when it was done, or failed")] = None
    note: Annotated[str, Field(description="what its owner wrote beside it")] = ""
    tags: Annotated[list[str], Field(description="under what its owner looks for it")] = []
    archived: Annotated[bool, Field(description="whether its owner has put it aside")] = False
    source: Annotated[
        str | None,
        Field(
            description="what its data were called when they were sent; or the name of offered code"
        ),
    ] = None
    headline: Annotated[str | None, Field(description="what to do, in a sentence")] = None
    interval: Annotated[Interval | None, Field(description="95 % interval of the joint λ*")] = None
    gain: Annotated[float | None, Field(description="of the joint candidate, on test rows")] = None
    gain_interval: Annotated[Interval | None, Field(description="its 95 % interval")] = None
    metric: Annotated[str | None, Field(description="what is measured, if that is known")] = None
    warm_start: Annotated[str | None, Field(description="study that it begins with")] = None
    longer_of: Annotated[str | None, Field(description="study that it adds seeds to")] = None
    phase: Annotated[Phase | None, Field(description="what is going on")] = None
    progress: Annotated[
        float | None, Field(ge=0, le=1, description="share of the whole study that is done")
    ] = None
    seconds_left: Annotated[float | None, Field(description="estimate for the trainings left")] = (
        None
    )
    step: Annotated[
        str | None, Field(description="what is done before the first training, in words")
    ] = None
    under_way: Annotated[
        list[UnderWayView], Field(description="trials that are being trained, and say how far")
    ] = []

    @classmethod
    def of(cls, submission: Submission) -> "StudyView":
        """Show a submission."""
        result = submission.result or {}
        main = result.get("main")  # of a study of training code
        joint = result.get("joint") or result.get("targets", {}).get(main) or {}
        tested = joint.get("test") or joint
        stage = Stage.of(submission)
        metric = submission.spec.get("metric", "auto")
        return cls(
            id=submission.id,
            study=submission.study,
            name=submission.name,
            owner=submission.owner,
            status=submission.status,
            error=submission.error,
            answered_from_store=submission.answered,
            fingerprint=submission.fingerprint,
            spec=submission.spec,
            options=submission.options,
            trials=submission.trials,
            strength=joint.get("lambda"),
            verdict=verdict_of_today(joint["verdict"]) if "verdict" in joint else None,
            webhook_error=submission.webhook_error,
            email_error=submission.email_error,
            created=submission.created,
            started=submission.started,
            ended=submission.ended,
            note=submission.note,
            tags=list(submission.tags),
            archived=submission.archived,
            source=submission.source,
            headline=result.get("headline"),
            interval=joint.get("interval"),
            gain=tested.get("gain"),
            gain_interval=tested.get("gain_interval"),
            metric=(result.get("metric") or {}).get("name", main if metric == "auto" else metric),
            warm_start=_earlier(submission.spec),
            longer_of=result.get("extends"),
            phase=stage.phase,
            progress=stage.progress,
            seconds_left=stage.seconds_left,
            step=stage.step,
            under_way=[
                UnderWayView(**{name: each[name] for name in UnderWayView.model_fields})
                for each in stage.under_way
            ],
        )


def _earlier(spec: Mapping[str, Any]) -> str | None:
    """The study that a spec begins with, of the same data or of others."""
    of_others = (spec.get("prior") or {}).get("earlier")
    told: Mapping[str, str] = spec.get("warm_start") or of_others or {}
    return told.get("study")


def is_plain(text: str, *, but: str = "") -> bool:
    """Whether a text has no control character and no half of a character (a lone surrogate).

    Args:
        text: It.
        but: Control characters that it may have.
    """
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text if c not in but)


class StudyEdit(BaseModel):
    """What its owner writes beside a study; what is left out, or null, stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    name: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    note: Annotated[str | None, Field(max_length=10_000, description="plain text")] = None
    tags: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=40)]] | None,
        Field(max_length=20, description="the same tag twice is one"),
    ] = None
    archived: bool | None = None

    @field_validator("name", "note")
    @classmethod
    def _plain(cls, text: str | None, info: ValidationInfo) -> str | None:
        allowed = "\r\n\t" if info.field_name == "note" else ""
        if text is not None and not is_plain(text, but=allowed):
            raise ValueError("it has a control character, or half of a character")
        return text

    @field_validator("tags")
    @classmethod
    def _unique(cls, tags: list[str] | None) -> list[str] | None:
        if tags is not None and not all(map(is_plain, tags)):
            raise ValueError("one has a control character, or half of a character")
        return None if tags is None else list(dict.fromkeys(tags))

    @property
    def changes(self) -> dict[str, Any]:
        """What is to be set, by name."""
        return self.model_dump(exclude_none=True)


_OF_ITS_OWNER = {
    *("owner", "options", "note", "tags", "archived"),
    *("answered_from_store", "webhook_error", "email_error"),
}


class _SharedBase(BaseModel):
    @classmethod
    def of(cls, submission: Submission) -> Self:
        """Show a submission to whoever has a link to it."""
        return cls(**StudyView.of(submission).model_dump(exclude=_OF_ITS_OWNER))


SharedView = create_model(  # a study as a link shows it
    "SharedView",
    __base__=_SharedBase,
    __doc__="A study as it is shown to whoever has a link to it.",
    **{  # type: ignore[call-overload]  # fields by name
        name: (field.annotation, field)
        for name, field in StudyView.model_fields.items()
        if name not in _OF_ITS_OWNER
    },
)


class LinkRequest(BaseModel):
    """For how long a link is to show a study."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=365)] = 30


class LinkView(BaseModel):
    """A link to a study; its token is not kept."""

    id: str
    expires: datetime
    created: datetime


class NewLinkView(LinkView):
    """A link that was just made."""

    token: Annotated[str, Field(description="opens `/api/v1/shared/TOKEN`; told only once")]
    url: Annotated[str, Field(description="of the web page that shows the study")]


class LinkList(BaseModel):
    """The links to a study that open it."""

    links: list[LinkView]


class StudyPage(BaseModel):
    """Some submitted studies, the latest first unless another order was asked for."""

    studies: list[StudyView]
    next: Annotated[str | None, Field(description="cursor of the next page, if there is one")]


class ArrayView(BaseModel):
    """One array of a data set."""

    name: str
    shape: Annotated[list[int], Field(description="as far as the file tells, rows first")]
    kind: Annotated[str, Field(description="type of its values")]
    use: Annotated[str | None, Field(description="what it is taken for; null if it is not used")]


class Finding(BaseModel):
    """What is wrong with a data set or its options, or is to be known."""

    field: Annotated[str | None, Field(description="the option it is about: a, b, y, split, …")]
    text: str
    severity: Literal["error", "warning"]


class ShorterView(BaseModel):
    """The same study by another option."""

    option: Annotated[str, Field(description="as a submission names it")]
    value: int
    seconds: Annotated[float, Field(description="of the whole study then")]


class CostView(BaseModel):
    """What a study is expected to take: an estimate, mostly an upper bound."""

    trainings: Annotated[int, Field(description="of one seed at one λ, in all")]
    steps: Annotated[int, Field(description="gradient steps, if none ends early")]
    seconds: Annotated[
        float | None, Field(description="by some steps that were tried; null where none could be")
    ]
    workers: Annotated[int | None, Field(description="trials at a time, null on a cluster")]
    epochs: Annotated[int | None, Field(description="of a training, at most")] = None
    shorter: Annotated[
        list[ShorterView], Field(description="what would make a long study shorter")
    ] = []


class InspectionView(BaseModel):
    """What is in a data set and how it is read, as `tuner inspect` tells it."""

    source: str
    valid: Annotated[bool, Field(description="whether it can be used")]
    rows: int | None
    arrays: list[ArrayView]
    unused: list[str]
    reading: Annotated[dict[str, str], Field(description="how it is read, in words, by subject")]
    errors: Annotated[list[str], Field(description="why it cannot be used, with what to do")]
    warnings: Annotated[list[str], Field(description="what its owner should know")]
    findings: Annotated[
        list[Finding], Field(description="both, each with the option that it is about")
    ] = []
    cost: Annotated[
        CostView | None, Field(description="what a study of it would take; null if it cannot be")
    ] = None


class PlanView(Forecast):
    """What a study would be able to show, as `tuner plan` tells it."""

    workers: Annotated[int | None, Field(description="trials at a time, null on a cluster")]
    words: Annotated[list[str], Field(description="the forecast in sentences")]


class PredictionView(Prediction):
    """What past studies lead one to expect of a study, as `tuner predict` tells it."""

    words: Annotated[list[str], Field(description="the prediction in sentences")]


class Extension(BaseModel):
    """By how much a study is to be longer."""

    model_config = ConfigDict(extra="forbid")

    seeds: Annotated[
        int | None,
        Field(
            ge=2,
            le=MOST_SEEDS,
            description="confirming seeds in all; null for as many as would decide it",
        ),
    ] = None


class Sharing(BaseModel):
    """Who may see a study besides its owner."""

    shared_with: list[str]


class WebhookSecret(BaseModel):
    """What the webhooks of a user are signed with, after standardwebhooks.com."""

    secret: str


class Health(BaseModel):
    """Whether the service can work."""

    status: Annotated[
        Literal["ok", "degraded"], Field(description="degraded: it answers, but see `tasks`")
    ]
    tasks: Annotated[
        dict[str, str], Field(description="what is wrong with what it does besides answering")
    ] = {}


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    findings: Annotated[
        list[str], Field(description="what is wrong with the data set or the spec, one by one")
    ] = []
