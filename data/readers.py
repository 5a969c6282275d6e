"""Makes data sets from files and arrays: the front door of the package."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import PairedDataset
from tuner.data.formats.arrays.npz import MAX_BYTES
from tuner.data.formats.examples import EXAMPLES
from tuner.data.formats.files import DataFile, open_data
from tuner.data.formats.reach import Reach
from tuner.data.formats.reading import Reading, read_named
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.naming import safe_name
from tuner.data.options import DataOptions
from tuner.data.typing import Array
from tuner.data.validation.assemble import assemble
from tuner.data.validation.findings import Findings
from tuner.data.validation.objects import stacked, values_of
from tuner.data.validation.roles import Roles


def read(
    source: str | os.PathLike[str],
    *,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    alone: bool = False,
    reach: Reach | None = None,
    on_step: OnStep = silent,
    **options: Any,
) -> PairedDataset:
    """Read and validate a data set.

    A modality is numbers, text (one string a row), or ids of tokens (whole numbers (rows, tokens)
    with a mask).

    Args:
        source: Path or fsspec URI, or the name of a shipped example. Formats are .npz,
            .safetensors, .parquet, .csv and .tsv. Several tables whose rows follow each other are
            named by their folder, or by a pattern: "folder/part-*.parquet",
            "s3://bucket/*.parquet". A folder may be what `datasets.Dataset.save_to_disk` wrote.
            Tables may hold encoded images. In a folder of .npy files each is an array, and options
            may name such files: `read(".", a="left.npy", b="right.npy", y="label.npy")`.
        seed: Where a split comes from if the data set has none.
        max_bytes: Limit on the download, the unpacked archive, one array of an unpacked table, and
            a modality as float32.
        alone: Whether the data set has to be one file by itself that leads to no others, as where
            strangers send it.
        reach: Where it may be downloaded from; None for anywhere.
        on_step: Told what is being read and checked, in words.
        options: Those of `DataOptions`: `a="image"`, `task="regression"`. In the place of a name
            may be a pattern, `a="img_*"`, of columns that are stacked to (rows, features).

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
        DataError: If the data set cannot be used, with everything that is wrong with it.
    """
    location, roles, how = find(source, DataOptions(**options))
    findings = Findings(os.fspath(source))
    with open_data(
        location,
        findings,
        options=how,
        max_bytes=max_bytes,
        alone=alone,
        reach=reach,
        on_step=on_step,
    ) as file:
        return read_file(file, roles, how, seed=seed, on_step=on_step)


def find(source: str | os.PathLike[str], options: DataOptions) -> tuple[str, Roles, DataOptions]:
    """Return the path or URI of a data set, which of its arrays are wanted, and how it is read."""
    name = os.fspath(source)
    if name not in EXAMPLES:
        return name, Roles.of(options), options
    example = EXAMPLES[name]
    named = options.model_copy(update={"name": options.name or name})
    return str(example.path), Roles.of(options, example.roles), named


def read_file(
    file: DataFile, roles: Roles, options: DataOptions, *, seed: int, on_step: OnStep = silent
) -> PairedDataset:
    """Read and validate the data set in an open file; what is found goes to its findings.

    Raises:
        DataError: If it cannot be used.
    """
    contents = file.contents()
    roles = roles.among(contents)
    arrays = file.arrays(roles)
    on_step("checking it")
    return assemble(
        arrays,
        roles=roles,
        options=options,
        seed=seed,
        name=safe_name(options.name or file.stem),
        findings=file.findings,
        max_bytes=file.max_bytes,
        columns={name: roles.members(name, contents) for name in arrays},
        on_step=on_step,
    )


def from_arrays(
    arrays: Mapping[str, npt.ArrayLike],
    *,
    seed: int = 0,
    source: str = "<arrays>",
    **options: Any,
) -> PairedDataset:
    """Validate arrays as `read` does those of a file. They are copied, never changed.

    Args:
        arrays: By name, as an .npz file holds them, or as pandas does: features as a series of
            lists, labels as categories, or as text with gaps. Labels may be a masked array.
        seed: As in `read`.
        source: What to call them in messages, and the data set if no name is given.
        options: As in `read`.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
        DataError: If the data set cannot be used, with everything that is wrong with it.
    """
    how = DataOptions(**options)
    roles, findings = Roles.of(how), Findings(source)
    reading = Reading(findings=findings, options=how, max_bytes=sys.maxsize)

    def read(name: str) -> Array | None:
        return _as_array(name, arrays[name], findings, is_modality=roles.is_modality(name))

    wanted = read_named(roles, arrays, read, reading)
    return assemble(
        wanted,
        roles=roles,
        options=how,
        seed=seed,
        name=safe_name(how.name or source),
        findings=findings,
        max_bytes=sys.maxsize,
        columns={name: roles.members(name, arrays) for name in wanted},
    )


def _as_array(
    name: str, values: npt.ArrayLike, findings: Findings, *, is_modality: bool
) -> Array | None:
    try:
        array = np.asanyarray(values)  # keeps a masked array masked
    except (ValueError, TypeError, RuntimeError) as error:  # a tensor refuses with either of two
        mend = "Give all rows one shape."
        if hasattr(values, "detach"):
            mend = f"Give {name}.detach().cpu().float().numpy()."
        findings.error(f"array {name!r} cannot be made an array ({error}). {mend}")
        return None
    if array.dtype.kind != "O":
        return array
    if is_modality:
        return stacked(array)
    return values_of(array, numbers=getattr(values, "dtype", array.dtype) != array.dtype)
