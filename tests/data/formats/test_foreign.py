"""Formats that are not read are refused with three lines that convert them: these are followed."""

import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch

from tuner import data


@pytest.fixture
def named(arrays):
    """Labels are text, which other formats store in ways of their own."""
    return arrays | {"y": np.array(["no", "yes", "perhaps"])[arrays["y"]]}


def write_torch(path, arrays):
    numbers = np.unique(arrays["y"], return_inverse=True)[1]
    torch.save({n: torch.from_numpy(x) for n, x in (arrays | {"y": numbers}).items()}, path)


def write_pickle(path, arrays):
    path.write_bytes(pickle.dumps(arrays))


def write_pickled_frame(path, arrays):
    pd.DataFrame({name: array.tolist() for name, array in arrays.items()}).to_pickle(path)


def write_matlab(path, arrays):
    scipy.io.savemat(path, arrays)


def write_matlab_7_3(path, arrays):
    """As MATLAB does: HDF5 behind a header of its own, axes in the order of Fortran."""
    numbers = np.unique(arrays["y"], return_inverse=True)[1]
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in (arrays | {"y": numbers[:, None]}).items():
            file[name] = array.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def write_hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array.tolist() if array.dtype.kind == "U" else array


FORMATS = {
    ".pt": write_torch,
    ".pth": write_torch,
    ".pkl": write_pickle,
    ".pickle": write_pickled_frame,
    ".mat": write_matlab,
    ".MAT": write_matlab_7_3,
    ".h5": write_hdf5,
    ".hdf5": write_hdf5,
    ".feather": lambda path, arrays: frame_of(arrays).to_feather(path),
    ".json": lambda path, arrays: frame_of(arrays).to_json(path),
    ".jsonl": lambda path, arrays: frame_of(arrays).to_json(path, orient="records", lines=True),
}


def frame_of(arrays):
    return pd.DataFrame({name: array.tolist() for name, array in arrays.items()})


@pytest.mark.parametrize(("suffix", "write"), FORMATS.items(), ids=FORMATS.keys())
def test_the_lines_convert_it(tmp_path, named, suffix, write):
    path = tmp_path / f"it's{suffix}"
    write(path, named)
    with pytest.raises(data.DataError) as caught:
        data.read(path)
    (finding,) = caught.value.findings
    lines = [line.strip() for line in finding.splitlines()[1:]]
    assert len(lines) == 3
    exec("\n".join(lines), {})
    (converted,) = set(tmp_path.iterdir()) - {path}
    dataset = data.read(converted)
    np.testing.assert_allclose(dataset.a.values, named["a"], rtol=1e-6)
    np.testing.assert_allclose(dataset.b.values, named["b"], rtol=1e-6)
    y = named["y"]
    assert [dataset.classes[code] for code in dataset.y] in (
        y.tolist(),
        np.unique(y, return_inverse=True)[1].tolist(),
    )
