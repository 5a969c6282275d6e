"""What data sets, and what belongs to them, are called."""

import re
import unicodedata

_MAX_NAME = 64  # letters; the name becomes part of file, experiment and model names
_VARIANTS = re.compile("[\ufe00-\ufe0f]")  # of how a letter is drawn, themselves invisible


def safe_name(name: str) -> str:
    """Return lower-case letters and digits of any script, "-" and "_": "Día 3 (b)" is "día-3-b".

    Signs that stand for words, as emoji do, are called as in Unicode: "🎉" is "party-popper".
    """
    text = _VARIANTS.sub("", unicodedata.normalize("NFC", name).lower())
    kept = "".join(map(_letters, text))
    return re.sub("-+", "-", kept).strip("-")[:_MAX_NAME].strip("-") or "data"


def names_of(name: str, fingerprint: str) -> tuple[str, str]:
    """Return the names that what belongs to a data set may have, in the order in which to try them.

    The second is for the data of one fingerprint alone, where the first is another data set's.
    """
    return name, f"{name}-{fingerprint[:8]}"


def _letters(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind[0] in "LMN" or sign == "_":
        return sign
    if kind == "So":
        words = unicodedata.name(sign, f"u{ord(sign):x}").lower()
        return f"-{re.sub('[^a-z0-9]+', '-', words)}-"
    return "-"
