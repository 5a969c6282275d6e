"""The corpus: past studies that come with the program, and a user's own beside them."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tuner.data.memory.scratch import written_whole
from tuner.errors import SpecError
from tuner.prediction.record import Record

_FORMAT = "alignment-tuner corpus 1"
SHIPPED = Path(__file__).with_name("corpus.json.gz")
_MODELS = Path(__file__).parents[1] / "models"
_NO_TRAINING = ("preflight.py", "export.py")  # of `models`


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Records, and what trained them.

    Attributes:
        records: Past studies.
        code: Digest of the code that trained what is shipped: see `training_code`.
    """

    records: tuple[Record, ...]
    code: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, 16 hexadecimal digits."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    @property
    def is_stale(self) -> bool:
        """Whether other code than is here trained what is shipped, which may train otherwise."""
        return self.code != training_code()

    def joined(self, own: Iterable[Record]) -> "Corpus":
        """Return it with others, each study once."""
        return replace(self, records=once((*self.records, *own)))

    def write(self, path: Path) -> None:
        """Write it to a file, whole or not at all; the same corpus gives the same bytes."""
        with written_whole(path) as aside:
            aside.write_bytes(gzip.compress(self._text().encode(), mtime=0))

    @classmethod
    def read(cls, path: Path) -> "Corpus":
        """Read a file that `write` wrote.

        Raises:
            SpecError: If it is no corpus, or a damaged one: which record, and what of it.
        """
        try:
            told = json.loads(gzip.decompress(path.read_bytes()))
            found, code, records = told["format"], str(told["code"]), list(told["records"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
            raise SpecError(f"{path}: no corpus can be read from it: {error}") from None
        if found != _FORMAT:
            raise SpecError(f"{path}: its format is {found!r}, and {_FORMAT!r} is what is read")
        return cls(records=tuple(_read(path, n, each) for n, each in enumerate(records)), code=code)

    def _text(self) -> str:
        records = [record.as_dict() for record in self.records]
        told = {"format": _FORMAT, "code": self.code, "records": records}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def once(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return each study once, as the last of its records has it."""
    return tuple({record.key: record for record in records}.values())


def training_code() -> str:
    """Digest of all code below `tuner.models` that has a part in a training, 16 digits."""
    digest = hashlib.sha256()
    for path in sorted(_MODELS.rglob("*.py")):
        name = path.relative_to(_MODELS).as_posix()
        if name not in _NO_TRAINING:
            digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def shipped() -> Corpus:
    """Return the corpus that comes with the program."""
    return Corpus.read(SHIPPED)


def _read(path: Path, number: int, told: dict[str, object]) -> Record:
    try:
        return Record.read(told)
    except ValueError as error:
        raise SpecError(f"{path}: record {number + 1} is damaged: {error}") from None
