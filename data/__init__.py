"""What a data set is: readers, validation, the split, standardisation and the fingerprint."""

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
