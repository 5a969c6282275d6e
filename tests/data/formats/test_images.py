"""Columns of encoded images: decoded, of one size or made so, and nothing else is opened."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.saved import IMAGE, save_to_disk
from tuner import data

ROWS = 45
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (ROWS, 8, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (ROWS, 8, 6, 3), dtype=np.uint8)
REST = {"b": RNG.normal(size=(ROWS, 3)).tolist(), "y": (np.arange(ROWS) % 3).tolist()}


def encoded(pixels, format="PNG", **options):  # noqa: A002  # Pillow's word
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def write(path, images):
    kind = IMAGE if isinstance(images[0], dict) else None
    pq.write_table(pa.table({"a": pa.array(images, kind), **REST}), path)
    return path


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.parquet"


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF"])
def test_grey_images_have_one_channel(path, format_):
    write(path, [encoded(pixels, format_) for pixels in GREY])
    np.testing.assert_array_equal(data.read(path).a.values, GREY[:, None])


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"bytes": c, "path": None}])
def test_colours_are_three_channels(path, wrap):
    write(path, [wrap(encoded(pixels)) for pixels in COLOUR])
    np.testing.assert_array_equal(data.read(path).a.values, np.moveaxis(COLOUR, -1, 1))


def test_the_image_feature_of_a_saved_data_set(tmp_path):
    images = pa.array(
        [{"bytes": encoded(p), "path": f"{n}.png"} for n, p in enumerate(GREY)], IMAGE
    )
    folder = save_to_disk(pa.table({"a": images, **REST}), tmp_path / "saved")
    np.testing.assert_array_equal(data.read(folder).a.values[:, 0], GREY)


def test_grey_and_colours_together_are_all_in_colours(path):
    images = [encoded(p) for p in COLOUR]
    images[7] = encoded(GREY[7])
    images[8] = encoded(Image.fromarray(COLOUR[8]).convert("RGBA"))
    write(path, images)
    values = data.read(path).a.values
    np.testing.assert_array_equal(values[7], np.stack([GREY[7]] * 3))
    np.testing.assert_array_equal(values[8], np.moveaxis(COLOUR[8], -1, 0))


def test_sixteen_bits_keep_their_digits(path):
    deep = GREY.astype(np.uint16) * 200
    write(path, [encoded(pixels) for pixels in deep])
    np.testing.assert_array_equal(data.read(path).a.values[:, 0], deep)
    images = [encoded(pixels) for pixels in deep]
    images[3] = encoded(COLOUR[3])
    write(path, images)
    assert "colours (first: row 3) and grey of more than 8 bits (first: row 0" in findings_of(path)


def test_images_are_turned_as_the_camera_was_held(path):
    turned = Image.Exif()
    turned[0x0112] = 6
    options = {"quality": 100, "subsampling": 0, "exif": turned}
    write(path, [encoded(np.full((8, 6, 3), n, np.uint8), "JPEG", **options) for n in range(ROWS)])
    assert data.read(path).a.values.shape == (ROWS, 3, 6, 8)


def test_one_size_is_asked_for(path):
    images = [encoded(pixels) for pixels in GREY]
    images[20] = encoded(GREY[20].T)
    write(path, images)
    text = findings_of(path)
    assert "8 × 6 in row 0 and 6 × 8 in row 20" in text
    flag, size = text.partition("all of them with ")[2].partition(",")[0].split()
    assert flag == "--a-size"
    values = data.read(path, a_size=size).a.values
    assert values.shape == (ROWS, 1, 8, 6)
    np.testing.assert_array_equal(values[:20, 0], GREY[:20])
    assert data.read(path, a_size="4x12").a.values.shape == (ROWS, 1, 4, 12)


def test_only_encoded_images_are_resized(arrays):
    with pytest.raises(data.DataError, match="--a-size resizes encoded images"):
        data.from_arrays(arrays, a_size="8x8")


def test_broken_images_are_named_by_their_row(path):
    images = [encoded(pixels) for pixels in GREY]
    images[4], images[9] = b"hello", b""
    write(path, images)
    text = findings_of(path)
    assert "2 images cannot be decoded (first: row 4, counting from 0" in text
    images = [encoded(pixels) for pixels in COLOUR]
    images[5] = images[5][:-40]
    write(path, images)
    assert "1 image cannot be decoded (first: row 5" in findings_of(path)


def bomb(width, height):
    """A PNG of a few kilobytes that says that it is that large."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(2**20))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 100_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(path, side):
    write(path, [encoded(pixels) for pixels in GREY[:-1]] + [bomb(side, side)])
    text = findings_of(path)
    assert "(first: row 44, counting from 0" in text
    assert "pixels" in text or "cannot be decoded" in text


def test_a_limit_on_all_of_them(path):
    write(path, [encoded(pixels) for pixels in GREY])
    text = findings_of(path, max_bytes=20_000, a_size="100x100")
    assert "it decodes to 450,000 bytes, over the limit of 20,000" in text


def test_programs_are_no_images(path):
    """Pillow would have Ghostscript run PostScript."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 8\n%%EndComments\nshowpage\n"
    write(path, [script] * ROWS)
    assert "it is none of PNG" in findings_of(path)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    (folder / "img").mkdir(parents=True)
    for row, pixels in enumerate(GREY):
        (folder / "img" / f"{row}.png").write_bytes(encoded(pixels))
    frame = pd.DataFrame({"a": [f"img/{row}.png" for row in range(ROWS)], "y": REST["y"]})
    frame["b_0"] = np.arange(ROWS)
    frame.to_csv(folder / "study.csv", index=False)
    return folder


def test_paths_begin_at_the_folder_of_the_data(folder, monkeypatch):
    dataset = data.read(folder / "study.csv", b="b_*")
    np.testing.assert_array_equal(dataset.a.values[:, 0], GREY)
    monkeypatch.chdir(folder / "img")
    assert data.read("../study.csv", b="b_*").fingerprint == dataset.fingerprint


@pytest.mark.parametrize("row", ["../secret.png", "img/../../secret.png", "/etc/secret.png"])
def test_paths_never_lead_out_of_it(folder, row):
    (folder.parent / "secret.png").write_bytes(encoded(GREY[0]))
    frame = pd.read_csv(folder / "study.csv")
    frame.loc[3, "a"] = row
    frame.to_csv(folder / "study.csv", index=False)
    text = findings_of(folder / "study.csv", b="b_*")
    assert f"the path {row!r} in row 3" in text
    assert "leads out of the folder" in text


def test_a_file_that_is_not_there(folder):
    (folder / "img" / "5.png").unlink()
    text = findings_of(folder / "study.csv", b="b_*")
    assert f"there is no file {folder}/img/5.png, which it names in row 5" in text


def test_a_service_follows_no_path(folder):
    text = findings_of(folder / "study.csv", b="b_*", alone=True)
    assert "holds paths of files, which are read only beside data on your own machine" in text
    frame = pd.read_csv(folder / "study.csv")
    images = pa.array([{"bytes": None, "path": path} for path in frame["a"]], IMAGE)
    pq.write_table(pa.table({"a": images, **REST}), folder / "paths.parquet")
    assert "on your own machine" in findings_of(folder / "paths.parquet", alone=True)
    np.testing.assert_array_equal(data.read(folder / "paths.parquet").a.values[:, 0], GREY)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_flipped_bytes_give_an_image_or_an_error(path, format_, flips):
    images = [encoded(pixels, format_) for pixels in COLOUR]
    content = bytearray(images[9])
    for position, flip in flips:
        content[position % len(content)] ^= flip
    write(path, [*images[:9], bytes(content), *images[10:]])
    with contextlib.suppress(data.DataError):
        assert data.read(path).a.values.shape == (ROWS, 3, 8, 6)
