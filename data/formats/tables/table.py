"""A table: one file of columns, or several whose rows follow each other."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        lengths: How many each of its files has.
        batches: Yields all rows of some columns, in order, a piece at a time.
        faults: Why a column cannot be used, by its name.
    """

    name: str
    schema: "pa.Schema"
    rows: int
    batches: Callable[[list[str]], Iterator["pa.RecordBatch"]]
    lengths: tuple[int, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)


def joined(
    shards: Sequence[Table], findings: Findings, faults: Mapping[str, str] | None = None
) -> Table:
    """Return the table whose rows are those of all shards, one after the other.

    Args:
        shards: One or more tables.
        findings: Where faults are noted.
        faults: Why a column cannot be used, by its name.

    Raises:
        DataError: If they have not the same columns, each with a name of its own.
    """
    first = shards[0]
    refuse_repeated(first.schema.names, findings)
    for shard in shards[1:]:
        _check_alike(first, shard, findings)

    def batches(names: list[str]) -> Iterator["pa.RecordBatch"]:
        for shard in shards:
            yield from shard.batches(names)

    lengths = tuple(shard.rows for shard in shards)
    return Table(
        name=first.name,
        schema=first.schema,
        rows=sum(lengths),
        batches=batches,
        lengths=lengths,
        faults=faults or {},
    )


def refuse_repeated(names: Sequence[str], findings: Findings) -> None:
    """Check that each column has a name of its own.

    Raises:
        DataError: If one has not.
    """
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        findings.fail(f"holds more than one column called {listing(repeated)}. Rename them.")


def _check_alike(first: Table, other: Table, findings: Findings) -> None:
    ours, theirs = ({c.name: c.type for c in table.schema} for table in (first, other))
    if ours == theirs:
        return
    if odd := sorted(ours.keys() ^ theirs.keys()):
        what = f"only one of them has {listing(odd)}"
    else:
        name = next(name for name in ours if ours[name] != theirs[name])
        what = f"column {name!r} is {ours[name]} in one and {theirs[name]} in the other"
    read, save = "read_parquet", "to_parquet('all.parquet')"
    if not first.name.endswith(".parquet"):
        read, save = "read_csv", "to_csv('all.csv', index=False)"
    findings.fail(
        f"holds files that do not belong together, {first.name} and {other.name}: {what}. Name "
        "those that do by a pattern in quotes ('folder/part-*.parquet'), or write all of them with "
        "the same columns and types: "
        f"pandas.concat([pandas.{read}(file) for file in files]).{save}."
    )


def first_line(error: Exception) -> str:
    """Return what an error of Arrow's says, short."""
    return (str(error) or type(error).__name__).splitlines()[0]
