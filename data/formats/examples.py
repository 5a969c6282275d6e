"""The data sets that come with the program."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Example:
    """A shipped data set, and the arrays that it pairs unless others are chosen."""

    path: Path
    roles: Mapping[str, str]


_FOLDER = Path(__file__).parents[1] / "examples"

# Sources and licences are in the text file beside each archive.
EXAMPLES = {
    "mfeat": Example(path=_FOLDER / "mfeat.npz", roles={"a": "fou", "b": "kar"}),
    "mfeat-few": Example(
        path=_FOLDER / "mfeat.npz",
        roles={"a": "fou", "b": "kar", "y": "few", "split": "few_split"},
    ),
}
