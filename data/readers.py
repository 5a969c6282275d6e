"""Makes data sets from files and arrays: the front door of the package."""

import os
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import PairedDataset
from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.files import DataFile, open_data
from tuner.data.formats.npz import MAX_BYTES
from tuner.data.typing import Array
from tuner.data.validation.assemble import assemble
from tuner.data.validation.findings import Findings
from tuner.data.validation.labels.task import TaskChoice
from tuner.data.validation.roles import Roles

_MAX_NAME = 64  # letters; the name becomes part of file, experiment and model names


def read(
    source: str | os.PathLike[str],
    *,
    a: str | None = None,
    b: str | None = None,
    y: str | None = None,
    task: TaskChoice = "auto",
    missing: Sequence[str] = (),
    seed: int = 0,
    name: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> PairedDataset:
    """Read and validate a data set.

    Args:
        source: Path or fsspec URI of an .npz or .parquet file, or the name of a shipped example.
        a: Name of the first modality's array; "a" if not given, or what an example pairs.
        b: Name of the second modality's array, likewise.
        y: Name of the labels' array, likewise.
        task: What the labels ask for; "auto" decides by what they are: see
            `tuner.data.validation.labels.task.read_task`.
        missing: Labels that stand for a missing one, as text: "255", "nan"; -1 and "" if not
            given, and `["none"]` for none of them. NaN and null always do.
        seed: Where a split comes from if the data set has none.
        name: What to call the data set; from the file's name if not given.
        max_bytes: Limit on the download, the unpacked archive, one unpacked Parquet column, and
            a modality as float32.

    Raises:
        DataError: If the data set cannot be used, with everything that is wrong with it.
    """
    location, roles = find(source, a=a, b=b, y=y)
    with open_data(location, Findings(os.fspath(source)), max_bytes=max_bytes) as file:
        return read_file(file, roles, task=task, missing=missing, seed=seed, name=name)


def find(
    source: str | os.PathLike[str], *, a: str | None, b: str | None, y: str | None
) -> tuple[str, Roles]:
    """Return the path or URI of a data set, and which of its arrays are wanted."""
    example = EXAMPLES.get(os.fspath(source))
    location = str(example.path) if example else os.fspath(source)
    return location, _choose(a, b, y, defaults=example.roles if example else Roles())


def read_file(
    file: DataFile,
    roles: Roles,
    *,
    task: TaskChoice,
    missing: Sequence[str],
    seed: int,
    name: str | None,
) -> PairedDataset:
    """Read and validate the data set in an open file; what is found goes to its findings.

    Raises:
        DataError: If it cannot be used.
    """
    return assemble(
        file.arrays(roles),
        roles=roles,
        task=task,
        missing=missing,
        seed=seed,
        name=safe_name(name or file.stem),
        findings=file.findings,
        max_bytes=file.max_bytes,
    )


def from_arrays(
    arrays: Mapping[str, npt.ArrayLike],
    *,
    a: str | None = None,
    b: str | None = None,
    y: str | None = None,
    task: TaskChoice = "auto",
    missing: Sequence[str] = (),
    seed: int = 0,
    name: str | None = None,
    source: str = "<arrays>",
) -> PairedDataset:
    """Validate arrays as `read` does those of a file. They are copied, never changed.

    Args:
        arrays: By name, as an .npz file holds them. Labels may be a masked array.
        a: As in `read`.
        b: As in `read`.
        y: As in `read`.
        task: As in `read`.
        missing: As in `read`.
        seed: As in `read`.
        name: What to call the data set; from `source` if not given.
        source: What to call it in messages.

    Raises:
        DataError: If the data set cannot be used, with everything that is wrong with it.
    """
    roles = _choose(a, b, y, defaults=Roles())
    findings = Findings(source)
    wanted = {n: _as_array(n, arrays[n], findings) for n in roles.present_in(arrays, findings)}
    usable = {n: array for n, array in wanted.items() if array is not None}
    return assemble(
        usable,
        roles=roles,
        task=task,
        missing=missing,
        seed=seed,
        name=safe_name(name or source),
        findings=findings,
        max_bytes=sys.maxsize,
    )


def safe_name(name: str) -> str:
    """Return lower-case letters and digits of any script, "-" and "_": "Día 3 (b)" is "día-3-b"."""
    kept = (c if unicodedata.category(c)[0] in "LMN" or c == "_" else "-" for c in _normal(name))
    return re.sub("-+", "-", "".join(kept)).strip("-")[:_MAX_NAME].strip("-") or "data"


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _choose(a: str | None, b: str | None, y: str | None, *, defaults: Roles) -> Roles:
    return Roles(a=a or defaults.a, b=b or defaults.b, y=y or defaults.y)


def _as_array(name: str, values: npt.ArrayLike, findings: Findings) -> Array | None:
    try:
        return np.asanyarray(values)  # keeps a masked array masked
    except (ValueError, TypeError) as error:
        findings.error(
            f"array {name!r} cannot be made an array ({error}). Give all rows one shape."
        )
        return None
