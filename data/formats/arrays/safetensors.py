"""Reads .safetensors files that may be damaged or hostile: a header of JSON, then raw arrays.

Format: https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tuner.data.formats.arrays.npy import ArrayError, check_shape
from tuner.data.formats.contents import Contents, kind_of
from tuner.data.formats.reading import Reading, read_named
from tuner.data.formats.sources import opened
from tuner.data.memory.spool import map_file
from tuner.data.typing import Array, Arrays
from tuner.data.validation.findings import counted
from tuner.data.validation.roles import Roles

MAX_HEADER_BYTES = 2**24

_TYPES = {
    "BOOL": "?",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}
_SMALL = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """Where an array is: its type, shape and first byte in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True, eq=False)
class Safetensors:
    """The arrays of a file, mapped: they may be larger than memory.

    Attributes:
        path: Where it is.
        reading: How it is read.
    """

    path: Path
    reading: Reading

    def contents(self) -> dict[str, Contents]:
        """List the arrays: see `Source`. One that cannot be read is of unknown kind."""
        return {name: _contents(entry) for name, entry in self._header().items()}

    def arrays(self, roles: Roles) -> Arrays:
        """Read the arrays that roles name: see `Source`."""
        header, findings = self._header(), self.reading.findings

        def read(name: str) -> Array | None:
            tensor = header[name]
            if isinstance(tensor, ArrayError):
                findings.error(f"array {name!r} cannot be read: {tensor}")
                return None
            return map_file(self.path, tensor.dtype, tensor.shape, offset=tensor.start)

        return read_named(roles, header, read, self.reading)

    def _header(self) -> Mapping[str, _Tensor | ArrayError]:
        """Read what the file says of its arrays; nothing of it is believed.

        Raises:
            DataError: If it has no header.
        """
        findings = self.reading.findings
        with opened(self.path, findings) as file:
            size = file.seek(0, 2)
            length, text = _start(file, size)
        if text is None:
            findings.fail(
                "is not a whole .safetensors file: it is damaged or was cut short. Copy it or save "
                "it again with safetensors.numpy.save_file."
            )
        try:
            fields = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            findings.fail(
                "has a damaged header. Copy it or save it again with safetensors.numpy.save_file."
            )
        fields.pop("__metadata__", None)
        tensors: dict[str, _Tensor | ArrayError] = {}
        for name, entry in fields.items():
            try:
                tensors[name] = _tensor(entry, 8 + length, size)
            except ArrayError as error:
                tensors[name] = error
        return tensors


def _start(file: IO[bytes], size: int) -> tuple[int, bytes | None]:
    """Return the length of the header and its text; None if there is none."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
        return 0, None
    return length, file.read(length)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name is there twice")
    return fields


def _tensor(entry: object, data_start: int, size: int) -> _Tensor:
    """Check what a header says of an array.

    Raises:
        ArrayError: If that cannot be.
    """
    match entry:
        case {"dtype": str(kind), "shape": [*lengths], "data_offsets": [int(start), int(end)]}:
            dtype, shape = _dtype(kind), check_shape(tuple(lengths))
        case _:
            raise ArrayError("its header is damaged. Save the file again.")
    declared = dtype.itemsize * math.prod(shape)
    if start < 0 or end - start != declared or data_start + end > size:
        raise ArrayError(
            f"its header declares shape {shape} of {dtype.name}, {counted(declared, 'byte')}, "
            "which are not there. The file is damaged or was cut short; copy or save it again."
        )
    return _Tensor(dtype=dtype, shape=shape, start=data_start + start)


def _dtype(name: str) -> np.dtype[Any]:
    if name in _SMALL:
        import ml_dtypes

        small: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _SMALL[name]))
        return small
    if name not in _TYPES:
        raise ArrayError(f"it is of type {name[:40]!r}. Save it as float32.")
    return np.dtype(_TYPES[name])


def _contents(tensor: _Tensor | ArrayError) -> Contents:
    if isinstance(tensor, ArrayError):
        return Contents(shape=(), kind="unreadable")
    return Contents(shape=tensor.shape, kind=kind_of(tensor.dtype))
