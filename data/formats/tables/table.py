"""A table: one file of columns, or several whose rows follow each other."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.data.validation.findings import Findings, listing

if TYPE_CHECKING:
    import pyarrow as pa

# Few rows at a time: what a compressed column unpacks to is known only once it is unpacked.
BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Columns of equal length.

    Attributes:
        name: Of its file.
        schema: Name and type of every column.
        rows: How many there are.
        batches: Yields all rows of some columns, in order, a piece at a time.
    """

    name: str
    schema: "pa.Schema"
    rows: int
    batches: Callable[[list[str]], Iterator["pa.RecordBatch"]]


def joined(shards: Sequence[Table], findings: Findings) -> Table:
    """Return the table whose rows are those of all shards, one after the other.

    Raises:
        DataError: If they have not the same columns, each with a name of its own.
    """
    first = shards[0]
    counts = Counter(first.schema.names)
    if repeated := [name for name, count in counts.items() if count > 1]:
        findings.fail(f"holds more than one column called {listing(repeated)}. Rename them.")
    for shard in shards[1:]:
        _check_alike(first, shard, findings)

    def batches(names: list[str]) -> Iterator["pa.RecordBatch"]:
        for shard in shards:
            yield from shard.batches(names)

    rows = sum(shard.rows for shard in shards)
    return Table(name=first.name, schema=first.schema, rows=rows, batches=batches)


def _check_alike(first: Table, other: Table, findings: Findings) -> None:
    ours, theirs = ({c.name: c.type for c in table.schema} for table in (first, other))
    if ours == theirs:
        return
    if odd := sorted(ours.keys() ^ theirs.keys()):
        what = f"only one of them has {listing(odd)}"
    else:
        name = next(name for name in ours if ours[name] != theirs[name])
        what = f"column {name!r} is {ours[name]} in one and {theirs[name]} in the other"
    findings.fail(
        f"holds files that do not belong together, {first.name} and {other.name}: {what}. Name "
        "those that do by a pattern in quotes ('folder/part-*.parquet'), or write all of them with "
        "the same columns and types: pandas.concat([pandas.read_parquet(file) for file in files])"
        ".to_parquet('all.parquet')."
    )
