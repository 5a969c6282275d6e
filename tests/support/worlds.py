"""Small paired data sets whose answer is known beforehand."""

import numpy as np

from tuner.data import PairedDataset, from_arrays


def helps(seed: int = 0, rows: int = 2000, labelled: int = 120) -> PairedDataset:
    """All label information is shared, and few training pairs are labelled.

    The two modalities see the same two latents, each among ten strong nuisances of its own: what
    they have in common is what the label needs, and the unlabelled pairs show it.
    """
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(rows, 2))
    y = (np.sign(shared[:, 0]) + 1 + (np.sign(shared[:, 1]) + 1) / 2).astype(np.int64)
    split = np.repeat([0, 1, 2], [rows // 2, rows // 4, rows // 4]).astype(np.int8)
    y[labelled : rows // 2] = -1
    return from_arrays(
        {"a": _view(shared, 10, rng), "b": _view(shared, 10, rng), "y": y, "split": split},
        name="helps",
        seed=seed,
    )


def hurts(seed: int = 0, rows: int = 900) -> PairedDataset:
    """Each modality has label information of its own, and what they share is worth nothing.

    Eight shared latents crowd the label's own latents out of a narrow embedding.
    """
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(rows, 8))
    own_a, own_b = rng.normal(size=(2, rows, 2))
    y = (own_a.sum(1) + own_b.sum(1) > 0).astype(np.int64)
    return from_arrays(
        {
            "a": _view(np.hstack([shared, own_a]), 2, rng),
            "b": _view(np.hstack([shared, own_b]), 2, rng),
            "y": y,
        },
        name="hurts",
        seed=seed,
    )


def null(seed: int, rows: int = 400) -> PairedDataset:
    """The label is independent of both modalities, which share half of their latents."""
    rng = np.random.default_rng([seed, 7])
    shared = rng.normal(size=(rows, 4))
    y = rng.integers(0, 2, rows)
    return from_arrays(
        {"a": _view(shared, 4, rng), "b": _view(shared, 4, rng), "y": y}, name="null", seed=seed
    )


def regression(seed: int, rows: int = 400) -> PairedDataset:
    """A label of real numbers, far from 0, that both modalities know something about."""
    rng = np.random.default_rng([seed, 11])
    shared = rng.normal(size=(rows, 3))
    y = (50 + 5 * shared[:, 0]).astype(np.float32)
    return from_arrays(
        {"a": _view(shared, 3, rng), "b": _view(shared, 3, rng), "y": y}, name="line", seed=seed
    )


def _view(latents: np.ndarray, nuisances: int, rng: np.random.Generator) -> np.ndarray:
    """Mix latents with a modality's own nuisances by a random rotation, with a little noise."""
    full = np.hstack([latents, rng.normal(size=(len(latents), nuisances))])
    rotation, _ = np.linalg.qr(rng.normal(size=(full.shape[1],) * 2))
    return (full @ rotation + 0.1 * rng.normal(size=full.shape)).astype(np.float32)
