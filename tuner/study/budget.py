"""What a search may cost: a part of the question, because it may change the answer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Budget:
    """After how much no further search trial starts.

    Attributes:
        seconds: Wall-clock seconds, over all processes that worked on the study; None for no limit.
        steps: Gradient steps, over all trials.
    """

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Budget":
        """Take the options `time_budget` and `step_budget`, where they are."""
        seconds = options.get("time_budget")
        return cls(
            seconds=None if seconds is None else float(seconds), steps=options.get("step_budget")
        )

    @property
    def options(self) -> dict[str, Any]:
        """The options that it is made of: `of`, undone."""
        both = {"time_budget": self.seconds, "step_budget": self.steps}
        return {name: value for name, value in both.items() if value is not None}

    def bounded(self, study_id: str) -> str:
        """Return the id of a study that it bounds, which is another question."""
        question = f"{study_id}\n{json.dumps(self.options, sort_keys=True)}"
        return hashlib.sha256(question.encode()).hexdigest()[:16]

    def is_spent(self, *, seconds: float, steps: int) -> bool:
        """Whether no further search trial may start after so much."""
        is_late = self.seconds is not None and seconds > self.seconds
        return is_late or (self.steps is not None and steps > self.steps)

    def words(self, tried: int, asked: int, *, steps: int) -> str:
        """Say how far a search came that it ended.

        Args:
            tried: λs that were trained.
            asked: λs that were to be.
            steps: Gradient steps that were made.
        """
        limit = "time budget"
        if self.seconds is not None:
            limit = f"time budget of {self.seconds:,.0f} s"
        if self.steps is not None and steps > self.steps:
            limit = f"step budget of {self.steps:,} gradient steps"
        return (
            f"{tried} of {asked} λs were tried: the {limit} ended the search. The best λ may lie "
            "among those that were not."
        )


NO_BUDGET = Budget()
