"""What the API takes and gives of studies of training code."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.scripts.script import Script
from tuner.scripts.told import Told
from tuner.service.incoming.offers import Offer
from tuner.service.schemas import is_plain
from tuner.storage.handouts import ELSEWHERE, Handout
from tuner.storage.requests.submissions import Submission
from tuner.study.result import Status
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.trial import PhaseName

Lease = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="of the training")]
Seconds = Annotated[
    float,
    Field(ge=1, le=7 * 86400, description="for which nobody else gets it if nothing is heard"),
]


class _OfCode(BaseModel):
    """A study of training code."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    options: Annotated[ScriptSpec, Field(description="those of `tuner tune`")] = ScriptSpec()

    @model_validator(mode="after")
    def _is_plain(self) -> Self:
        if not all(is_plain(text) and len(text) <= 64 for text in self._texts()):
            raise ValueError("a text has a control character, or more than 64 characters")
        return self

    @field_validator("options")
    @classmethod
    def _is_new(cls, options: ScriptSpec) -> ScriptSpec:
        if options.looks:
            raise ValueError("looks: a study begins with none")
        return options

    def _texts(self) -> Iterator[str]:
        yield from (self.options.name or "", *self.options.subject_to)
        for target in self.options.target:
            yield from (target.name, *target.parts, target.measure)


class OfferedScript(_OfCode):
    """A study of training code that is offered here."""

    script: Annotated[
        str, Field(pattern="^[0-9A-Za-z_-]{1,64}$", description="its name: see `GET /scripts`")
    ]


class OfferView(BaseModel):
    """Training code that you may have trained here."""

    name: str
    about: str
    studies: Annotated[int, Field(description="of it that may be unfinished, of yours")]
    cpus: Annotated[int, Field(description="of a training, at most and unless you say less")]
    gpus: Annotated[float, Field(description="of a training, at most and unless you say less")]
    timeout: Annotated[float | None, Field(description="seconds of a training")]

    @classmethod
    def of(cls, name: str, offer: Offer) -> Self:
        """Show an offer, and nothing of how it is run."""
        shown = offer.model_dump(include={"about", "studies", "cpus", "gpus", "timeout"})
        return cls(name=name, **shown)


class NewScript(_OfCode):
    """A study of training code that this service never sees."""

    code: Annotated[
        str, Field(min_length=1, max_length=64, description="what it is called: a command, say")
    ]
    digest: Annotated[
        str,
        Field(
            pattern=r"^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$",
            description="tells this code from any other, as a git commit does: another digest is "
            "another study",
        ),
    ]

    @field_validator("options")
    @classmethod
    def _is_one_process(cls, options: ScriptSpec) -> ScriptSpec:
        if options.ranks > 1:
            raise ValueError(
                "ranks: where others train, a training is one command: have it start the rest, as "
                "torchrun does"
            )
        return options

    def study(self, user: int) -> ScriptStudy:
        """Return the study, which is this user's alone: nobody else's trainings count in it."""
        script = Script(command=(self.code,), folder="", digest=self.digest)
        named = "\n".join((ELSEWHERE, str(user), self.code, self.options.study_id(script)))
        study_id = hashlib.sha256(named.encode()).hexdigest()[:16]
        targets = self.options.target
        return ScriptStudy(id=study_id, spec=self.options, script=script, targets=targets)

    def _texts(self) -> Iterator[str]:
        yield self.code
        yield from super()._texts()


class NewScriptView(BaseModel):
    """A study of training code that was submitted; `GET /studies/{id}` tells more."""

    id: str
    study: Annotated[str, Field(description="identifies code and options, of one user")]
    name: str
    status: Status
    answered_from_store: Annotated[
        bool, Field(description="whether the question had an answer when it was submitted")
    ]

    @classmethod
    def of(cls, submission: Submission) -> Self:
        """Show a submission."""
        return cls(
            id=submission.id,
            study=submission.study,
            name=submission.name,
            status=submission.status,
            answered_from_store=submission.answered,
        )


class Asked(BaseModel):
    """Who asks for a training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    worker: Annotated[
        str, Field(min_length=1, max_length=255, description="a name that no other worker has")
    ]
    seconds: Seconds = 300.0

    @field_validator("worker")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not is_plain(name):
            raise ValueError("it has a control character, or half of a character")
        return name


class Kept(BaseModel):
    """Which training is to be kept, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease: Lease
    seconds: Seconds = 300.0


class Released(BaseModel):
    """Which training is given back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease: Lease


class Outcome(BaseModel):
    """What came of a training: what it reported, or why it failed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease: Lease
    reported: Told | None = None
    reason: Annotated[
        str | None, Field(min_length=1, max_length=2000, description="why it failed, a sentence")
    ] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.reported is None) == (self.reason is None):
            raise ValueError("tell what the training reported, or the reason why it failed")
        texts = [self.reason or ""]
        if self.reported is not None:
            texts += [self.reported.saved or "", *self.reported.curves, *self.reported.scores]
        if not all(is_plain(text, but="\n\t") for text in texts):
            raise ValueError("a text has a control character, or half of a character")
        return self


class ToldBeside(BaseModel):
    """What a training tells beside a file of its scores."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lease: Lease
    curves: Annotated[dict[str, list[float | None]], Field(max_length=1000)] = {}
    seconds: Annotated[float, Field(ge=0)] = 0.0
    saved: Annotated[str | None, Field(max_length=4096)] = None

    @model_validator(mode="after")
    def _is_plain(self) -> Self:
        if not all(is_plain(text, but="\n\t") for text in (self.saved or "", *self.curves)):
            raise ValueError("a text has a control character, or half of a character")
        return self


class AskView(BaseModel):
    """A training to do, or what to do in its place."""

    state: Annotated[
        Literal["train", "wait", "done"],
        Field(description="done: the study has ended, and nobody need ask again"),
    ]
    status: Annotated[Status, Field(description="of the study")]
    error: Annotated[str | None, Field(description="why the study failed")] = None
    again_in: Annotated[float | None, Field(description="seconds after which to ask again")] = None
    lease: Annotated[str | None, Field(description="what to tell and keep it under")] = None
    trial: Annotated[int | None, Field(description="number of the training in its phase")] = None
    strength: Annotated[float | None, Field(description="λ")] = None
    seed: int | None = None
    phase: PhaseName | None = None
    confirming: Annotated[bool, Field(description="whether test rows are reported, too")] = False
    share: Annotated[
        float, Field(description="of a whole training, that this one is to be: see halving")
    ] = 1.0
    until: Annotated[
        float | None,
        Field(description="seconds since 1970 after which others may have it, if nothing is heard"),
    ] = None

    @classmethod
    def of(cls, handout: Handout, status: Status, spec: ScriptSpec) -> Self:
        """Show a training that somebody has."""
        request = handout.request
        return cls(
            state="train",
            status=status,
            lease=handout.lease,
            trial=request.number,
            strength=request.strength,
            seed=request.seeds[0],
            phase=request.phase,
            confirming=request.phase == "confirm",
            share=spec.share_of(request.phase, request.number),
            until=handout.until,
        )
