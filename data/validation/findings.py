"""Collects what is wrong with a data set, and the words that all messages share."""

from collections.abc import Callable, Collection
from typing import NoReturn

from tuner.data.errors import DataError
from tuner.data.typing import Mask

# As .astype(str) would make a class "None" of what is missing.
PLAIN_ARRAY = (
    "Save numbers x as x.astype(float), and text x, so that what is missing stays missing, as "
    "numpy.array(pandas.Series(x, dtype=object).fillna('').astype(str), dtype=str)."
)


class Findings:
    """Everything found about one data set: errors forbid its use, warnings do not."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def error(self, text: str) -> None:
        """Note a fault that forbids the use of the data set."""
        self.errors.append(text)

    def warn(self, text: str) -> None:
        """Note something that its owner should know."""
        self.warnings.append(text)

    def fail(self, text: str) -> NoReturn:
        """Note a fault after which nothing more can be found out.

        Raises:
            DataError: Always, with all that was found so far.
        """
        self.error(text)
        raise DataError(self.source, self.errors)

    def raise_errors(self) -> None:
        """Do nothing if there are no errors.

        Raises:
            DataError: With every error that was noted.
        """
        if self.errors:
            raise DataError(self.source, self.errors)


def listing(items: Collection[object], limit: int = 8, show: Callable[[object], str] = repr) -> str:
    """Write items out, at most `limit` of them: "'fou', 'kar' and 4 more"."""
    shown = [show(item) for item in list(items)[:limit]]
    if len(items) > limit:
        return f"{', '.join(shown)} and {len(items) - limit:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun: "1 row", "2,000 rows"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def rows_where(bad: Mask) -> str:
    """Say how many rows are bad and which is first; `bad` is (rows,) with at least one True."""
    return f"{counted(int(bad.sum()), 'row')} (first: row {int(bad.argmax())}, counting from 0)"
