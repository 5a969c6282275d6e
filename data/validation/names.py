"""What is doubtful in names, of classes or of groups: near twins, and names of what is missing."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation

from tuner.data.typing import Ints
from tuner.data.validation.findings import Findings, counted, listing

# Lower case: what programs write where a text is missing, and what people do.
_MISSING_NAMES = {
    *("", "nan", "none", "null", "<na>", "na", "n/a", "#n/a", "nat", "undefined", "?", ".", "-"),
    *("--", "missing", "unlabeled", "unlabelled", "unknown", "not available"),
}
# Cyrillic and Greek small letters that look like Latin ones (Unicode TR 39).
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕкмтнвοανρκι",
    "aeopcyxijskmthb" + "oavpki",
)


def is_missing_name(name: str) -> bool:
    """Whether a name usually stands for a missing one: "nan", "N/A", " "."""
    return name.strip().lower() in _MISSING_NAMES


def warn_of_twins(
    array: str, what: str, names: Sequence[int | str], rows: Ints, findings: Findings
) -> None:
    """Name those that look alike, and may be the same.

    Args:
        array: Name of the array.
        what: What is named: "classes", "groups".
        names: All different.
        rows: How many rows have each.
        findings: Where it is said.
    """
    twins: dict[object, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        twins[_plain(name)].append(index)
    near = [group for group in twins.values() if len(group) > 1]
    if not near:
        return
    each = []
    for group in near[:8]:
        show = repr if _differ_to_the_eye([str(names[index]) for index in group]) else ascii
        shown = [f"{show(names[index])} ({counted(int(rows[index]), 'row')})" for index in group]
        each.append(listing(shown, show=str))
    more = f" and {len(near) - 8:,} more" if len(near) > 8 else ""
    findings.warn(
        f"array {array!r} has {what} whose names differ only in case, blanks or the way they are "
        f"written: {'; '.join(each)}{more}. If they are the same, write them alike."
    )


def _differ_to_the_eye(names: Sequence[str]) -> bool:
    """Whether names look different, not only are."""
    seen = {_visible(unicodedata.normalize("NFC", name)).translate(_LOOK_ALIKES) for name in names}
    return len(seen) == len(names)


def _visible(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _plain(name: int | str) -> object:
    """What near twins have in common: "Cat " and "cat", "1" and "1.0", "New-York" and "new york".

    Of letters that look alike, and of those that nobody sees, it does not tell which they are.
    """
    if isinstance(name, int):
        return name
    text = _visible(unicodedata.normalize("NFKC", name)).strip()
    with suppress(InvalidOperation):
        if (number := Decimal(text)).is_finite():
            return number
    text = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", text.strip("\"'`"))
    return " ".join(text.split()).casefold().translate(_LOOK_ALIKES)
