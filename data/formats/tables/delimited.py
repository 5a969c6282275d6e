"""Opens CSV and TSV files: columns of numbers, of true and false, or of text.

What a column holds is decided by all of its values. Where Arrow would guess more (dates, times,
text that is null), text stays what it is: a label "NA" is for its owner to call missing or a class.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tuner.data.formats.reading import Reading
from tuner.data.formats.sources import opened
from tuner.data.formats.tables.table import Table, first_line, joined, refuse_repeated
from tuner.data.validation.findings import Findings

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 2**24  # no row may be longer
_SEPARATORS = (",", ";", "\t")
# What stands for no number in a column of numbers.
_NO_NUMBER = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
_NOTE = re.compile(r"#\s|sep=", re.IGNORECASE)  # as NumPy and Excel write
_COUNTS = re.compile(r"Expected (\d+) columns?, got (\d+)")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


class _Kind(Enum):
    """What all values of a column are, the strictest first."""

    WHOLE = "int64"
    NUMBER = "double"
    COMMA = "numbers with decimal commas"
    BOOLEAN = "bool"
    TEXT = "string"


def delimited_table(paths: Sequence[Path], reading: Reading) -> Table:
    """Open files, whose rows follow each other.

    Raises:
        DataError: If they cannot be used.
    """
    import pyarrow as pa

    files = [_File(path, len(paths) > 1, reading.findings) for path in paths]
    columns: dict[str, _Column] = {}
    lengths = [_look_through(file, columns, reading) for file in files]
    types = {name: _type(column.kind) for name, column in columns.items()}
    tables = [
        Table(
            name=file.path.name,
            schema=pa.schema([(name, types[name]) for name in file.names]),
            rows=rows,
            batches=partial(file.batches, types),
        )
        for file, rows in zip(files, lengths, strict=True)
    ]
    faults = {n: c.comma for n, c in columns.items() if c.kind is _Kind.COMMA}
    return joined(tables, reading.findings, faults)


def _in_utf8(encoding: str) -> str:
    """Say in Python how text is saved in UTF-8, whatever separates its columns."""
    return f"pathlib.Path(path).write_text(pathlib.Path(path).read_text('{encoding}'), 'utf-8')"


class _File:
    """A file of text, with a row a line and names in the first."""

    def __init__(self, path: Path, several: bool, findings: Findings) -> None:
        self.path = path
        self._which = f"file {path.name} " if several else ""
        self._findings = findings
        with opened(path, findings) as file:
            header = file.readline(BLOCK_BYTES).decode("utf-8", "replace")
        if "\0" in header:
            findings.fail(
                f"{self._which}is no text in UTF-8. If it is text at all, save it so: "
                f"{_in_utf8('utf-16')}."
            )
        if not header.strip():
            findings.fail(
                f"{self._which}has no names of columns in its first line. Put a line of names on "
                "top."
            )
        if _NOTE.match(header):
            findings.fail(
                f"{self._which}begins with the line {header.strip()[:80]!r}, where names of "
                "columns are wanted. Delete what stands above the names, and a # before them."
            )
        self.separator = max(_SEPARATORS, key=header.count)
        with self._reader({}) as reader:
            self.names: list[str] = reader.schema.names
        self._check_names()

    def batches(
        self, types: Mapping[str, "pa.DataType"], names: list[str]
    ) -> Iterator["pa.RecordBatch"]:
        """Yield all rows of some columns, a piece at a time."""
        with self._reader({name: types[name] for name in names}) as reader:
            yield from reader

    @contextmanager
    def _reader(self, types: Mapping[str, "pa.DataType"]) -> Iterator[Any]:
        """Open the file to read those columns, or all if none are named.

        Raises:
            DataError: If it is no table, or turns out to be none while it is read.
        """
        import pyarrow as pa
        from pyarrow import csv

        try:
            # Arrow's own file: its threads would still read one of Python's as the process ends.
            with pa.OSFile(os.fsencode(self.path)) as file:
                yield csv.open_csv(
                    file,
                    read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
                    parse_options=csv.ParseOptions(
                        delimiter=self.separator, newlines_in_values=True
                    ),
                    convert_options=csv.ConvertOptions(
                        column_types=types,
                        include_columns=list(types),
                        null_values=_NO_NUMBER,
                        true_values=_TRUE,
                        false_values=_FALSE,
                        strings_can_be_null=False,
                    ),
                )
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            self._fail(error)

    def _check_names(self) -> None:
        numbers = [name for name in self.names if _is_number(name)]
        are_values = any("." in each for each in numbers) or len(set(numbers)) < len(numbers)
        if are_values and 2 * len(numbers) >= len(self.names):
            self._findings.fail(
                f"{self._which}begins with a line of numbers, where names of columns are wanted. "
                "Put a line of names on top; if these are names, begin each with a letter."
            )
        refuse_repeated(self.names, self._findings)

    def _fail(self, error: Exception) -> NoReturn:
        reason = first_line(error)
        mend = (
            "Put text that holds the separator into double quotes, or save it with "
            "pandas: frame.to_csv(path, index=False)."
        )
        if "UTF8" in reason or isinstance(error, UnicodeDecodeError):
            mend = f"Save it in UTF-8: {_in_utf8('cp1252')}."
        elif (counts := _COUNTS.search(reason)) and int(counts[1]) < int(counts[2]):
            mend = (
                "If its first lines are a title or notes, delete what stands above the names of "
                f"columns. If not: {mend[0].lower()}{mend[1:]}"
            )
        elif "straddling" in reason:
            reason = f"a row is longer than {BLOCK_BYTES:,} bytes"
            mend = "Is a double quote missing? Long rows are for .npz or .parquet."
        self._findings.fail(f"{self._which}is not a whole table ({reason[:200]}). {mend}")


@dataclass
class _Column:
    """What is known of a column so far.

    Attributes:
        kind: What its values are.
        holds: Whether any of them is not empty.
        comma: What is wrong with it if `kind` is that.
    """

    kind: _Kind = _Kind.WHOLE
    holds: bool = False
    comma: str = ""

    def take(self, values: "pa.Array", first_row: int) -> None:
        """Look at more values, as text."""
        import pyarrow.compute as pc

        if self.kind is _Kind.TEXT:
            return
        values = pc.utf8_trim_whitespace(values)
        present = values.filter(pc.invert(pc.is_in(values, _texts(_NO_NUMBER))))
        if not _holds(self.kind, present):
            self.kind = next(kind for kind in self._looser(present) if _holds(kind, present))
        if self.kind is _Kind.COMMA and not self.comma:
            at = pc.index(pc.match_substring(values, ","), True).as_py()
            self.comma = (
                f"it holds numbers with decimal commas ({values[at].as_py()!r} in row "
                f"{first_row + at:,}, counting from 0). Save them with points: pandas.read_csv("
                "path, sep=None, engine='python', decimal=',').to_csv(path, index=False)."
            )
        self.holds |= len(present) > 0

    def _looser(self, present: "pa.Array") -> list[_Kind]:
        """What it may be if not what it seemed: what held numbers never holds true and false."""
        kinds = list(_Kind)
        looser = kinds[kinds.index(self.kind) + 1 :]
        if self.kind is _Kind.WHOLE and _are_long(present):
            return [_Kind.TEXT]
        return [kind for kind in looser if kind is not _Kind.BOOLEAN or not self.holds]


def _look_through(file: _File, columns: dict[str, _Column], reading: Reading) -> int:
    """Learn what columns hold from all rows of a file; returns how many there are."""
    import pyarrow as pa

    rows = 0
    for batch in file.batches(dict.fromkeys(file.names, pa.string()), file.names):
        for name, values in zip(file.names, batch.columns, strict=True):
            columns.setdefault(name, _Column()).take(values, rows)
        rows += len(batch)
        reading.on_step(f"looking through {file.path.name}: {rows:,} rows")
    for name in file.names:
        columns.setdefault(name, _Column())
    return rows


def _holds(kind: _Kind, present: "pa.Array") -> bool:
    """Whether all of some text are of a kind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind is _Kind.TEXT:
        return True
    if kind is _Kind.BOOLEAN:
        return bool(pc.all(pc.is_in(present, _texts((*_TRUE, *_FALSE))), min_count=0).as_py())
    if kind is _Kind.COMMA:
        present = pc.replace_substring(present, ",", ".")
    try:
        present.cast(pa.int64() if kind is _Kind.WHOLE else pa.float64())
    except pa.ArrowInvalid:
        return False
    # Longer than 64 bits are identifiers, of which a double would make one of many.
    return (
        kind is _Kind.WHOLE
        or not pc.any(pc.match_substring_regex(present, "^[+-]?[0-9]{19,}$"), min_count=0).as_py()
    )


def _are_long(present: "pa.Array") -> bool:
    """Whether some are whole numbers of more than 64 bits: a double would make one of many."""
    import pyarrow.compute as pc

    long = pc.match_substring_regex(present, "^[+-]?[0-9]{19,}$")
    return bool(pc.any(long, min_count=0).as_py())


def _type(kind: _Kind) -> "pa.DataType":
    import pyarrow as pa

    return pa.string() if kind is _Kind.COMMA else pa.type_for_alias(kind.value)


def _texts(words: Sequence[str]) -> "pa.Array":
    import pyarrow as pa

    return pa.array(words, pa.string())


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
