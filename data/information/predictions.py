"""What each modality lets one predict of the label, on rows the predictor did not see."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.information.language import topics
from tuner.data.information.sampling import FOLDS, folds, halves
from tuner.data.typing import Floats, Ints, Mask

_COMPONENTS = 32
_CROSSED = 12  # components of each modality whose products a joint predictor sees
_WAVES = 128  # random Fourier features
_POOLED = 16  # pixels a side that an image is averaged to
_PENALTIES = np.geomspace(1e-4, 1e2, 7)  # per row
_FEWEST_SYMBOLS, _MOST_SYMBOLS = 8, 12  # where rows allow


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbols:
    """Predictions of a label from A, from B and from both, each turned into few symbols.

    Attributes:
        a: (rows,) codes of the predictions from A.
        b: The same from B.
        both: The same from A and B together, their products included.
    """

    a: Ints
    b: Ints
    both: Ints


def components(modality: Modality, rows: Ints, seed: int) -> Floats:
    """Leading principal components of standardised features, halfway to unit variance.

    Whitened in full, a component of mere noise would count as much as any in the distances that
    random Fourier features rest on; not at all, a weak one that the label needs would vanish.

    A sequence counts as mean and standard deviation over its real steps, an image as its pixels
    (averaged to at most 16 a side), text as its n-grams (see `tuner.data.information.language`).

    Args:
        modality: What to describe.
        rows: Which rows.
        seed: Of the randomised decomposition of wide data.

    Returns:
        (rows, at most 32).
    """
    if modality.holds == "numbers":
        scores = _principal(_as_vectors(modality, rows), seed)
    else:
        scores = topics(modality, rows, _COMPONENTS, seed)
    spread = scores.std(0)
    kept = spread > 1e-6 * spread.max(initial=0)
    halfway: Floats = scores[:, kept] / np.sqrt(spread[kept] * spread.max(initial=0))
    return halfway


def _principal(features: Floats, seed: int) -> Floats:
    """Principal components of standardised features, (rows, at most 32)."""
    from sklearn.decomposition import PCA

    scale = features.std(0)
    features = (features - features.mean(0)) / np.where(scale > 0, scale, 1)
    count = min(_COMPONENTS, features.shape[1], len(features) - 1)
    scores: Floats = PCA(count, svd_solver="auto", random_state=seed).fit_transform(features)
    return scores


def predict_symbols(
    a: Floats,
    b: Floats,
    y: Ints,
    group: Ints | None = None,
    *,
    seed: int,
    half: Literal[0, 1] | None = None,
) -> Symbols:
    """Cross-fit predictors of the label and cluster what they say.

    Each predictor is a ridge regression of the label's indicators on components and random
    Fourier features of them (Rahimi and Recht 2007); the joint one also sees products of A's and
    B's components, without which an interaction is out of its sight. Folds are stratified.

    Args:
        a: Components of A, (rows, features).
        b: Components of B.
        y: Label codes from 0, (rows,).
        group: Numbers from 0 on, (rows,), equal for rows of one group; None without groups.
        seed: Of folds, features and clusters.
        half: Fit to one random half of each fold's training rows, or groups, only.
    """
    rng = np.random.default_rng([seed, 1])
    fold = folds(y, group, rng)
    coin = halves(len(y), group, rng)
    used = np.ones(len(y), dtype=bool) if half is None else coin == half
    crossed = (a[:, :_CROSSED, None] * b[:, None, :_CROSSED]).reshape(len(a), -1)
    designs = {
        "a": np.hstack([a, waves(a, rng)]),
        "b": np.hstack([b, waves(b, rng)]),
        "both": np.hstack([a, b, crossed, waves(np.hstack([a, b]), rng)]),
    }
    return Symbols(
        **{
            name: _clusters(out_of_fold(design, y, fold, used), y, seed)
            for name, design in designs.items()
        }
    )


def _as_vectors(modality: Modality, rows: Ints) -> Floats:
    values = modality.values[rows].astype(np.float64)
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        real = np.ones(values.shape[:2]) if modality.mask is None else modality.mask[rows]
        weights = (real / real.sum(1, keepdims=True))[:, :, None]
        mean = (weights * values).sum(1)
        spread = (weights * (values - mean[:, None]) ** 2).sum(1)
        return np.hstack([mean, np.sqrt(spread)])
    for axis in (2, 3):
        parts = np.array_split(values, min(_POOLED, values.shape[axis]), axis)
        values = np.stack([part.mean(axis) for part in parts], axis)
    return values.reshape(len(values), -1)


def waves(x: Floats, rng: np.random.Generator) -> Floats:
    """Random cosines whose products approximate a Gaussian kernel of width √features.

    Args:
        x: (rows, features).
        rng: Draws frequencies and phases.

    Returns:
        (rows, 128).
    """
    frequencies = rng.normal(size=(x.shape[1], _WAVES)) / np.sqrt(max(x.shape[1], 1))
    cosines: Floats = np.sqrt(2) * np.cos(x @ frequencies + rng.uniform(0, 2 * np.pi, _WAVES))
    return cosines


def out_of_fold(design: Floats, y: Ints, fold: Ints, used: Mask) -> Floats:
    """Predicted indicators, (rows, classes), each row's by the other folds.

    Args:
        design: (rows, features).
        y: Label codes from 0, (rows,).
        fold: Of each row, (rows,).
        used: Rows to fit to, (rows,).
    """
    targets = np.eye(int(y.max()) + 1)[y]
    predicted = np.empty_like(targets)
    for held_out in range(FOLDS):
        seen, unseen = (fold != held_out) & used, fold == held_out
        predicted[unseen] = ridge(design[seen], targets[seen], design[unseen])
    return predicted


def ridge(x: Floats, y: Floats, new: Floats) -> Floats:
    """Ridge regression with the penalty of least generalised cross-validation error.

    Golub, Heath and Wahba 1979: GCV = ‖y - ŷ‖² / (1 - trace(H) / rows)².

    Args:
        x: (rows, features).
        y: (rows, outputs).
        new: Rows to predict, (new rows, features).

    Returns:
        (new rows, outputs).
    """
    center, mean = x.mean(0), y.mean(0)
    x, y = x - center, y - mean
    size, axes = np.linalg.eigh(x.T @ x)
    size = np.maximum(size, 0)
    cross = axes.T @ (x.T @ y)
    total, best = float((y**2).sum()), (np.inf, 0.0)
    for penalty in _PENALTIES * len(x):
        shrink = 1 / (size + penalty)
        # ‖y - ŷ‖² from the rotated system, without predicting every row.
        residual = total - float(((2 - shrink * size)[:, None] * shrink[:, None] * cross**2).sum())
        freedom = 1 - (1 + float((size * shrink).sum())) / len(x)
        if freedom > 0:
            best = min(best, (residual / freedom**2, float(penalty)))
    weights = axes @ (cross / (size + best[1])[:, None])
    predicted: Floats = (new - center) @ weights + mean
    return predicted


def _clusters(predicted: Floats, y: Ints, seed: int) -> Ints:
    """Codes of k-means clusters of predictions: few enough for the rows at hand."""
    from sklearn.cluster import KMeans

    classes = predicted.shape[1]
    wanted = min(_MOST_SYMBOLS, max(_FEWEST_SYMBOLS, classes))
    count = max(2, min(wanted, len(y) // (4 * classes)))
    distinct = len(np.unique(predicted.round(9), axis=0))
    count = min(count, distinct)
    means = KMeans(count, n_init=2, random_state=seed).fit_predict(predicted)
    return np.asarray(means, dtype=np.int64)
