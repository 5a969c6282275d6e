"""How far a study is, as its last event tells."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from tuner.storage.requests.submissions import News, Submission

Phase = Literal[
    "waits for its turn", "starting workers", "search", "confirming", "registering", "done"
]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is done of a study, and what is going on.

    Attributes:
        phase: What is going on; None where nothing is.
        progress: Share of the whole study that is done, 0 to 1; None where that is not known.
        seconds_left: Estimate for the trainings that are left.
        step: What is done before the first training, in words; None where none says so.
        under_way: What is being trained, as `tuner.study.progress.UnderWay` says it.
    """

    phase: Phase | None
    progress: float | None
    seconds_left: float | None
    step: str | None = None
    under_way: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, submission: Submission) -> "Stage":
        """Read it off a submission."""
        if submission.status == "done":
            return cls(phase="done", progress=1.0, seconds_left=0.0)
        news = submission.news
        step = None if news is None else news.content.get("step")
        if submission.status == "queued":
            return cls(phase="waits for its turn", progress=None, seconds_left=None, step=step)
        if submission.status != "running":
            return cls(phase=None, progress=None, seconds_left=None)
        if news is None or news.kind != "progress":
            return cls(phase="starting workers", progress=None, seconds_left=None, step=step)
        return cls(
            phase=_phase(news.content),
            progress=_share(news.content),
            seconds_left=_seconds_left(news),
            under_way=tuple(news.content.get("under_way") or ()),
        )


def _phase(content: dict[str, Any]) -> Phase:
    if content.get("done") == content.get("total"):
        return "registering"
    return "confirming" if content.get("phase") == "confirm" else "search"


def _share(content: dict[str, Any]) -> float | None:
    """Share of trainings, or of trials where the driver is of version 0.1.0."""
    share, done, total = (content.get(name) for name in ("share", "done", "total"))
    if share is None and total:
        share = float(done or 0) / float(total)
    return None if share is None else min(1.0, float(share))


def _seconds_left(news: News) -> float | None:
    told = news.content.get("seconds_left")
    if told is None:
        return None
    since = (datetime.now(UTC) - news.created).total_seconds()
    return max(0.0, float(told) - since)
