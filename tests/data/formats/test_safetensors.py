"""Files of .safetensors, good, damaged and hostile."""

import contextlib
import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors
from safetensors import torch as torch_safetensors

from tuner import data
from tuner.data.inspection import inspect


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.safetensors"


def findings_of(path, **options):
    with pytest.raises(data.DataError) as caught:
        data.read(path, **options)
    return "\n".join(caught.value.findings)


def write(path, header, body=b"\0" * 2000):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_what_its_own_library_wrote(path, arrays):
    safetensors.save_file(arrays, path, metadata={"made by": "a test"})
    dataset = data.read(path)
    assert dataset.fingerprint == data.from_arrays(arrays).fingerprint
    assert data.read(path, alone=True).rows == 60


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "float16", "float32", "float64"]
)
def test_every_type_of_numbers(path, arrays, dtype):
    arrays["a"] = (8 * arrays["a"].clip(0)).astype(dtype)
    safetensors.save_file(arrays, path)
    assert data.read(path).fingerprint == data.from_arrays(arrays).fingerprint


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_small_types(path, arrays, dtype):
    small = torch.from_numpy(arrays["a"]).to(dtype)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch_safetensors.save_file(tensors | {"a": small}, path)
    expected = small.to(torch.float32).numpy()
    np.testing.assert_array_equal(data.read(path).a.values, expected)
    kinds = {array.name: (array.kind, array.shape) for array in inspect(path).arrays}
    assert kinds["a"] == (str(dtype).removeprefix("torch."), (60, 4))


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_small_types_of_arrays(arrays, name):
    small = arrays["a"].astype(getattr(ml_dtypes, name))
    dataset = data.from_arrays(arrays | {"a": small})
    np.testing.assert_array_equal(dataset.a.values, small.astype(np.float32))


def test_columns_of_a_pattern(path, arrays):
    columns = {f"x_{n}": arrays["a"][:, n].copy() for n in range(4)}
    safetensors.save_file(arrays | columns, path)
    dataset = data.read(path, a="x_*")
    np.testing.assert_array_equal(dataset.a.values, arrays["a"])


ENTRY = {"dtype": "F32", "shape": [60, 4], "data_offsets": [0, 960]}
LIES = {
    "no fields": ({}, "header is damaged"),
    "a list": ([1], "header is damaged"),
    "more than there is": (ENTRY | {"data_offsets": [0, 99999], "shape": [99999]}, "399,996 bytes"),
    "beyond the end": (ENTRY | {"data_offsets": [1500, 2460]}, "which are not there"),
    "before the beginning": (ENTRY | {"data_offsets": [-960, 0]}, "which are not there"),
    "less than there is": (ENTRY | {"shape": [59, 4]}, "944 bytes"),
    "negative": (ENTRY | {"shape": [-60, -4]}, "negative shape"),
    "overflowing": (ENTRY | {"shape": [2**62, 2**62]}, "beyond any limit"),
    "many axes": (ENTRY | {"shape": [1] * 40}, "40 axes"),
    "shape of truth": (ENTRY | {"shape": [True, 4]}, "damaged (shape)"),
    "shape of fractions": (ENTRY | {"shape": [60.0, 4]}, "damaged (shape)"),
    "offsets of fractions": (ENTRY | {"data_offsets": [0.0, 960]}, "header is damaged"),
    "another type": (ENTRY | {"dtype": "F4"}, "of type 'F4'. Save it as float32"),
    "no type": (ENTRY | {"dtype": 7}, "header is damaged"),
}


@pytest.mark.parametrize(("entry", "words"), LIES.values(), ids=LIES.keys())
def test_a_lying_array_is_refused(path, entry, words):
    write(path, {"a": entry, "b": ENTRY, "y": ENTRY | {"shape": [240]}})
    text = findings_of(path)
    assert text.startswith("array 'a' cannot be read: ")
    assert words in text


NO_FILES = {
    "empty": b"",
    "short": b"\1\0",
    "a header that is not there": (2**40).to_bytes(8, "little") + b"{}",
    "a header of nothing": bytes(8),
    "no JSON": b"\2\0\0\0\0\0\0\0{]",
    "a list": b"\2\0\0\0\0\0\0\0[]",
    "deep nesting": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a name twice": b"\x11\0\0\0\0\0\0\0" + b'{"a": 1, "a": 2}' + b" ",
    "a pickle": b"\x80\x04\x95\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("content", NO_FILES.values(), ids=NO_FILES.keys())
def test_what_is_no_such_file(path, content):
    path.write_bytes(content)
    tracemalloc.start()
    assert "save it again" in findings_of(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.slow
def test_a_file_cut_short_anywhere_is_refused(path, make):
    safetensors.save_file(make(rows=30), path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        findings_of(path)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_give_valid_data_or_an_error(make, path, changes):
    safetensors.save_file(make(rows=30), path)
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content)
    with contextlib.suppress(data.DataError):
        assert np.isfinite(data.read(path).a.values).all()
