"""What to do with files of formats that are not read: the lines that convert them."""

from pathlib import Path, PurePath

from tuner.data.formats.tables.images import SUFFIXES

_PICKLED = """\
import numpy, pandas
arrays = pandas.read_pickle({path!r})  # only from someone you trust: unpickling runs code
numpy.savez({saved!r}, **{{name: numpy.array(list(values)) for name, values in arrays.items()}})"""
_TORCH = """\
import numpy, torch
arrays = torch.load({path!r}, weights_only=True, map_location='cpu')  # {unnamed}
numpy.savez({saved!r}, **{{n: {plain} for n, x in arrays.items()}})\
""".replace("{plain}", "x.float() if getattr(x, 'dtype', 0) == torch.bfloat16 else x").replace(
    "{unnamed}", "of a tuple, dict(zip('aby', arrays))"
)
_MATLAB = """\
import numpy, scipy.io
arrays = {{n: x for n, x in scipy.io.loadmat({path!r}, squeeze_me=True).items() if n[0] != '_'}}
numpy.savez({saved!r}, **{{n: {text} if x.dtype.kind in 'OU' else x for n, x in arrays.items()}})\
""".replace("{text}", "numpy.char.rstrip(x.astype(str))")
_MATLAB_7_3 = """\
import h5py, numpy  # pip install h5py
arrays = {{n: x[()].T for n, x in h5py.File({path!r}).items() if hasattr(x, 'shape')}}
numpy.savez({saved!r}, **{{name: values.squeeze() for name, values in arrays.items()}})"""
_HDF5 = """\
import h5py, numpy  # pip install h5py
arrays = {{}}; h5py.File({path!r}).visititems(lambda n, x: arrays.update({array}))
numpy.savez({saved!r}, **{{n: {text} if x.dtype == object else x for n, x in arrays.items()}})\
""".replace("{text}", "x.astype('S')").replace(
    "{array}", "{{n.replace('/', '_'): x[()]}} if getattr(x, 'shape', ()) else {{}}"
)
_FRAME = """\
import pandas
frame = pandas.{reader}
frame.to_parquet({table!r})"""

_GZIP = """\
import gzip, pathlib
content = gzip.open({path!r}).read()
pathlib.Path({inner!r}).write_bytes(content)"""

_LINES = {
    **dict.fromkeys((".pkl", ".pickle"), _PICKLED),
    **dict.fromkeys((".pt", ".pth"), _TORCH),
    ".mat": _MATLAB,
    **dict.fromkeys((".h5", ".hdf5"), _HDF5),
    ".gz": _GZIP,
    ".feather": _FRAME.replace("{reader}", "read_feather({path!r})"),
    ".json": _FRAME.replace("{reader}", "read_json({path!r})"),
    ".jsonl": _FRAME.replace("{reader}", "read_json({path!r}, lines=True)"),
    ".xlsx": _FRAME.replace("{reader}", "read_excel({path!r})").replace(
        "import pandas", "import pandas  # pip install openpyxl", 1
    ),
}
_IMAGES = """\
import pandas, pathlib
folder = pathlib.Path({folder!r})
paths = sorted(p.relative_to(folder) for p in folder.rglob('*') if p.suffix.lower() in {suffixes})
frame = pandas.DataFrame({{'a': map(str, paths), 'y': [p.parent.name for p in paths]}})
frame['b'] = captions  # or another modality: one for each of the paths
frame.to_csv(folder / 'pairs.csv', index=False)"""


def conversion(path: PurePath, start: bytes) -> str | None:
    """Say how to convert a file that is not read; None if that is not known.

    Args:
        path: Where it is.
        start: Its first bytes.
    """
    lines = _LINES.get(path.suffix.lower())
    if lines == _MATLAB and start.startswith(b"MATLAB 7.3"):
        lines = _MATLAB_7_3
    if lines is None:
        return None
    saved, table = (str(path.with_suffix(suffix)) for suffix in (".npz", ".parquet"))
    names = {"path": str(path), "inner": str(path.with_suffix(""))}
    text = lines.format(**names, saved=saved, table=table)
    return f"is a {path.suffix} file, which is not read. Convert it in Python:\n{_indented(text)}"


def listing_of_images(folder: Path) -> str | None:
    """Say how to list the images of a folder in a table; None if it holds none."""
    found = {path.suffix for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    if not found:
        return None
    suffixes = tuple(sorted({suffix.lower() for suffix in found}))
    text = _IMAGES.format(folder=str(folder), suffixes=suffixes)
    return (
        "is a folder of images, and no table says what belongs to each. List them in Python (here "
        f"the name of an image's folder is its label):\n{_indented(text)}"
    )


def _indented(lines: str) -> str:
    return "\n".join(f"    {line}" for line in lines.splitlines())
