"""What a data set is: readers, validation, the split, standardisation and the fingerprint."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.data.dataset import Modality, PairedDataset, Split, Task
    from tuner.data.errors import DataError
    from tuner.data.readers import from_arrays, read
    from tuner.data.standardize import Standardizer

__all__ = [
    "DataError",
    "Modality",
    "PairedDataset",
    "Split",
    "Standardizer",
    "Task",
    "from_arrays",
    "read",
]

_HOME = {
    "DataError": "errors",
    "Modality": "dataset",
    "PairedDataset": "dataset",
    "Split": "dataset",
    "Standardizer": "standardize",
    "Task": "dataset",
    "from_arrays": "readers",
    "read": "readers",
}


def __getattr__(name: str) -> Any:
    """Load each where it is asked for: a training of a user's own code reads no data set."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
