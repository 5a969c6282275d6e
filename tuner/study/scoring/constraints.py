"""What a λ has to keep to be recommended: bounds on how far a target may fall behind λ = 0."""

import math
import re
from dataclasses import dataclass
from typing import Self, TypeVar

from tuner.typing import Floats

_WRITTEN = re.compile(
    r"\s*(?P<target>\w[\w@./-]*?)\s*(?P<sense>>=|<=|≥|≤)\s*baseline\s*"
    r"((?P<sign>[+-])\s*(?P<slack>(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*)?"
)
Gains = TypeVar("Gains", float, Floats)


@dataclass(frozen=True)
class Constraint:
    """A target is to stay within some slack of its score at λ = 0.

    Attributes:
        target: Which one.
        at_least: Whether its score is to be that of λ = 0 less the slack, or more; if not, that of
            λ = 0 and the slack, or less.
        slack: In units of the score, 0 or more, so that λ = 0 satisfies it.
    """

    target: str
    at_least: bool
    slack: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `acc_a >= baseline - .01` or `latency <= baseline + 2`.

        Raises:
            ValueError: If it is neither, or λ = 0 itself would not satisfy it.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{text!r} is no bound: write 'TARGET >= baseline - .01', or <= with +, where "
                "baseline is the score of TARGET at λ = 0"
            )
        at_least, slack = found["sense"] in ">=≥", float(found["slack"] or 0)
        if not math.isfinite(slack):
            raise ValueError(f"{text!r}: {found['slack']} is too large to be a bound")
        if slack and (found["sign"] == "+") == at_least:
            raise ValueError(
                f"{text!r}: λ = 0 itself would not satisfy it. Write >= baseline - {slack:g}, or "
                f"<= baseline + {slack:g}"
            )
        return cls(target=found["target"], at_least=at_least, slack=slack)

    def __str__(self) -> str:
        sense, sign = (">=", "-") if self.at_least else ("<=", "+")
        slack = f" {sign} {self.slack!r}".removesuffix(".0") if self.slack else ""
        return f"{self.target} {sense} baseline{slack}"

    def margin(self, gain: Gains, sign: int) -> Gains:
        """Return by how much it is satisfied, in units of the score; below 0 it is violated.

        Args:
            gain: Over λ = 0, higher is better.
            sign: Factor that turns a score of the target into such a utility.
        """
        return gain * (sign if self.at_least else -sign) + self.slack


def written(bounds: object) -> object:
    """Return bounds as `Constraint` writes them, for a spec that is checked.

    Raises:
        ValueError: If one of them is no bound.
    """
    if isinstance(bounds, str):
        bounds = (bounds,)
    if not isinstance(bounds, list | tuple) or not all(isinstance(b, str) for b in bounds):
        return bounds  # which is said to be no list of texts
    return tuple(dict.fromkeys(str(Constraint.parse(bound)) for bound in bounds))
