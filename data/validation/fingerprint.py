"""Identifies a data set by its content, however it was stored."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import OnStep, silent, told_blocks
from tuner.data.typing import Array, Splits
from tuner.data.validation.division.groups import Groups
from tuner.data.validation.labels.reading import Labels


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def fingerprint(
    *,
    a: Modality,
    b: Modality,
    labels: Labels,
    split: Splits | None,
    groups: Groups | None,
    on_step: OnStep = silent,
) -> str:
    """Hash the content: SHA-256, 64 hexadecimal digits.

    It covers what each array is for, its shape and its values as the program uses them, and a
    split and groups where they are given. It does not depend on file format, compression, order
    or names of arrays, byte order, memory layout, the number format where the values are the
    same, the sign of a zero, or what padded steps hold. `on_step` is told how many rows are done.
    """
    digest = hashlib.sha256(b"paired data set 1\n")
    for role, modality in (("a", a), ("b", b)):
        values = modality.values
        _add(digest, role, values, _form(values), f"fingerprint of {modality.name}", on_step)
        if modality.mask is not None:
            _add(digest, f"{role} mask", modality.mask, "|u1")
    _add(digest, labels.task, labels.y, _form(labels.y))
    _add_names(digest, "classes", labels.classes or ())
    if split is not None:
        _add(digest, "split", split, "|u1")
    if groups is not None:
        _add(digest, "group", groups.codes, "<i8")
        _add_names(digest, "groups", groups.names)
    return digest.hexdigest()


def _form(array: Array) -> str:
    return array.dtype.newbyteorder("<").str


def _add(
    digest: _Hash,
    role: str,
    array: Array,
    dtype: str,
    step: str = "",
    on_step: OnStep = silent,
) -> None:
    digest.update(f"{role} {dtype} {array.shape}\n".encode())
    for rows in told_blocks(array, step, on_step):
        block = np.ascontiguousarray(array[rows], dtype=dtype)
        if block.dtype.kind == "f":
            block = block + block.dtype.type(0)  # -0.0 and 0.0 are the same value
        digest.update(block.reshape(-1).view(np.uint8).data)


def _add_names(digest: _Hash, role: str, names: Iterable[int | str]) -> None:
    texts = [f"{type(name).__name__} {name}".encode() for name in names]  # 1 and "1" differ
    digest.update(f"{role} {len(texts)}\n".encode())
    for text in texts:
        digest.update(f"{len(text)} ".encode() + text)
