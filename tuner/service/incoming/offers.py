"""Training code that whoever runs the service lets its users run, by name: none that they send."""

import re
import shlex
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tuner.errors import SpecError, SubmissionError
from tuner.scripts.script import Script
from tuner.settings import Settings
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy
from tuner.study.spec import option_errors

OFFERED = "script:"  # and its name, in the place of a study's data
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Offer(BaseModel):
    """Code that some users may have trained, and what it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="MODULE:FUNCTION, or a command, as tuner tune takes it"),
    ]
    folder: Annotated[Path, Field(description="where it is run, on every machine that trains")]
    users: Annotated[tuple[str, ...], Field(description="names of who may have it trained; * all")]
    about: Annotated[str, Field(max_length=500, description="what users are told of it")] = ""
    studies: Annotated[int, Field(ge=1, description="unfinished ones of a user, at most")] = 1
    workers: Annotated[int | None, Field(ge=1, description="trainings of one at a time")] = None
    cpus: Annotated[int, Field(ge=1, description="of a training, at most")] = 1
    gpus: Annotated[float, Field(ge=0, description="of a training, at most")] = 0
    timeout: Annotated[float | None, Field(gt=0, description="seconds of a training")] = None

    @field_validator("run", mode="before")
    @classmethod
    def _words(cls, run: object) -> object:
        return tuple(shlex.split(run)) if isinstance(run, str) else run

    @field_validator("folder")
    @classmethod
    def _is_there(cls, folder: Path) -> Path:
        if not folder.is_absolute() or not folder.is_dir():
            raise ValueError(f"{folder} is no folder; write where it lies, from / on")
        return folder

    def allows(self, user: str) -> bool:
        """Whether a user may have it trained."""
        return "*" in self.users or user in self.users

    def script(self) -> Script:
        """Return the code as it is now; nothing of it is run.

        Raises:
            SpecError: If it is not there, or takes no λ or no seed.
        """
        return Script.of_words(self.run, self.folder)

    def study(self, name: str, options: ScriptSpec) -> ScriptStudy:
        """Return a study of it, which tells its name and not how it is run.

        Raises:
            SpecError: As of `script`.
            SubmissionError: If a training would take more than it may.
        """
        ranks = options.ranks
        for part, most in (("cpus", self.cpus), ("gpus", self.gpus)):
            if part not in options.model_fields_set:
                each = max(1, self.cpus // ranks) if part == "cpus" else self.gpus / ranks
                options = options.model_copy(update={part: each})
            if getattr(options, part) * ranks > most:
                of = f", all {ranks} ranks together" if ranks > 1 else ""
                raise SubmissionError(
                    f"{part}: a training of {name!r} may take {most:g} at most{of}"
                )
        script = Script(command=(name,), folder="", digest=self.script().digest)
        return ScriptStudy.of(options, script)


def offers(settings: Settings) -> dict[str, Offer]:
    """Read what is offered: none, unless TUNER_SCRIPTS names a file that says otherwise.

    Raises:
        SpecError: If the file is not there or is wrong: each fault by the name of what it is in.
    """
    if settings.scripts is None:
        return {}
    try:
        told = tomllib.loads(settings.scripts.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"TUNER_SCRIPTS: {settings.scripts} cannot be read: {error}") from None
    read = partial(_offer, settings.scripts)
    return {name: read(name, content) for name, content in told.items()}


def _offer(path: Path, name: str, content: Mapping[str, Any]) -> Offer:
    if not _NAME.fullmatch(name):
        raise SpecError(f"{path}: [{name}]: a name has letters, digits, - and _, 64 at most")
    try:
        return Offer.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(map(str, option_errors(error.errors())))
        raise SpecError(f"{path}: [{name}] {faults}") from None


def offered(settings: Settings, name: str, user: str | None = None) -> Offer:
    """Return what is offered by a name.

    Args:
        settings: Say where that is written.
        name: Of the code.
        user: Who asks; None for the service itself.

    Raises:
        SpecError: As of `offers`.
        SubmissionError: If there is none that they may have trained.
    """
    known = offers(settings)
    theirs = {each: of for each, of in known.items() if user is None or of.allows(user)}
    if name not in theirs:
        names = ", ".join(sorted(theirs)) or "none"
        raise SubmissionError(
            f"script: {name!r} is no code that this service trains for you: there is {names}"
        )
    return theirs[name]
