"""Archives that are damaged, hostile or simply not archives."""

import contextlib
import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner import data


class Exploding:
    """Cannot be unpickled without a test noticing."""

    def __reduce__(self):
        return pytest.fail, ("something was unpickled",)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.npz"


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def header(text, body=b"", version=b"\x01\x00"):
    data_ = text.encode()
    size = len(data_).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + data_ + body


def described(descr="'<f4'", order="False", shape="(60, 4)", body=b"\0" * 960):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}", body)


def write(path, arrays, compression=zipfile.ZIP_DEFLATED, **members):
    """Write arrays, each replaced by the raw bytes that are given for its name."""
    contents = {name: npy(array) for name, array in arrays.items()} | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


def pickled_array():
    return npy(np.array([Exploding()] * 60, dtype=object))


LIES = {
    "objects": (pickled_array, ["is an object array", "nothing is ever unpickled", ".astype"]),
    "objects inside": (lambda: described("[('x', '|O')]"), ["structured array"]),
    "fields": (lambda: described("[('x', '<f4')]"), ["structured array", "Save each field"]),
    "sub-arrays": (lambda: described("('<f4', (2,))"), ["structured array"]),
    "unknown type": (lambda: described("'<q9'"), ["unknown type '<q9'"]),
    "impossible type": (lambda: described("'<f3'"), ["unknown type '<f3'"]),
    "type of size 0": (lambda: described("'<U0'", shape="(10**9,)"), ["header is damaged"]),
    "letters of size 0": (lambda: described("'<U0'", shape="(999999999,)"), ["size 0"]),
    "more than there is": (
        lambda: described(shape="(1000000000, 4)"),
        ["declares shape (1000000000, 4) of float32, 16,000,000,000 bytes, but 960 bytes follow"],
    ),
    "less than there is": (lambda: described(shape="(59, 4)"), ["944 bytes, but 960 bytes follow"]),
    "negative": (lambda: described(shape="(-60, -4)"), ["negative shape (-60, -4)"]),
    "overflowing": (
        lambda: described(shape=f"({2**62}, {2**62})"),
        ["a shape of 2 axes beyond any limit"],
    ),
    "empty and overflowing": (
        lambda: described(shape=f"(0, {2**62}, {2**62})", body=b""),
        ["beyond any limit"],
    ),
    "many axes": (lambda: described(shape=str((1,) * 40)), ["40 axes"]),
    "shape of truth": (lambda: described(shape="(True, 4)"), ["damaged (shape)"]),
    "order of 1": (lambda: described(order="1"), ["damaged (fortran_order)"]),
    "no dictionary": (lambda: header("[1, 2]"), ["header is damaged"]),
    "no literal": (lambda: header("__import__('os').abort()"), ["header is damaged"]),
    "deep nesting": (lambda: header("(" * 9000), ["header is damaged"]),
    "long header": (
        lambda: header(" " * 20_000, version=b"\x02\x00"),
        ["20,000 bytes long (limit 10,000)"],
    ),
    "length of the header": (
        lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
        ["4,294,967,295 bytes long"],
    ),
    "short header": (lambda: b"\x93NUMPY\x01\x00\xff\x00{}", ["ends after 2 bytes of 255"]),
    "other version": (lambda: b"\x93NUMPY\x09\x00\x00\x00", ["not a .npy array"]),
    "no array": (lambda: b"hello", ["ends after 5 bytes of 8"]),
    "pickle": (lambda: pickle.dumps(Exploding()), ["not a .npy array"]),
}


@pytest.mark.parametrize(("content", "words"), LIES.values(), ids=LIES.keys())
def test_a_lying_array_is_refused_before_it_is_loaded(arrays, path, content, words):
    write(path, arrays, a=content())
    text = findings_of(path)
    assert text.startswith("array 'a' cannot be read: ")
    for word in words:
        assert word in text


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(arrays, path, version):
    write(path, arrays, a=npy(arrays["a"], version=version))
    np.testing.assert_array_equal(data.read(path).a.values, arrays["a"])


def test_all_broken_arrays_are_named_with_what_is_wrong_in_the_others(arrays, path):
    bad = arrays | {"y": arrays["y"][:, None]}
    write(path, bad, a=pickled_array(), b=described(shape="(9,)"))
    text = findings_of(path)
    assert "array 'a' cannot be read" in text
    assert "array 'b' cannot be read" in text
    assert "array 'y' has shape (60, 1)" in text


def test_arrays_that_were_not_chosen_stay_unread(arrays, path):
    write(path, arrays, notes=pickled_array())
    assert data.read(path).rows == 60


NOT_ARCHIVES = {
    "empty": (b"", "is empty (0 bytes)"),
    "text": (b"not found", "is not a whole .npz archive"),
    "single array": (npy(np.zeros(3)), "is a single .npy array"),
    "pickle": (pickle.dumps(Exploding()), "is a pickle, and nothing is ever unpickled"),
    "no members": (b"PK\x05\x06" + b"\0" * 18, "there are no arrays at all"),
}


@pytest.mark.parametrize(("content", "words"), NOT_ARCHIVES.values(), ids=NOT_ARCHIVES.keys())
def test_what_is_no_archive(path, content, words):
    path.write_bytes(content)
    assert words in findings_of(path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.npy", "x/../../a.npy", "C:/a.npy", "..\\a.npy", "\\a.npy"]
)
def test_unsafe_member_names_are_refused(arrays, path, name):
    write(path, arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    text = findings_of(path)
    assert "1 member with an absolute or parent path" in text
    assert repr(name) in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["a.npy", "a"])
def test_one_name_twice_is_refused(arrays, path, name):
    write(path, arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, npy(arrays["a"] + 1))
    assert "more than one array called 'a'" in findings_of(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(arrays, path, compression):
    write(path, arrays, compression)
    assert "is packed by a method that NumPy does not use" in findings_of(path)


def patched(content, name, offset, value):
    """Overwrite a field in the directory entry of one member."""
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    return content[: entry + offset] + value + content[entry + offset + len(value) :]


def test_encryption_is_refused(arrays, path):
    write(path, arrays)
    path.write_bytes(patched(path.read_bytes(), "a.npy", 8, b"\x01\x00"))
    assert "is encrypted ('a.npy')" in findings_of(path)


def test_a_declared_size_over_the_limit_is_refused(arrays, path):
    write(path, arrays)
    path.write_bytes(patched(path.read_bytes(), "a.npy", 24, b"\xff\xff\xff\xfe"))
    assert "'a' would unpack from" in findings_of(path)
    write(path, arrays)
    assert "over the limit of 1.0 KiB" in findings_of(path, max_bytes=1024)


def test_numbers_that_grow_on_the_way_to_float32_are_bounded(arrays, path):
    arrays["a"] = np.arange(60 * 200, dtype=np.uint8).reshape(60, 200)
    write(path, arrays)
    assert data.read(path, max_bytes=4 * 60 * 200).rows == 60
    text = findings_of(path, max_bytes=4 * 60 * 200 - 1)
    assert "array 'a' takes 48,000 bytes as float32, over the limit of 47,999" in text


def test_a_declared_size_that_the_bytes_do_not_back_is_refused(arrays, path):
    write(path, arrays)
    path.write_bytes(patched(path.read_bytes(), "a.npy", 24, (2**25).to_bytes(4, "little")))
    text = findings_of(path)
    assert "array 'a'" in text
    assert "follow" in text


def test_a_checksum_that_does_not_fit_is_refused(arrays, path):
    write(path, arrays, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(arrays["a"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    text = findings_of(path)
    assert "array 'a' is damaged (Bad CRC-32" in text
    assert "Copy the file or save it again" in text


def peak_of_reading(path):
    tracemalloc.start()
    try:
        text = findings_of(path)
        return text, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_zip_bomb_is_refused_in_little_memory(arrays, path):
    size = 200 * 2**20
    start = described(shape=f"({size // 16}, 4)", body=b"")
    write(path, arrays, a=start + bytes(size))
    assert path.stat().st_size < 2**19
    text, peak = peak_of_reading(path)
    assert "as a zip bomb does" in text
    assert "numpy.savez" in text
    assert peak < 4 * 2**20


def test_a_lie_about_the_size_takes_little_memory(arrays, path):
    # Stored, so that the ratio tells nothing: header and directory say 4 GB, and 1 KB is there.
    write(path, arrays, zipfile.ZIP_STORED, a=described(shape="(250000000, 4)"))
    size = (4_000_000_000 + len(described(shape="(250000000, 4)", body=b""))).to_bytes(4, "little")
    content = patched(path.read_bytes(), "a.npy", 20, size)
    path.write_bytes(patched(content, "a.npy", 24, size))
    text, peak = peak_of_reading(path)
    assert "array 'a'" in text
    assert peak < 8 * 2**20


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_cut_short_anywhere_is_refused(make, path, save):
    save(path, **make(rows=30))
    content = path.read_bytes()
    for length in [*range(0, len(content), 7), *range(len(content) - 60, len(content))]:
        path.write_bytes(content[:length])
        findings_of(path)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=6))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes_give_valid_data_or_an_error(make, path, save, flips):
    save(path, **make(rows=30))
    content = bytearray(path.read_bytes())
    for position, flip in flips:
        content[position % len(content)] ^= flip
    path.write_bytes(content)
    assert_valid_or_refused(path)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_with_a_right_checksum_and_wrong_bytes(make, path, changes):
    arrays = make(rows=30)
    contents = {name: bytearray(npy(array)) for name, array in arrays.items()}
    for position, value in changes:
        for content in contents.values():
            content[position] = value
    write(path, {}, **{name: bytes(content) for name, content in contents.items()})
    assert_valid_or_refused(path)


def assert_valid_or_refused(path):
    with contextlib.suppress(data.DataError):
        dataset = data.read(path)
        assert np.isfinite(dataset.a.values).all()
        assert len(dataset.a.values) == len(dataset.b.values) == dataset.rows >= 30
