"""Takes in what is submitted: it is checked, kept, and written down."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import anyio
from pydantic import ValidationError

from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.reach import Reach
from tuner.data.formats.sources import is_uri
from tuner.errors import ConflictError, SubmissionError, TooManyError
from tuner.prediction.earlier import EarlierStudy
from tuner.service.incoming.uploads import Checker, SentData, discard_unused, keep
from tuner.service.schemas import RUN_OPTIONS, SubmitOptions, is_plain
from tuner.settings import Settings
from tuner.storage.requests.submissions import CheckedSubmission, Submission, Submissions
from tuner.storage.studies import StudyStore
from tuner.study.spec import option_errors

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
WebhookFormat = Literal["standard", "slack"]
Look = Literal["inspect", "plan", "predict"]
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, kw_only=True)
class NewSubmission:
    """What a user sends, before anybody has looked at the data.

    Attributes:
        user: Who sends it.
        source: Path of an uploaded file, or else a URI or the name of an example.
        name: What the data are called, if they say so.
        data_name: The same as it is shown: a file's name, a URI.
        is_upload: Whether `source` is an uploaded file, which is kept if it is accepted.
        options: Those of `SubmitOptions`, as `read_options` gives them.
        webhook: URL that is told when the study ends.
        webhook_format: How; None for `standard`.
        email: Address that is told of it.
        idempotency_key: The same submission sent twice with one key is one submission.
    """

    user: int
    source: str
    name: str | None
    data_name: str | None
    is_upload: bool
    options: dict[str, Any]
    webhook: str | None
    idempotency_key: str | None
    webhook_format: WebhookFormat | None = None
    email: str | None = None

    def digest(self) -> str:
        """SHA-256 of what was sent, file included: the same request has the same."""
        content = self.source
        if self.is_upload:
            with Path(self.source).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        request = [content, self.options, self.webhook]
        request += filter(None, (self.webhook_format, self.email))  # as before there were any
        return hashlib.sha256(json.dumps(request).encode()).hexdigest()


class Intake:
    """Accepts submissions.

    Args:
        submissions: Where they are written down.
        studies: What they are about.
        settings: Where files are kept, and limits.
    """

    def __init__(self, submissions: Submissions, studies: StudyStore, settings: Settings) -> None:
        self._submissions, self._studies, self._settings = submissions, studies, settings
        self._checker = Checker()

    async def accept(self, submission: NewSubmission) -> Submission:
        """Check a submission and write it down.

        Raises:
            SubmissionError: If it cannot be accepted: with all that is wrong with data and spec.
            ConflictError: If its idempotency key was used for another request.
            TooManyError: If the user has too many unfinished submissions.
        """
        user, key = submission.user, submission.idempotency_key
        request = await _in_thread(submission.digest)
        existing = await _in_thread(self._submissions.existing, user, key, request)
        if existing is not None:
            return existing
        study = await self._check(submission)
        checked = CheckedSubmission(
            user=user,
            study=study["study"],
            name=study["name"],
            fingerprint=study["fingerprint"],
            spec=study["spec"],
            source=await _in_thread(self._kept, submission, study["fingerprint"]),
            options={n: v for n, v in submission.options.items() if n in RUN_OPTIONS},
            request=request,
            idempotency_key=key,
            webhook=submission.webhook,
            data_name=submission.data_name,
            webhook_format=submission.webhook_format,
            email=submission.email,
        )
        try:
            return await _in_thread(self._submissions.submit, checked)
        except (ConflictError, TooManyError):
            unused = (self._studies, checked.fingerprint, self._settings)
            await _in_thread(discard_unused, *unused)
            raise

    async def look(self, task: Look, data: SentData) -> dict[str, Any]:
        """Look at data before a study of them is submitted; nothing of it is kept.

        Studies to begin with change nothing of that.

        Args:
            task: As of `Checker.look`.
            data: What is looked at, with options of `SubmitOptions`, as `read_options` gives them.

        Raises:
            SubmissionError: With all that is wrong, or if it takes too long.
            TooManyError: If a pilot of theirs is under way, or too many of others' are.
        """
        begun = ("warm_start", "prior")
        options = {name: value for name, value in data.options.items() if name not in begun}
        return await self._checker.look(task, replace(data, options=options))

    async def _check(self, submission: NewSubmission) -> dict[str, Any]:
        """Return what the study would be."""
        options = {n: v for n, v in submission.options.items() if n != "workers"}
        earlier = await _in_thread(self._earlier, submission)
        if earlier is not None:
            del options["warm_start"]
            options["earlier"] = earlier.model_dump(mode="json", by_alias=True)
        data = SentData(submission.source, options, submission.name, submission.user)
        return await self._checker.look("check", data)

    def _earlier(self, submission: NewSubmission) -> EarlierStudy | None:
        """Find the study to begin with."""
        name = submission.options.get("warm_start")
        if not isinstance(name, str):  # none, or that of a study which this one adds seeds to
            return None
        earlier = self._submissions.get(submission.user, str(name)[:64].replace("\0", ""))
        if earlier is None or earlier.result is None or "script" in earlier.spec:
            raise SubmissionError(f"warm_start: you have no study {name!r} with an answer")
        row = self._studies.get(earlier.study)
        sketch = None if row is None else row.sketch
        of_it = (earlier.study, earlier.name, earlier.fingerprint)
        return EarlierStudy.of(*of_it, earlier.result, sketch)

    def _kept(self, submission: NewSubmission, fingerprint: str) -> str:
        """Keep an uploaded file; returns where the data are to be read from."""
        if not submission.is_upload:
            return submission.source
        return keep(Path(submission.source), fingerprint, self._settings)


def read_options(spec: str) -> dict[str, Any]:
    """Read the options of a submission.

    Raises:
        SubmissionError: If they are no JSON, unknown, or would run code of the sender's.
    """
    try:
        options = json.loads(spec)
        is_clean = all(map(is_plain, _texts(options)))
    except ValueError as error:
        raise SubmissionError(f"spec: is no JSON: {error}") from None
    except RecursionError:
        raise SubmissionError("spec: lists and objects lie too deep in each other") from None
    if not isinstance(options, dict):
        raise SubmissionError("spec: has to be a JSON object")
    if not is_clean:
        raise SubmissionError("spec: a text has a control character, or half of a character")
    try:
        SubmitOptions.model_validate(options)
    except ValidationError as error:
        findings = [str(fault) for fault in option_errors(error.errors())]
        raise SubmissionError("the spec is not as it should be", findings) from None
    for name in ("encoder_a", "encoder_b"):
        if ":" in str(options.get(name, "")):
            raise SubmissionError(f"{name}: a service runs built-in encoders only")
    return options


def _texts(value: object) -> Iterator[str]:
    """Yield every text of a JSON value, names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in (*value, *value.values()):
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def check_webhook(url: str | None, settings: Settings) -> None:
    """Do nothing if the service may tell that URL.

    Raises:
        SubmissionError: If it may not.
    """
    if url is None:
        return
    if not url.startswith(("http://", "https://")) or not settings.webhooks.allows(url):
        allowed = settings.allowed_webhooks or "none (TUNER_ALLOWED_WEBHOOKS)"
        raise SubmissionError(f"webhook: this service calls URLs that begin with: {allowed}")


def check_email(address: str | None, settings: Settings) -> None:
    """Do nothing if the service may tell that address.

    Raises:
        SubmissionError: If it may not.
    """
    if address is None:
        return
    if not settings.sends_mail:
        raise SubmissionError(
            "email: this service sends none; who runs it sets TUNER_SMTP_URL and TUNER_MAIL_FROM"
        )
    if not _ADDRESS.fullmatch(address):
        raise SubmissionError(f"email: {address!r} is no address such as ada@example.org")
    domain = address.rpartition("@")[2].lower()
    if not any(f".{domain}".endswith(f".{allowed}") for allowed in settings.mail_domains):
        allowed = ", ".join(settings.mail_domains)
        raise SubmissionError(f"email: this service sends to addresses at {allowed} alone")


def check_source(data: str, settings: Settings) -> None:
    """Do nothing if the service may read data from there.

    Raises:
        SubmissionError: If they are neither an example nor at an allowed URI.
    """
    if data not in EXAMPLES and not (
        is_uri(data) and Reach.of(settings.allowed_sources).allows(data)
    ):
        allowed = settings.allowed_sources or "none"
        raise SubmissionError(
            f"data: this service reads the examples {', '.join(EXAMPLES)} and URIs that begin "
            f"with: {allowed}"
        )


async def _in_thread(
    work: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **options: _Arguments.kwargs
) -> _Answer:
    return await anyio.to_thread.run_sync(lambda: work(*arguments, **options))
