"""Trained weights as a file that is named by what it holds.

The layout is that of safetensors, which other programs read, too: the length of a header, the
header in JSON, the arrays. Equal weights are equal bytes. Nothing is compressed: weights are noise
to a compressor, which takes 30 times as long as writing them, and saves 7 %.

https://huggingface.co/docs/safetensors/index#format
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tuner.models.typing import Array

_CHUNK = 2**24  # bytes at a time: a buffer of a file system takes no more
_ALIGNED = 8  # bytes of which the header is a multiple
_TYPES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}


class WeightsFile:
    """The weights of one branch as the bytes of a file, which are never all in memory.

    Args:
        weights: Arrays by their names.

    Attributes:
        digest: SHA-256 of the bytes.
        size: How many bytes there are.

    Raises:
        ValueError: If an array holds what the layout has no name for.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        by_alignment = sorted(weights, key=lambda name: (-weights[name].itemsize, name))
        self._arrays = {name: np.ascontiguousarray(weights[name]) for name in by_alignment}
        self._header = _header(self._arrays)
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self.digest = digest.hexdigest()
        self.size = len(self._header) + sum(array.nbytes for array in self._arrays.values())

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes, some megabytes at a time."""
        yield self._header
        for array in self._arrays.values():
            content = array.reshape(-1).view(np.uint8).data
            for start in range(0, array.nbytes, _CHUNK):
                yield content[start : start + _CHUNK]


def read_weights(content: bytes) -> dict[str, Array]:
    """Return the weights of a file by their names."""
    start = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:start])
    body = memoryview(content)[start:]  # of which arrays are views: nothing is copied
    weights = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        flat = np.frombuffer(body[first:end], _TYPES[entry["dtype"]])
        weights[name] = flat.reshape(entry["shape"])
    return weights


def _header(arrays: Mapping[str, Array]) -> bytes:
    entries, end = {}, 0
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise ValueError(f"{name} holds {array.dtype}, which a file of weights cannot")
        start, end = end, end + array.nbytes
        entries[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text
