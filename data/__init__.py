"""What a data set is: readers, validation, the split, standardisation and the fingerprint."""

from data.dataset import Modality, PairedDataset, Split, Task
from data.errors import DataError
from data.readers import from_arrays, read
from data.standardize import Standardizer

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
