"""The errors of the data package.

ValueError
└── DataError            a data set cannot be used; `.findings` lists every reason
    └── NoRoomError      the folder for temporary files is full
"""

from collections.abc import Sequence


class DataError(ValueError):
    """A data set cannot be used.

    Attributes:
        source: The file, URI or other name of the data set.
        findings: Everything that is wrong, each in words that say how to mend it.
    """

    def __init__(self, source: str, findings: Sequence[str]) -> None:
        self.source = source
        self.findings = tuple(findings)
        super().__init__(source, self.findings)  # all arguments, so that it survives pickling

    def __str__(self) -> str:
        return "\n".join(f"{self.source}: {finding}" for finding in self.findings)


class NoRoomError(DataError):
    """The folder for temporary files, which is the `source`, is full."""
