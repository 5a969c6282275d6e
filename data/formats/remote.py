"""What went wrong with a download, in words that say what to do."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator

from tuner.data.formats.reach import ReachError

_BY_STATUS = {
    401: "the server wants to know who asks (401). Use an address that is signed, or download the "
    "file with your credentials and name its path.",
    403: "access was refused (403). If the address is signed, it may have expired: get a new one. "
    "Otherwise your account has no right to read it: ask its owner.",
    404: "does not exist: there is nothing at this address (404). Check the address.",
    410: "does not exist any more (410). Ask its owner where it is now.",
    429: "the server is asked too often (429). Wait {wait} and try again.",
}
_GENERIC = "cannot be downloaded: {reason}. Check the address and your rights to read it."


def explain(error: BaseException, generic: str = _GENERIC) -> str:
    """Say what happened and what to do next.

    File systems hide the cause: fsspec, for one, has any failure of HTTP be a missing file.

    Args:
        error: What opening or reading a URI raised.
        generic: What to say of what is not known, with `{reason}` where that belongs.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ReachError):
            return str(cause)
    for cause in causes:
        if status := _status(cause):
            return _of_status(status, cause)
    for cause in causes:
        if words := _of_network(cause):
            return words
    if isinstance(error, FileNotFoundError):
        return "does not exist. Check the address."
    if isinstance(error, PermissionError):
        return "access was refused. Check your credentials, and whether they may read this address."
    return generic.format(reason=str(error) or type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, as far as it says."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "os_error", None)  # aiohttp's
        if isinstance(inner, BaseException):
            yield inner
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The status of HTTP that an error of aiohttp, botocore or a Google library carries."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 400 <= found < 600 else None


def _of_status(status: int, error: BaseException) -> str:
    if status >= 500:
        return (
            f"the server failed ({status}). Try again in a while; if it stays so, tell those who "
            "run it."
        )
    headers = getattr(error, "headers", None) or {}
    seconds = str(headers.get("Retry-After", ""))
    wait = f"{seconds} seconds" if seconds.isdecimal() else "some minutes"
    other = f"the server refused the request ({status}). Check the address."
    return _BY_STATUS.get(status, other).format(wait=wait)


def _of_network(error: BaseException) -> str | None:
    if isinstance(error, socket.gaierror):
        return (
            "the host is not known: no address was found for its name. Check how it is written, "
            "and whether this machine is connected."
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"the host cannot be trusted ({error}). Check the address; for a certificate of your "
            "own, set SSL_CERT_FILE to its authority's."
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or "Timeout" in type(error).__name__:
        return (
            "the server did not answer in time. Try again; or download the file by other means and "
            "name its path."
        )
    refused = getattr(error, "errno", None) == errno.ECONNREFUSED or "Connect call failed" in str(
        error
    )
    if refused:
        return (
            "the connection was refused: no server listens there. Check host and port, and whether "
            "the server runs."
        )
    if type(error).__name__ == "NoCredentialsError":
        return (
            "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE."
        )
    broken = ("ServerDisconnectedError", "ClientPayloadError", "IncompleteRead")
    if isinstance(error, ConnectionError) or type(error).__name__ in broken:
        return "the connection broke off. Try again."
    return None
