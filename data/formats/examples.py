"""The data sets that come with the program."""

from dataclasses import dataclass
from pathlib import Path

from tuner.data.validation.roles import Roles


@dataclass(frozen=True, kw_only=True)
class Example:
    """A shipped data set, and the arrays that it pairs unless others are chosen."""

    path: Path
    roles: Roles


_FOLDER = Path(__file__).parents[1] / "examples"

# Sources and licences are in the text file beside each archive.
EXAMPLES = {
    "mfeat": Example(path=_FOLDER / "mfeat.npz", roles=Roles(a="fou", b="kar", y="y")),
}
