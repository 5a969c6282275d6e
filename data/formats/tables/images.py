"""Decodes columns of encoded images: PNG, JPEG and others, as bytes or as paths of files."""

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.errors import NoRoomError
from tuner.data.memory.spool import Spool
from tuner.data.typing import Array
from tuner.data.validation.findings import counted, listing

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

Size = tuple[int, int]  # height and width, in pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 2**26  # of one image
MAX_FILE_BYTES = 2**28
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # none that runs another program
_GREY = ("1", "L", "LA", "La")
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError, IndexError)


class ImageError(Exception):
    """Images of a column cannot be used; says why and what to do. Never leaves the package."""


@dataclass
class _Survey:
    """What the headers of all images say.

    Attributes:
        rows: How many there are.
        sizes: The first row of each size.
        kinds: The first row of each kind: "grey", "deep" (grey of more than 8 bits), "colour".
        broken: Why rows cannot be used, by row.
        texts: How many of these hold text instead.
    """

    rows: int = 0
    sizes: dict[Size, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    texts: int = 0


def holds_images(column: "pa.Field", first: Callable[[], Any]) -> bool:
    """Whether a column holds images: bytes, bytes and path (as `datasets` has them), or paths.

    Args:
        column: Its name and type.
        first: Gives its first value, which tells paths from other text.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_struct(kind):
        return {"bytes", "path"} == {kind.field(n).name for n in range(kind.num_fields)}
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text and str(first()).lower().endswith(SUFFIXES)


def _is_text(content: bytes) -> bool:
    """Whether bytes are text, as some programs store it: no image is."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def read_images(
    values: Callable[[], Iterator[Any]],
    *,
    size: Size | None,
    flag: str,
    folder: Path | None,
    max_bytes: int,
) -> Array:
    """Decode images to (rows, channels, height, width): one channel if none has colours, else RGB.

    Args:
        values: Gives the values of the column, each time from the first on.
        size: What to resize them to; None if they have to be of one size.
        flag: The option that says so.
        folder: Where paths begin; None if they may not be followed.
        max_bytes: Limit on all of them, decoded.

    Raises:
        ImageError: If they cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are looked at here, and odd metadata
        survey = _survey(_contents(values(), folder))
    _check(survey, size, flag)
    shape = size or next(iter(survey.sizes))
    mode = "RGB" if "colour" in survey.kinds else "F" if "deep" in survey.kinds else "L"
    channels = 3 if mode == "RGB" else 1
    if (total := survey.rows * channels * shape[0] * shape[1]) > max_bytes:
        raise ImageError(
            f"it decodes to {total:,} bytes, over the limit of {max_bytes:,}. Make its images "
            f"smaller with {flag}, or raise the limit (TUNER_MAX_DATA)."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(_contents(values(), folder), mode, (survey.rows, channels, *shape))


def _decode(contents: Iterator[bytes], mode: str, shape: tuple[int, int, int, int]) -> Array:
    dtype, spool = np.dtype("f4" if mode == "F" else "u1"), Spool()
    for row, content in enumerate(contents):
        try:
            spool.append(_decoded(_open(content), mode, shape[2:], dtype))
        except NoRoomError:
            raise
        except _BROKEN as error:
            raise ImageError(_broken({row: str(error)})) from error
    return spool.array(dtype, shape)


def _survey(contents: Iterator[bytes]) -> _Survey:
    survey = _Survey()
    for row, content in enumerate(contents):
        survey.rows += 1
        try:
            image = _open(content)
            size = _upright(image)
        except _BROKEN as error:
            survey.broken[row] = str(error)
            survey.texts += _is_text(content)
            continue
        survey.sizes.setdefault(size, row)
        kind = "grey" if image.mode in _GREY else "deep" if image.mode in _DEEP else "colour"
        survey.kinds.setdefault(kind, row)
    return survey


def _check(survey: _Survey, size: Size | None, flag: str) -> None:
    if survey.broken:
        are_texts = survey.texts == survey.rows
        mend = " If these are texts, save them as such: in pandas .str.decode('utf-8')."
        raise ImageError(_broken(survey.broken) + (mend if are_texts else ""))
    if {"deep", "colour"} <= survey.kinds.keys():
        raise ImageError(
            f"it holds both colours (first: row {survey.kinds['colour']}) and grey of more than 8 "
            f"bits (first: row {survey.kinds['deep']}, counting from 0), which have no scale in "
            "common. Convert one to the other, or choose rows of one kind."
        )
    if size is None and len(survey.sizes) > 1:
        each = [f"{h} × {w} in row {row}" for (h, w), row in survey.sizes.items()]
        height, width = next(iter(survey.sizes))
        raise ImageError(
            f"its images differ in size (height × width): {listing(each, limit=3, show=str)} "
            f"(counting from 0). Resize all of them with {flag} {height}x{width}, for example."
        )


def _broken(rows: dict[int, str]) -> str:
    first, reason = next(iter(rows.items()))
    return (
        f"{counted(len(rows), 'image')} cannot be decoded (first: row {first}, counting from 0: "
        f"{reason[:100]}). Save {'it' if len(rows) == 1 else 'them'} again as PNG or JPEG, or "
        f"drop {'this row' if len(rows) == 1 else 'these rows'}."
    )


def _contents(values: Iterator[Any], folder: Path | None) -> Iterator[bytes]:
    """Yield the bytes of each image."""
    for row, value in enumerate(values):
        path = value
        if isinstance(value, dict):
            value, path = value["bytes"], value["path"]
        if isinstance(value, bytes):
            yield value
        elif path:
            yield _file(str(path), row, folder)
        else:
            raise ImageError(
                f"it has an empty cell in row {row} (counting from 0). Fill it in, or drop the row."
            )


def _file(path: str, row: int, folder: Path | None) -> bytes:
    """Read the file of an image, which has to lie below the folder of the data."""
    if folder is None:
        raise ImageError(
            "it holds paths of files, which are read only beside data on your own machine. Put the "
            "images themselves into the file: as bytes, or decoded."
        )
    if "://" in path:
        raise ImageError(
            f"it holds the address {path!r} in row {row} (counting from 0), and none is fetched. "
            "Download the images to a folder beside the data, and write their paths."
        )
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts or "\0" in path:
        raise ImageError(
            f"it holds the path {path!r} in row {row} (counting from 0), which leads out of the "
            "folder of the data. Write paths relative to that folder."
        )
    file = folder / path
    if not file.is_file():
        raise ImageError(
            f"there is no file {file}, which it names in row {row} (counting from 0). Paths begin "
            "at the folder of the data."
        )
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ImageError(f"the file {file} is too large for an image. Save it smaller.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ImageError(
            f"the file {file} cannot be read: {error.strerror}. Check your rights to read it."
        ) from error


def _open(content: bytes) -> "Image":
    """Read the header of an image.

    Raises:
        OSError, ValueError and others: If it is none, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(_FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width * image.height:,} pixels, over {MAX_PIXELS:,}")
    return image


def _upright(image: "Image") -> Size:
    """Height and width once it is turned as its camera was held."""
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _decoded(image: "Image", mode: str, size: Size, dtype: np.dtype[Any]) -> Array:
    """Decode to (channels, height, width)."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    image = image if image.mode == mode else image.convert(mode)
    if (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=dtype)
    return pixels[None] if mode != "RGB" else np.moveaxis(pixels, -1, 0)
