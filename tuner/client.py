"""A client of the service: submit a data set, follow it, come back for the answer."""

import builtins
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2
from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_exception
from tenacity.stop import stop_base
from tenacity.wait import wait_exponential

from tuner.data.memory.scratch import written_whole
from tuner.errors import ServiceError
from tuner.scripts.told import Told
from tuner.study.result import StudyResult
from tuner.study.scripts.result import ScriptResult, answer_of

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts
_IN_JSON = 100_000  # numbers that a training tells; more are told in a file
_AGAIN = (429, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a study.

    Attributes:
        number: Events of a study have rising numbers; 0 at the end.
        kind: `status`, `progress` or `end`.
        content: What happened.
    """

    number: int
    kind: str
    content: dict[str, Any]


class Client:
    """Talks to a service of `tuner serve`; it is a context manager.

    Args:
        url: Of the service, such as `http://127.0.0.1:8080`.
        key: An API key.
        timeout: Seconds to wait for an answer.
        patience: Seconds for which a service that is away or busy is asked again.
    """

    def __init__(
        self, url: str, key: str, *, timeout: float = 60.0, patience: float = 60.0
    ) -> None:
        self._base, self._patience = url.rstrip("/"), patience
        self._key = key
        self._client = httpx2.Client(
            base_url=f"{self._base}/api/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()

    def impatient(self) -> "Client":
        """Return a client of the same service that asks but once."""
        return Client(self._base, self._key, timeout=5.0, patience=0.0)

    def submit(
        self,
        data: str | Path,
        *,
        webhook: str | None = None,
        webhook_format: str | None = None,
        email: str | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Submit a data set: a file here, or else a URI or example that the service reads.

        Args:
            data: Path, URI, the name of an example, or study:ID, the data of a study of yours.
            webhook: URL that is told when the study ends: see `webhook_secret`.
            webhook_format: `slack` for a sentence, as Slack and its like take it.
            email: Address that is told of it, if the service sends e-mail.
            idempotency_key: The same submission sent twice with one key is one submission.
            options: Those of `tuner run`: `trials=12`, `seed=1`, `time_budget=600` (seconds), …

        Raises:
            ServiceError: If it is refused; its `findings` say why.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        notices = {"webhook": webhook, "webhook_format": webhook_format, "email": email}
        form = {name: value for name, value in notices.items() if value is not None}
        return self._send_data("/studies", data, options, form, headers=headers)

    def submit_elsewhere(
        self, code: str, digest: str, *, idempotency_key: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Submit a study of training code that runs elsewhere: `tuner agent` trains for it.

        Args:
            code: What it is called.
            digest: Tells it from other code, as a git commit does.
            idempotency_key: The same submission sent twice with one key is one submission.
            options: Those of `tuner tune`: `trials=6`, `target="acc"`, …

        Raises:
            ServiceError: If it is refused; its `findings` say why.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        content = {"code": code, "digest": digest, "options": options}
        return self._json("POST", "/studies/elsewhere", json=content, headers=headers)

    def scripts(self) -> "builtins.list[dict[str, Any]]":
        """List the training code that the service lets you have trained, by `name`."""
        told: list[dict[str, Any]] = self._send("GET", "/scripts").json()
        return told

    def submit_script(
        self, script: str, *, idempotency_key: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Submit a study of training code that the service lets you have trained.

        Args:
            script: Its name.
            idempotency_key: The same submission sent twice with one key is one submission.
            options: Those of `tuner tune`: `trials=6`, `target="acc"`, …

        Raises:
            ServiceError: If it is refused; its `findings` say why.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        content = {"script": script, "options": options}
        return self._json("POST", "/studies/scripts", json=content, headers=headers)

    def ask(self, study: str, worker: str, seconds: float = 300.0) -> dict[str, Any]:
        """Ask for a training of a study; who asks again by the same name has what they had.

        Args:
            study: Its id.
            worker: A name that no other worker has.
            seconds: For which nobody else gets it, if nothing is heard.

        Returns:
            `state`: `train`, with `lease`, `strength`, `seed`, `confirming` and more; `wait`, with
            `again_in` (seconds); or `done`.
        """
        content = {"worker": worker, "seconds": seconds}
        return self._json("POST", f"/studies/{study}/ask", json=content)

    def tell(self, study: str, lease: str, outcome: Told | str) -> None:
        """Tell what a training reported, or why it failed; of many rows by a file of scores.

        Raises:
            ServiceError: If that cannot be used, or another worker has the training by now.
        """
        content: dict[str, Any] = {"lease": lease}
        if isinstance(outcome, str):
            content["reason"] = outcome
        elif outcome.numbers <= _IN_JSON:
            content["reported"] = outcome.model_dump(mode="json")
        else:
            form = {
                "told": json.dumps(content | outcome.model_dump(mode="json", exclude={"scores"}))
            }
            files = {"file": ("scores.npz", io.BytesIO(outcome.archive()))}
            self._send("POST", f"/studies/{study}/tell/file", files=files, data=form)
            return
        self._send("POST", f"/studies/{study}/tell", json=content)

    def heartbeat(self, study: str, lease: str, seconds: float = 300.0) -> None:
        """Keep a training for so many seconds from now on.

        Raises:
            ServiceError: If another worker has it by now.
        """
        content = {"lease": lease, "seconds": seconds}
        self._send("POST", f"/studies/{study}/heartbeat", json=content)

    def release(self, study: str, lease: str) -> None:
        """Give a training back, for others to have it at once."""
        self._send("POST", f"/studies/{study}/release", json={"lease": lease})

    def inspect(self, data: str | Path, **options: Any) -> dict[str, Any]:
        """Tell what is in a data set and how the service reads it; nothing of it is kept.

        Args:
            data: As of `submit`.
            options: As of `submit`; those that say how data are read count.

        Raises:
            ServiceError: If it is refused. What is wrong with the data is in the answer.
        """
        return self._send_data("/inspections", data, options, {})

    def plan(self, data: str | Path, **options: Any) -> dict[str, Any]:
        """Tell what a study would take and be able to show, by training three λs of it.

        It takes as long as that does; nothing of it is kept.

        Args:
            data: As of `submit`.
            options: As of `submit`.

        Raises:
            ServiceError: If it is refused; its `findings` say why.
        """
        return self._send_data("/plans", data, options, {})

    def predict(self, data: str | Path, **options: Any) -> dict[str, Any]:
        """Tell what past studies lead one to expect of a study, without a training, in seconds.

        Nothing of it is kept.

        Args:
            data: As of `submit`.
            options: As of `submit`.

        Raises:
            ServiceError: If it is refused; its `findings` say why.
        """
        return self._send_data("/predictions", data, options, {})

    def _send_data(
        self,
        path: str,
        data: str | Path,
        options: dict[str, Any],
        form: dict[str, str],
        **arguments: Any,
    ) -> dict[str, Any]:
        """Send a data set, and what to do with it."""
        spec = json.dumps({name: value for name, value in options.items() if value is not None})
        arguments |= {"data": form | {"spec": spec}, "timeout": None}
        local = Path(data)
        if not local.is_file():
            arguments["data"]["data"] = str(data)
            return self._json("POST", path, **arguments)
        with local.open("rb") as file:  # streamed: it may be larger than memory
            return self._json("POST", path, files={"file": (local.name, file)}, **arguments)

    def list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the studies that you may see, the latest first.

        Args:
            filters: `status` and `verdict`, one or several; `name`, a part of it; `tag`;
                `fingerprint`; `q`, a part of name, note, tags or source; `archived`; and `sort`:
                `created`, `name`, `ended` or `lambda`, with `-` before it the largest first.
        """
        cursor: str | None = None
        while True:
            asked = filters | ({"cursor": cursor} if cursor else {})
            page = self._json("GET", "/studies", params=asked)
            yield from page["studies"]
            cursor = page["next"]
            if cursor is None:
                return

    def status(self, study: str) -> dict[str, Any]:
        """Tell how a study stands."""
        return self._json("GET", f"/studies/{study}")

    def result(self, study: str, *, wait: bool = False) -> StudyResult | ScriptResult:
        """Return the answer of a study.

        Args:
            study: Its id.
            wait: Whether to wait until it is there.

        Raises:
            ServiceError: If there is no answer.
        """
        if wait:
            for _ in self.watch(study):
                pass
        return answer_of(self._json("GET", f"/studies/{study}/result"))

    def curve(self, study: str) -> str:
        """Return the λ-curve of a study as CSV: a row for every λ and target.

        Raises:
            ServiceError: If there is no answer.
        """
        return self._send("GET", f"/studies/{study}/curve.csv").text

    def report(self, study: str, out: str | Path | None = None) -> Path:
        """Write the report of a study, a page of its own; to `ID-report.html` unless told where.

        Raises:
            ServiceError: If there is none.
        """
        target = Path(f"{study}-report.html" if out is None else out)
        page = self._send("GET", f"/studies/{study}/report").content
        with written_whole(target) as aside:
            aside.write_bytes(page)
        return target

    def edit(self, study: str, **changes: Any) -> dict[str, Any]:
        """Set `name`, `note`, `tags` (all of them) or `archived` of a study of yours."""
        return self._json("PATCH", f"/studies/{study}", json=changes)

    def watch(self, study: str, *, after: int = 0) -> Iterator[Event]:
        """Yield what happens to a study, to its end; a lost connection is taken up again.

        Args:
            study: Its id.
            after: Only events of higher numbers.
        """
        while True:
            with closing(self._connected(study, after)) as answer, suppress(httpx2.TransportError):
                for event in _events(answer):
                    after = event.number or after
                    yield event
                    if event.kind == "end":
                        return
            time.sleep(_SHORTEST_PAUSE)

    def extend(self, study: str, seeds: int | None = None) -> dict[str, Any]:
        """Submit a study that adds confirming seeds to one that is done.

        Args:
            study: Its id.
            seeds: How many there are to be in all; None for as many as would decide it.

        Raises:
            ServiceError: If it has no answer, as many seeds, or more would not decide it.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        path = f"/studies/{study}/extend"
        return self._json("POST", path, json={"seeds": seeds}, headers=headers)

    def cancel(self, study: str) -> dict[str, Any]:
        """Stop a study; its finished trials are kept."""
        return self._json("POST", f"/studies/{study}/cancel")

    def delete(self, study: str) -> None:
        """Delete a study, its trials and its data."""
        self._send("DELETE", f"/studies/{study}")

    def share(self, study: str, user: str, *, remove: bool = False) -> tuple[str, ...]:
        """Let another user see a study, or with `remove` no more; returns who may see it."""
        method = "DELETE" if remove else "PUT"
        path = f"/studies/{study}/shares/{quote(user, safe='')}"
        return tuple(self._json(method, path)["shared_with"])

    def link(self, study: str, days: int = 30) -> dict[str, Any]:
        """Make a link that shows a study to whoever has it, for so many days.

        Returns:
            `id`, `url`, `token` (told only now) and `expires`.
        """
        return self._json("POST", f"/studies/{study}/links", json={"days": days})

    def links(self, study: str) -> "builtins.list[dict[str, Any]]":
        """Return the links to a study that open it: `id`, `created` and `expires`."""
        links: builtins.list[dict[str, Any]] = self._json("GET", f"/studies/{study}/links")["links"]
        return links

    def revoke_link(self, study: str, link: str) -> None:
        """Let a link open a study no more.

        Args:
            study: Its id.
            link: The link's id.
        """
        self._send("DELETE", f"/studies/{study}/links/{link}")

    def webhook_secret(self) -> str:
        """Return what your webhooks are signed with, after standardwebhooks.com."""
        return str(self._json("GET", "/webhook-secret")["secret"])

    def download(self, study: str, modality: str, out: str | Path) -> Path:
        """Write the zipped encoder of a modality, `a` or `b`: an MLflow model."""
        target = Path(out)
        path = f"/studies/{study}/encoders/{modality}"
        with (
            self._stream(path) as answer,
            written_whole(target) as aside,
            aside.open("wb") as file,
        ):
            for chunk in answer.iter_bytes():
                file.write(chunk)
        return target

    def _connected(self, study: str, after: int) -> httpx2.Response:
        """Connect to the events of a study, after that of a number."""
        path, headers = f"/studies/{study}/events", {"Last-Event-ID": str(after)}

        def attempt() -> httpx2.Response:
            request = self._client.build_request("GET", path, headers=headers, timeout=None)
            answer = self._client.send(request, stream=True)
            if answer.is_error:
                with closing(answer):
                    answer.read()
                    raise _refusal(answer)
            return answer

        return self._retried(attempt)

    @contextmanager
    def _stream(self, path: str, **arguments: Any) -> Iterator[httpx2.Response]:
        with self._client.stream("GET", path, timeout=None, **arguments) as answer:
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            yield answer

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        content: dict[str, Any] = self._send(method, path, **arguments).json()
        return content

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """Send a request, again if the service is away or busy: each has the same effect twice.

        Raises:
            ServiceError: If it is refused, or there is no answer.
        """

        def attempt() -> httpx2.Response:
            for _, file in arguments.get("files", {}).values():
                file.seek(0)
            answer = self._client.request(method, path, **arguments)
            if answer.is_error:
                raise _refusal(answer)
            return answer

        return self._retried(attempt)

    def _retried(self, attempt: Callable[[], httpx2.Response]) -> httpx2.Response:
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=_SinceFirstFailure(self._patience),
            wait=wait_exponential(multiplier=_SHORTEST_PAUSE, max=_LONGEST_PAUSE),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except httpx2.TransportError as error:
            reason = f"the service at {self._base} does not answer: {error}"
            raise ServiceError(reason) from error


class _SinceFirstFailure(stop_base):
    """Stops before so many seconds after the first failure: an upload alone may take longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: float | None = None

    def __call__(self, retry_state: RetryCallState) -> bool:
        now = retry_state.outcome_timestamp or 0.0
        self._first = now if self._first is None else self._first
        return now + retry_state.upcoming_sleep - self._first > self._seconds


def _may_pass(error: BaseException) -> bool:
    """Whether the service is away or busy, and may not be for long."""
    if isinstance(error, ServiceError):
        return error.status in _AGAIN
    return isinstance(error, httpx2.TransportError)


def _events(answer: httpx2.Response) -> Iterator[Event]:
    for sent in httpx2.EventSource(answer):
        if sent.data:
            number = int(sent.id) if sent.event != "end" and sent.id else 0
            yield Event(number=number, kind=sent.event, content=json.loads(sent.data))


def _refusal(answer: httpx2.Response) -> ServiceError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.reason_phrase}
    findings = problem.get("findings", [])
    words = "\n".join([str(problem.get("detail")), *(f"- {finding}" for finding in findings)])
    return ServiceError(words, status=answer.status_code, findings=findings)
