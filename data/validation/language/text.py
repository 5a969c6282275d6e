"""Reads a modality of text: the UTF-8 bytes of every row."""

from collections.abc import Iterable, Iterator

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import BLOCK_VALUES, row_blocks
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array, Ints, Mask
from tuner.data.validation.findings import Findings, counted, rows_where
from tuner.data.validation.objects import is_missing_cell
from tuner.data.validation.text import is_invalid

MAX_BYTES_OF_TEXT = 4_096  # of one row; every row takes as much as the longest
_FEW = 20  # different texts, which look like names of categories where each is met ten times


def is_text(array: Array) -> bool:
    """Whether an array holds text, or Python objects that are text or missing, as of pandas."""
    if array.dtype.kind != "O":
        return array.dtype.kind in "UST"
    cells = array.ravel().tolist()
    return any(isinstance(cell, str) for cell in cells) and all(
        isinstance(cell, str) or is_missing_cell(cell) for cell in cells
    )


def read_text(name: str, array: Array, findings: Findings, *, max_bytes: int) -> Modality | None:
    """Check a modality of text, and hold it as bytes.

    It is kept as it is written: no letter is stripped, folded or normalised. What is longer than
    4,096 bytes is cut, after a whole letter.

    Args:
        name: Name of the array.
        array: (rows,) or (rows, 1) text, UTF-8 where it is bytes, as `is_text` takes it.
        findings: Where faults are noted.
        max_bytes: Limit on the size of all rows, each padded to the longest.

    Returns:
        The modality, or None if a fault was noted.
    """
    if array.ndim not in (1, 2) or array.size != len(array) or not array.size:
        findings.error(
            f"array {name!r} holds text of shape {array.shape}, where one text a row, (rows,), is "
            "wanted. Join the texts of a row, or choose one of them; numbers that are written as "
            f"text, save as {name}.astype(float)."
        )
        return None
    array = np.ma.filled(array, "").reshape(-1)  # what is masked out is missing
    lengths, cut = _lengths(name, array, findings)
    if lengths is None:
        return None
    width = int(lengths.max())
    if len(lengths) * width > max_bytes:
        findings.error(
            f"array {name!r} takes {len(lengths) * width:,} bytes as text padded to its longest "
            f"row, over the limit of {max_bytes:,}. Shorten it, or raise the limit "
            "(TUNER_MAX_DATA)."
        )
        return None
    if cut.any():
        findings.warn(
            f"array {name!r}: text is cut to {MAX_BYTES_OF_TEXT:,} bytes in {rows_where(cut)}."
        )
    if not _check_variety(name, array, findings):
        return None
    values, mask = _padded(array, lengths, width)
    return Modality(name=name, values=values, mask=mask)


def _lengths(name: str, array: Array, findings: Findings) -> tuple[Ints | None, Mask]:
    """Bytes of each row, (rows,), and whether it is cut; None if a fault was noted."""
    lengths = np.zeros(len(array), dtype=np.int64)
    invalid, cut = (np.zeros(len(array), dtype=np.bool_) for _ in range(2))
    for rows in row_blocks(array):
        cells = list(_encoded(array[rows]))
        invalid[rows] = [cell is None for cell in cells]
        lengths[rows] = [len(cell or b"") for cell in cells]
        cut[rows] = lengths[rows] > MAX_BYTES_OF_TEXT
        lengths[rows] = [len(_cut(cell or b"")) for cell in cells]
    if invalid.any():
        findings.error(
            f"array {name!r} holds text that is not valid Unicode (bytes: not UTF-8) in "
            f"{rows_where(invalid)}. Read it in the encoding that it was written in, as "
            "bytes.decode('latin-1'), and save it as text."
        )
    if (empty := (lengths == 0) & ~invalid).any():
        findings.error(
            f"array {name!r} holds no text (empty or null) in {rows_where(empty)}. Drop these rows "
            "from every array, or write what stands for it, such as 'none'."
        )
    return (None if invalid.any() or empty.any() else lengths), cut


def _encoded(array: Array) -> Iterator[bytes | None]:
    """Encode text, a little more than what is kept of it; None is invalid, b"" missing."""
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        yield from map(_utf8, array.tolist())
        return
    invalid = is_invalid(array)
    for bad, cell in zip(invalid, np.where(invalid, "", array).tolist(), strict=True):
        yield None if bad else _utf8(cell)


def _utf8(cell: object) -> bytes | None:
    try:
        if isinstance(cell, bytes):
            cell = cell.decode()
        return cell[: MAX_BYTES_OF_TEXT + 1].encode() if isinstance(cell, str) else b""
    except UnicodeError:
        return None


def _cut(text: bytes) -> bytes:
    if len(text) <= MAX_BYTES_OF_TEXT:
        return text
    return text[:MAX_BYTES_OF_TEXT].decode(errors="ignore").encode()


def _texts(array: Array) -> Iterator[bytes]:
    for rows in row_blocks(array):
        yield from (_cut(cell or b"") for cell in _encoded(array[rows]))


def _check_variety(name: str, array: Array, findings: Findings) -> bool:
    """Refuse text that never changes, and warn of what looks like something else."""
    distinct: set[bytes] = set()
    for text in _texts(array):
        distinct.add(text)
        if len(distinct) > _FEW:
            break
    if len(distinct) == 1:
        findings.error(
            f"array {name!r} is constant: every row holds the same text, so nothing can be learned "
            "from it. Check how it was made, or choose another array."
        )
        return False
    if _are_numbers(_texts(array)):
        findings.warn(
            f"array {name!r} holds numbers that are written as text, and is read as text. If they "
            f"are measurements, save numpy.asarray({name}, float)[:, None]."
        )
    elif len(distinct) <= min(_FEW, len(array) // 10):
        findings.warn(
            f"array {name!r} holds {counted(len(distinct), 'different text')} in "
            f"{counted(len(array), 'row')}, and is read as text. If these are categories, save a "
            f"column for each, as pandas.get_dummies({name}).to_numpy(float)."
        )
    return True


def _are_numbers(texts: Iterable[bytes]) -> bool:
    try:
        for text in texts:
            float(text)
    except ValueError:
        return False
    return True


def _padded(array: Array, lengths: Ints, width: int) -> tuple[Array, Mask]:
    """Bytes (rows, width), 0 where they are padding, and which are real."""
    values, real = Spool(), Spool()
    step = max(1, BLOCK_VALUES // width)
    for start in range(0, len(array), step):
        mask = np.arange(width) < lengths[start : start + step, None]
        block = np.zeros(mask.shape, dtype=np.uint8)
        text = b"".join(_texts(array[start : start + step]))
        block[mask] = np.frombuffer(text, dtype=np.uint8)
        values.append(block)
        real.append(mask)
    shape = (len(array), width)
    return values.array(np.uint8, shape), real.array(np.bool_, shape)
