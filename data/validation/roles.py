"""Which array of a source plays which role."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from tuner.data.validation.findings import Findings, listing

SPLIT = "split"
GROUP = "group"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Names of the two modalities and the label."""

    a: str = "a"
    b: str = "b"
    y: str = "y"

    @property
    def required(self) -> tuple[str, str, str]:
        """Names of the arrays that have to be there."""
        return self.a, self.b, self.y

    @property
    def optional(self) -> tuple[str, ...]:
        """Names of the arrays that are used if they are there: masks, split and group.

        An array that the user chose as a modality or label is not also the split or the group.
        """
        names = (f"{self.a}_mask", f"{self.b}_mask", SPLIT, GROUP)
        return tuple(name for name in names if name not in self.required)

    def present_in(self, available: Collection[str], findings: Findings) -> list[str]:
        """Return the wanted names that are available, and note every required one that is not."""
        if len(set(self.required)) < len(self.required):
            findings.error(
                f"a is {self.a!r}, b is {self.b!r} and y is {self.y!r}: these have to be three "
                "different arrays. Choose others with --a, --b and --y."
            )
        for name in dict.fromkeys(self.required):
            if name not in available:
                findings.error(_missing(name, available))
        return [n for n in dict.fromkeys((*self.required, *self.optional)) if n in available]


def _missing(name: str, available: Collection[str]) -> str:
    if not available:
        return f"array {name!r} is missing: there are no arrays at all."
    near = difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"array {name!r} is missing; there are {listing(sorted(available), limit=20)}.{hint} "
        "Choose arrays with --a, --b and --y."
    )
