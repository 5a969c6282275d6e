"""Which submissions a user is shown, in which order, and where a page of them ends."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, String, and_, case, cast, func, or_

from tuner.storage.tables import StudyRow, SubmissionRow
from tuner.study.answer import verdict_of_today
from tuner.study.result import ENDED

Key = Literal["created", "name", "ended", "lambda"]
KEYS: tuple[Key, ...] = get_args(Key)
_OLD_NAMES = ("no detectable effect",)  # of verdicts, as stored


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a submission has to be; what is not said may be anything.

    Attributes:
        status: How it stands: any of these.
        verdict: Of its joint answer: any of these.
        name: A part of its name.
        tag: One of its tags.
        fingerprint: Of its data, or how that begins.
        text: A part of its name, note, tags or source, in any case.
        archived: Whether it is put aside.
    """

    status: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    name: str | None = None
    tag: str | None = None
    fingerprint: str | None = None
    text: str | None = None
    archived: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return it in SQL, over submissions joined with their studies."""
        conditions: list[ColumnElement[bool]] = [SubmissionRow.archived.is_(self.archived)]
        if self.status:
            conditions.append(or_(*map(_stands, self.status)))
        if self.verdict:
            stored = [old for old in _OLD_NAMES if verdict_of_today(old) in self.verdict]
            conditions.append(_of_answer("verdict").as_string().in_([*self.verdict, *stored]))
            conditions.append(_stands("done"))
        if self.name is not None:
            conditions.append(SubmissionRow.name.contains(self.name, autoescape=True))
        if self.tag is not None:  # a tag within quotes is a whole one
            is_there = cast(SubmissionRow.tags, String).contains(
                json.dumps(self.tag), autoescape=True
            )
            conditions.append(is_there)
        if self.fingerprint is not None:
            begins = StudyRow.fingerprint.startswith(self.fingerprint, autoescape=True)
            conditions.append(begins)
        if self.text is not None:
            conditions.append(_holds(self.text))
        return conditions


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a page ended.

    Attributes:
        number: Of its last submission.
        value: What that is sorted by, None if it has none or is sorted by its number.
    """

    number: int
    value: str | float | datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """How submissions are sorted; those that have nothing to sort by come last.

    Attributes:
        by: What they are sorted by.
        descending: Whether the largest comes first.
    """

    by: Key = "created"
    descending: bool = True

    def sorting(self) -> list[ColumnElement[Any]]:
        """Return it in SQL."""
        number = SubmissionRow.number
        if self.by == "created":
            return [number.desc() if self.descending else number.asc()]
        key = _key(self.by)
        if self.descending:
            return [key.is_(None), key.desc(), number.desc()]
        return [key.is_(None), key.asc(), number.asc()]

    def after(self, position: Position) -> ColumnElement[bool]:
        """Return in SQL whether a submission comes after a position."""
        number, last = SubmissionRow.number, position.number
        follows = number < last if self.descending else number > last
        if self.by == "created":
            return follows
        key = _key(self.by)
        if position.value is None:
            return and_(key.is_(None), follows)
        value = func.lower(position.value) if self.by == "name" else position.value
        beyond = key < value if self.descending else key > value
        return or_(beyond, and_(key == value, follows), key.is_(None))


def _stands(status: str) -> ColumnElement[bool]:
    """Whether a submission stands so; its study may go on after its user cancelled it."""
    if status == "cancelled":
        return or_(SubmissionRow.cancelled, StudyRow.status == "cancelled")
    return and_(SubmissionRow.cancelled.is_(False), StudyRow.status == status)


def _holds(text: str) -> ColumnElement[bool]:
    columns = (SubmissionRow.name, SubmissionRow.note, SubmissionRow.source)
    tags = cast(SubmissionRow.tags, String)  # JSON
    return or_(
        *(column.icontains(text, autoescape=True) for column in columns),
        tags.icontains(json.dumps(text)[1:-1], autoescape=True),
    )


def _of_answer(name: str) -> Any:
    return StudyRow.result["joint"][name]


def _key(by: Key) -> ColumnElement[Any]:
    if by == "name":
        return func.lower(SubmissionRow.name)
    if by == "ended":
        moment = func.coalesce(StudyRow.ended, StudyRow.updated)
        return case((StudyRow.status.in_(ENDED), moment))
    return case((_stands("done"), _of_answer("lambda").as_float()))
