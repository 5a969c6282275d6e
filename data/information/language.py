"""Describes rows of text or of ids of tokens by what they are made of: hashed n-grams, weighted."""

from typing import TYPE_CHECKING

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.memory.blocks import BLOCK_VALUES
from tuner.data.typing import Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BUCKETS = 2**18
_SIZES = {"text": (3, 4, 5, 6), "tokens": (1, 2)}  # of n-grams, in bytes or tokens
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Fibonacci hashing


def topics(modality: Modality, rows: Ints, count: int, seed: int) -> Floats:
    """Latent semantic analysis (Deerwester et al. 1990) of tf-idf weighted n-grams.

    Args:
        modality: Text, or ids of tokens.
        rows: Which rows.
        count: Of components, at most.
        seed: Of the randomised decomposition.

    Returns:
        (rows, components), centred.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = _counts(modality, rows)
    counts = counts[:, np.unique(counts.indices)]
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    # One more than is asked for: of rows that are not centred, the first is their mean.
    wanted = max(1, min(count + 1, min(weighted.shape) - 1))
    scores = TruncatedSVD(wanted, random_state=seed).fit_transform(weighted)
    centred: Floats = scores - scores.mean(0)
    return centred


def _counts(modality: Modality, rows: Ints) -> "csr_array":
    """How often each hashed n-gram is in each row, (rows, buckets)."""
    from scipy.sparse import csr_array, vstack

    assert modality.mask is not None
    step = max(1, BLOCK_VALUES // modality.values.shape[1])
    blocks = []
    for start in range(0, len(rows), step):
        index = rows[start : start + step]
        real = modality.mask[index]
        places = [_hashed(modality.values[index], size)[real] for size in _SIZES[modality.holds]]
        row = np.tile(np.nonzero(real)[0], len(places))
        ones = np.ones(len(row))
        shape = (len(index), _BUCKETS)
        blocks.append(csr_array((ones, (row, np.concatenate(places))), shape=shape))
    return vstack(blocks, format="csr")


def _hashed(values: Floats, size: int) -> Ints:
    """Buckets of the n-grams that end at each place, (rows, places); before the first are zeros."""
    padded = np.pad(values.astype(np.uint64) + np.uint64(1), ((0, 0), (size - 1, 0)))
    hashed = np.full(values.shape, size, dtype=np.uint64)
    for back in range(size):
        hashed = (hashed + padded[:, back : back + values.shape[1]]) * _FACTOR
    return (hashed >> np.uint64(64 - 18)).astype(np.int64)
