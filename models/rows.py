"""What training reads: standardised rows of each split, as plain arrays."""

from dataclasses import dataclass, replace

import numpy as np

from tuner.data import Modality, PairedDataset, Split, Standardizer
from tuner.data.memory.spool import select
from tuner.data.standardize import whole_numbers
from tuner.models.typing import Array, Ints, Mask, Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Paired rows of one split.

    Attributes:
        a: Inputs of modality A, (rows, features), (rows, time, features) or
            (rows, channels, height, width): standardised, float32; or ids as they are, int64.
            Padded steps are 0.
        b: The same of modality B.
        target: Class codes, int64 with -1 for none; or standardised values, float32, 0 for none.
        is_labelled: (rows,) True where `target` counts.
        a_real: (rows, time) True where a step of a padded A counts; None if there is no padding.
        b_real: The same for B.
    """

    a: Array
    b: Array
    target: Array
    is_labelled: Mask
    a_real: Mask | None = None
    b_real: Mask | None = None

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.target)

    def labelled(self) -> "Rows":
        """Return the labelled rows alone."""
        if self.is_labelled.all():
            return self
        arrays = {name: values for name, values in vars(self).items() if values is not None}
        rows = np.flatnonzero(self.is_labelled)
        return replace(self, **{name: select(values, rows) for name, values in arrays.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """What standardises rows: statistics of training rows only.

    Attributes:
        a: Standardises the inputs of modality A.
        b: The same for modality B.
        target_mean: Subtracted from regression targets; 0 for classification.
        target_scale: What regression targets are divided by; 1 for classification.
        ids: Whether A and B hold ids, which are not standardised.
    """

    a: Standardizer
    b: Standardizer
    target_mean: float = 0.0
    target_scale: float = 1.0
    ids: tuple[bool, bool] = (False, False)

    @classmethod
    def of(cls, dataset: PairedDataset, *, ids: tuple[bool, bool] = (False, False)) -> "Scaling":
        """Fit to the training rows of a data set."""
        seen = dataset.indices(Split.TRAIN)
        a, b = (
            Standardizer.identity(side.values.shape[1 if side.values.ndim == 4 else -1])
            if are_ids
            else Standardizer.fit(side.values, side.mask, seen)
            for side, are_ids in zip((dataset.a, dataset.b), ids, strict=True)
        )
        if dataset.task == "classification":
            return cls(a=a, b=b, ids=ids)
        known = dataset.y[dataset.indices(Split.TRAIN, labelled_only=True)].astype(np.float64)
        mean, scale = float(known.mean()), float(known.std()) or 1
        return cls(a=a, b=b, target_mean=mean, target_scale=scale, ids=ids)

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


def _side(
    side: Modality, standardizer: Standardizer | None, index: Ints
) -> tuple[Array, Mask | None]:
    values: Array
    if standardizer is None:
        values = whole_numbers(side.values, index)
    else:
        values = standardizer(side.values, side.mask, index)
    return values, None if side.mask is None else side.mask[index]


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

    @classmethod
    def of(
        cls, dataset: PairedDataset, *, ids: tuple[bool, bool] = (False, False)
    ) -> "TrainingData":
        """Standardise the training and validation rows of a data set; test rows stay outside.

        Args:
            dataset: The data set.
            ids: Whether A and B hold ids that their encoders embed: these stay as they are.
        """
        scaling = Scaling.of(dataset, ids=ids)
        return cls(
            train=scaling.rows(dataset, Split.TRAIN),
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
        values: Array = output[..., 0] * self.scaling.target_scale + self.scaling.target_mean
        return values.astype(np.float32)
