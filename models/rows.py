"""What training reads: standardised rows of each split, as plain arrays."""

from dataclasses import dataclass, replace

import numpy as np

from tuner.data import Modality, PairedDataset, Split, Standardizer
from tuner.data.memory.spool import select
from tuner.data.standardize import whole_numbers
from tuner.models.config import Negatives
from tuner.models.typing import Array, Doubles, Ints, Mask, Shape

# Between the quantiles at a tail and at one less it, in standard deviations of a normal.
_NORMAL_SPANS = {0.25: 1.349, 0.1: 2.563, 0.05: 3.290, 0.02: 4.107}
_STRETCHED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Paired rows of one split.

    Attributes:
        a: Inputs of modality A, (rows, features), (rows, time, features) or
            (rows, channels, height, width): standardised, float32; or ids as they are, whole
            numbers. Padded steps are 0. Text is its bytes, uint8 (rows, bytes).
        b: The same of modality B.
        target: Class codes, int64 with -1 for none; or standardised values, float32, 0 for none.
        is_labelled: (rows,) True where `target` counts.
        a_real: (rows, time) True where a step of a padded A counts; None if there is no padding.
        b_real: The same for B.
        same: (rows,) equal for rows that are no negatives of each other in the alignment loss; None
            if all are.
    """

    a: Array
    b: Array
    target: Array
    is_labelled: Mask
    a_real: Mask | None = None
    b_real: Mask | None = None
    same: Ints | None = None

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.target)

    def of_text(self, modality: str) -> bool:
        """Whether the inputs of `a` or `b` are bytes of text."""
        inputs: Array = self.a if modality == "a" else self.b
        return inputs.dtype == np.uint8

    def labelled(self) -> "Rows":
        """Return the labelled rows alone."""
        if self.is_labelled.all():
            return self
        rows = np.flatnonzero(self.is_labelled)
        return replace(self, **{name: select(values, rows) for name, values in self._arrays()})

    def none(self) -> "Rows":
        """Return none of the rows; what there would be of each stays."""
        return replace(self, **{name: np.array(values[:0]) for name, values in self._arrays()})

    def _arrays(self) -> list[tuple[str, Array]]:
        return [(name, values) for name, values in vars(self).items() if values is not None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """What standardises rows: statistics of training rows only.

    Attributes:
        a: Standardises the inputs of modality A.
        b: The same for modality B.
        target_mean: Subtracted from regression targets, the median where there are outliers; 0
            for classification.
        target_scale: What regression targets are divided by; 1 for classification.
        ids: Whether A and B hold ids, or bytes of text, which are not standardised.
        target_dtype: What values to predict are held in.
    """

    a: Standardizer
    b: Standardizer
    target_mean: float = 0.0
    target_scale: float = 1.0
    ids: tuple[bool, bool] = (False, False)
    target_dtype: str = "float32"

    @classmethod
    def of(cls, dataset: PairedDataset, *, ids: tuple[bool, bool] = (False, False)) -> "Scaling":
        """Fit to the training rows of a data set; text and ids of tokens stay as they are."""
        seen = dataset.indices(Split.TRAIN)
        ids = (ids[0] or dataset.a.holds != "numbers", ids[1] or dataset.b.holds != "numbers")
        a, b = (
            Standardizer.identity(side.values.shape[1 if side.values.ndim == 4 else -1])
            if are_ids
            else Standardizer.fit(side.values, side.mask, seen)
            for side, are_ids in zip((dataset.a, dataset.b), ids, strict=True)
        )
        if dataset.task == "classification":
            return cls(a=a, b=b, ids=ids)
        known = dataset.y[dataset.indices(Split.TRAIN, labelled_only=True)].astype(np.float64)
        centre, scale = _centre_and_scale(known)
        return cls(
            a=a,
            b=b,
            target_mean=centre,
            target_scale=scale,
            ids=ids,
            target_dtype=dataset.y.dtype.name,
        )

    def rows(self, dataset: PairedDataset, split: Split) -> Rows:
        """Standardise the rows of one split."""
        index = dataset.indices(split)
        labelled = dataset.labelled[index]
        target = dataset.y[index]
        if dataset.task == "regression":
            scaled = (target.astype(np.float64) - self.target_mean) / self.target_scale
            target = np.where(labelled, scaled, 0).astype(np.float32)
        a, a_real = _side(dataset.a, None if self.ids[0] else self.a, index)
        b, b_real = _side(dataset.b, None if self.ids[1] else self.b, index)
        return Rows(a=a, b=b, target=target, is_labelled=labelled, a_real=a_real, b_real=b_real)


def _centre_and_scale(targets: Doubles) -> tuple[float, float]:
    """Mean and standard deviation of targets (rows,), or what resists outliers in their place.

    A few that lie far out stretch the standard deviation, so that all others would become one
    number. Where it is three times what the middle of a normal distribution would tell, the median
    and that are used: of the middle half, or of more if half of the targets are equal.
    """
    mean, deviation = float(targets.mean()), float(targets.std())
    for tail, normal in _NORMAL_SPANS.items():
        low, high = np.quantile(targets, (tail, 1 - tail))
        robust = float(high - low) / normal
        if robust > 0:
            break
    if 0 < robust < deviation / _STRETCHED:
        return float(np.median(targets)), robust
    return mean, deviation or 1.0


def _side(
    side: Modality, standardizer: Standardizer | None, index: Ints
) -> tuple[Array, Mask | None]:
    values: Array
    if standardizer is None:
        values = whole_numbers(side.values, index)
    else:
        values = standardizer(side.values, side.mask, index)
    return values, None if side.mask is None else select(side.mask, index)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What the search trains on: there are no test rows in it.

    Attributes:
        train: Training rows, labelled or not.
        validation: Validation rows.
        task: `classification` or `regression`.
        outputs: Number of classes, or 1.
        shapes: Shape of one row of A and of B.
        scaling: What standardised the rows.
    """

    train: Rows
    validation: Rows
    task: str
    outputs: int
    shapes: tuple[Shape, Shape]
    scaling: Scaling

    @property
    def padded(self) -> tuple[bool, bool]:
        """Whether rows of A and of B come with a mask."""
        return self.train.a_real is not None, self.train.b_real is not None

    def without_rows(self) -> "TrainingData":
        """Return what is known of the rows alone: all that building an encoder takes."""
        return replace(self, train=self.train.none(), validation=self.validation.none())

    @classmethod
    def of(
        cls,
        dataset: PairedDataset,
        *,
        ids: tuple[bool, bool] = (False, False),
        negatives: Negatives = "auto",
    ) -> "TrainingData":
        """Standardise the training and validation rows of a data set; test rows stay outside.

        Args:
            dataset: The data set.
            ids: Whether A and B hold ids that their encoders embed: these stay as they are.
            negatives: Which rows are negatives of each other: see `TrainingConfig`.
        """
        scaling = Scaling.of(dataset, ids=ids)
        same = {"auto": dataset.copies, "all": None, "other-groups": dataset.group}[negatives]
        of_train = None if same is None else same[dataset.indices(Split.TRAIN)]
        return cls(
            train=replace(scaling.rows(dataset, Split.TRAIN), same=of_train),
            validation=scaling.rows(dataset, Split.VALIDATION),
            task=dataset.task,
            outputs=1 if dataset.classes is None else len(dataset.classes),
            shapes=(dataset.a.values.shape[1:], dataset.b.values.shape[1:]),
            scaling=scaling,
        )

    def decode(self, output: Array) -> Array:
        """Turn network outputs (…, rows, outputs) into class codes or values (…, rows)."""
        if self.task == "classification":
            codes: Array = output.argmax(-1).astype(np.int32)
            return codes
        dtype = self.scaling.target_dtype
        values: Array = output[..., 0].astype(np.result_type(output, np.dtype(dtype)))
        values = values * self.scaling.target_scale + self.scaling.target_mean
        return values.astype(dtype)
