"""What a list of studies is asked for: filters, order, and the cursor of a page."""

import base64
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from tuner.service.problems import ProblemError
from tuner.storage.database import LAST_NUMBER
from tuner.storage.requests.listing import KEYS, Filter, Order, Position
from tuner.storage.requests.submissions import Submission
from tuner.study.result import Status

Sort = Literal[
    "created", "-created", "name", "-name", "ended", "-ended", "lambda", "-lambda"
]  # of `KEYS`
VerdictName = Literal["align", "do not align", "undecided"]
_TEXT = r"^[^\x00]*$"


async def _filter(
    status: Annotated[list[Status] | None, Query(description="any of these")] = None,
    verdict: Annotated[list[VerdictName] | None, Query(description="any of these")] = None,
    name: Annotated[
        str | None, Query(max_length=64, pattern=_TEXT, description="part of the name")
    ] = None,
    tag: Annotated[str | None, Query(max_length=40, pattern=_TEXT)] = None,
    fingerprint: Annotated[
        str | None, Query(pattern=r"^[0-9a-f]{1,64}$", description="of the data, or its beginning")
    ] = None,
    q: Annotated[
        str | None,
        Query(max_length=64, pattern=_TEXT, description="part of name, note, tags or source"),
    ] = None,
    archived: Annotated[
        bool, Query(description="those that are put aside, and only those")
    ] = False,
) -> Filter:
    return Filter(
        status=tuple(status or ()),
        verdict=tuple(verdict or ()),
        name=name,
        tag=tag,
        fingerprint=fingerprint,
        text=q,
        archived=archived,
    )


FilterOf = Annotated[Filter, Depends(_filter)]


def order_of(sort: Sort) -> Order:
    """Read an order."""
    by = next(key for key in KEYS if key == sort.removeprefix("-"))
    return Order(by=by, descending=sort.startswith("-"))


def encoded(last: Submission, order: Order) -> str:
    """Write down where a page ends: its number, and what it is sorted by unless that is it."""
    joint = (last.result or {}).get("joint") or {}
    values = {
        "name": last.name,
        "ended": None if last.ended is None else last.ended.isoformat(),
        "lambda": joint.get("lambda"),
    }
    content = last.number
    if order.by != "created":
        content = [order.by, last.number, values[order.by]]  # type: ignore[assignment]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def decoded(cursor: str | None, order: Order) -> Position | None:
    """Read what `encoded` wrote.

    Raises:
        ProblemError: If it is another's, or of another order.
    """
    if cursor is None:
        return None
    try:
        content = json.loads(base64.urlsafe_b64decode(cursor.encode()).decode())
        by, number, value = content if isinstance(content, list) else ("created", content, None)
        position = Position(number=int(number), value=_value(by, value))
        is_ours = by == order.by and 0 < position.number <= LAST_NUMBER
    except (ValueError, TypeError, RecursionError, OverflowError):
        is_ours = False
    if not is_ours:
        raise ProblemError(422, "cursor: is none that this service gave for this order")
    return position


def _value(by: Any, value: Any) -> str | float | datetime | None:
    """Read a value of what is sorted by.

    Raises:
        ValueError: If it cannot be one.
        TypeError: As well.
    """
    if value is None:
        return None
    if by == "ended":
        return datetime.fromisoformat(value)
    return float(value) if by == "lambda" else str(value).replace("\0", "").encode().decode()
