"""Formats that are not read are refused with three lines that convert them: these are followed."""

import pickle
import zipfile
from importlib.util import find_spec

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from PIL import Image

from tuner import data
from tuner.data.inspection import inspect


@pytest.fixture
def named(arrays):
    """Labels are text, which other formats store in ways of their own."""
    return arrays | {"y": np.array(["no", "yes", "perhaps"])[arrays["y"]]}


def write_torch(path, arrays):
    numbers = np.unique(arrays["y"], return_inverse=True)[1]
    torch.save({n: torch.from_numpy(x) for n, x in (arrays | {"y": numbers}).items()}, path)


def write_torch_half(path, arrays):
    """Embeddings of bfloat16, which NumPy has not; these hold 8 bits."""
    numbers = np.unique(arrays["y"], return_inverse=True)[1]
    tensors = {n: torch.from_numpy(x) for n, x in (arrays | {"y": numbers}).items()}
    torch.save(tensors | {"a": tensors["a"].bfloat16()}, path)


def write_nested_hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        file["version"] = "1.2"
        for name, array in arrays.items():
            file[f"train/{name}"] = array.tolist() if array.dtype.kind == "U" else array


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


def lines_of(finding):
    return [line.strip() for line in finding.splitlines()[1:]]


@pytest.mark.parametrize(("suffix", "write"), FORMATS.items(), ids=FORMATS.keys())
def test_the_lines_convert_it(tmp_path, named, suffix, write):
    path = tmp_path / f"it's{suffix}"
    write(path, named)
    with pytest.raises(data.DataError) as caught:
        data.read(path)
    (finding,) = caught.value.findings
    lines = lines_of(finding)
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


_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/xl/sheet.xml" ContentType="{_TYPES}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="sheet.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="data" sheetId="1" r:id="r1"/></sheets></workbook>',
}


def write_excel(path, columns):
    """The least that is a workbook: ECMA-376, part 1, section 12."""

    def cell(value):
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value!r}</v></c>"

    rows = [list(columns), *zip(*columns.values(), strict=True)]
    sheet = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in _PARTS.items():
            file.writestr(name, content)
        file.writestr(
            "xl/sheet.xml",
            f'<worksheet xmlns="{_SHEET}"><sheetData>{sheet}</sheetData></worksheet>',
        )


def test_the_lines_for_a_workbook_say_what_they_need(tmp_path, named):
    path = tmp_path / "study.xlsx"
    columns = {f"a{n}": named["a"][:, n].tolist() for n in range(4)}
    write_excel(path, columns | {"b0": named["b"][:, 0, 0].tolist(), "y": named["y"].tolist()})
    with pytest.raises(data.DataError) as caught:
        data.read(path)
    lines = lines_of(caught.value.findings[0])
    assert lines[0] == "import pandas  # pip install openpyxl"
    if find_spec("openpyxl") is None:
        with pytest.raises(ImportError, match="install the openpyxl"):
            exec("\n".join(lines), {})
        return
    exec("\n".join(lines), {})
    dataset = data.read(tmp_path / "study.parquet", a="a*", b="b*")
    np.testing.assert_allclose(dataset.a.values, named["a"], rtol=1e-6)
    assert [dataset.classes[code] for code in dataset.y] == named["y"].tolist()


def test_a_folder_of_images_is_told_how_to_be_listed(tmp_path):
    rng = np.random.default_rng(0)
    for row in range(60):
        folder = tmp_path / "animals" / ("cat", "dog")[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 255, (8, 6), dtype=np.uint8))
        image.save(folder / f"{row:02}.{('png', 'JPG')[row % 3 > 0]}")
    (finding,) = inspect(tmp_path / "animals").errors
    captions = [f"number {row}" for row in range(60)]
    exec("\n".join(lines_of(finding)), {"captions": captions})
    dataset = data.read(tmp_path / "animals" / "pairs.csv")
    assert dataset.a.values.shape == (60, 1, 8, 6)
    assert np.bincount(dataset.y).tolist() == [30, 30]
    assert dataset.classes == ("cat", "dog")
    assert data.read(tmp_path / "animals").fingerprint == dataset.fingerprint


def follow(path, **names):
    with pytest.raises(data.DataError) as caught:
        data.read(path)
    exec("\n".join(lines_of(caught.value.findings[0])), names)


def test_the_lines_for_tensors_take_what_numpy_has_not(tmp_path, named):
    write_torch_half(tmp_path / "x.pt", named)
    follow(tmp_path / "x.pt")
    dataset = data.read(tmp_path / "x.npz")
    expected = torch.from_numpy(named["a"]).bfloat16().float().numpy()
    np.testing.assert_array_equal(dataset.a.values, expected)
    assert dataset.classes == (0, 1, 2)


def test_the_lines_for_hdf5_take_groups(tmp_path, named):
    write_nested_hdf5(tmp_path / "x.h5", named)
    follow(tmp_path / "x.h5")
    dataset = data.read(tmp_path / "x.npz", a="train_a", b="train_b", y="train_y")
    assert dataset.classes == ("no", "perhaps", "yes")


def test_the_lines_for_gzip_unpack_it(tmp_path, named):
    columns = {f"a{n}": named["a"][:, n] for n in range(4)} | {"b0": named["b"][:, 0, 0]}
    pd.DataFrame(columns | {"y": named["y"]}).to_csv(tmp_path / "x.csv.gz", index=False)
    follow(tmp_path / "x.csv.gz")
    assert data.read(tmp_path / "x.csv", a="a*", b="b*").a.values.shape == (60, 4)


def test_a_table_of_another_suffix_is_renamed(tmp_path, named):
    columns = {f"a{n}": named["a"][:, n] for n in range(4)} | {"b0": named["b"][:, 0, 0]}
    path = tmp_path / "x.txt"
    pd.DataFrame(columns | {"y": named["y"]}).to_csv(path, index=False, sep="\t")
    with pytest.raises(data.DataError, match="a table in plain text, rename"):
        data.read(path)
    assert data.read(path.rename(path.with_suffix(".csv")), a="a*", b="b*").rows == 60
