"""One past study as the corpus keeps it: what was known of its data, and its λ-curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tuner.analysis.curves.noise import row_covariance, seed_covariance
from tuner.analysis.curves.observations import Observations
from tuner.models.config import TrainingConfig
from tuner.prediction.features import Features
from tuner.prediction.model.families import Measured
from tuner.study.scoring.scores import SIDES, TARGETS
from tuner.study.space import LambdaSpace
from tuner.typing import Floats

_FEWEST_SEEDS = 2  # that gains vary over
_DIGITS = 5  # of a gain: a hundredth of what one row in a thousand is


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Paired gains of one target.

    Attributes:
        lambdas: Those above 0. Shape (n,).
        gains: Score less that of the same seed at λ = 0. Shape (n, S).
        rows: Covariance of the mean gains when rows are resampled. Shape (n, n).
        baseline: Mean score at λ = 0.
        scored: Rows it was measured on.
    """

    lambdas: Floats
    gains: Floats
    rows: Floats
    baseline: float
    scored: int

    @classmethod
    def of(cls, seen: Observations, scored: int) -> "Curve":
        """Keep what was seen of a target, on so many rows.

        Raises:
            ValueError: If λ = 0 was not tried.
        """
        tried = seen.lambdas > 0
        baseline = seen.scores[~tried].mean(axis=0)
        return cls(
            lambdas=seen.lambdas[tried],
            gains=seen.scores[tried] - baseline,
            rows=row_covariance(seen, tried),
            baseline=float(abs(baseline.mean())),
            scored=scored,
        )

    @cached_property
    def measured(self) -> Measured:
        """Mean gains with the noise of seeds and rows together."""
        units = np.minimum(LambdaSpace().to_unit(self.lambdas), 1.0)
        noise = seed_covariance(units, self.gains) / self.gains.shape[1] + self.rows
        return Measured(units=units, gains=self.gains.mean(1), noise=noise)

    def as_dict(self) -> dict[str, Any]:
        """Return what `read` takes, in JSON."""
        return {
            "lambdas": [float(f"{each:.6g}") for each in self.lambdas],
            "gains": self.gains.round(_DIGITS).tolist(),
            "rows": [[float(f"{each:.3g}") for each in row] for row in self.rows],
            "baseline": round(self.baseline, _DIGITS),
            "scored": self.scored,
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Curve":
        """Read what `as_dict` wrote.

        Raises:
            ValueError: If it is none that a prediction can be made from: which number is why.
        """
        arrays = {n: np.asarray(told[n], dtype=np.float64) for n in ("lambdas", "gains", "rows")}
        count = arrays["lambdas"].size
        if arrays["gains"].ndim != 2 or arrays["gains"].shape[1] < _FEWEST_SEEDS or count < 1:
            raise ValueError("gains have to be a number for each λ above 0 and each of two seeds")
        if len(arrays["gains"]) != count or arrays["rows"].shape != (count, count):
            raise ValueError("gains and their covariance have to be of as many λs as there are")
        if not all(np.isfinite(each).all() for each in arrays.values()):
            raise ValueError("gains, λs and covariances have to be finite numbers")
        curve = cls(**arrays, baseline=float(told["baseline"]), scored=int(told["scored"]))
        curve._check()
        return curve

    def _check(self) -> None:
        """Refuse numbers that no curve of accuracy has.

        Raises:
            ValueError: Which.
        """
        if self.lambdas.min() <= 0 or self.lambdas.max() > LambdaSpace().maximum * (1 + 1e-5):
            raise ValueError(f"λs have to be above 0 and at most {LambdaSpace().maximum:g}")
        if abs(self.gains).max() > 1:
            raise ValueError("gains of accuracy have to be between -1 and 1")
        least = float(np.linalg.eigvalsh(self.rows)[0])
        uneven = abs(self.rows - self.rows.T).max()
        if max(-least, uneven) > 1e-2 * np.trace(self.rows) + 1e-12:
            raise ValueError("rows has to be a covariance: symmetric, with no negative variance")
        if self.scored < 1:
            raise ValueError("scored has to be a number of rows")


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One past study.

    Attributes:
        name: What it is called.
        source: What it came from: records of one source are not independent.
        licence: Of the rows, none of which is here.
        origin: Where these come from.
        study: Id of a user's own study; None for what is shipped.
        sketch: Of its rows, by modality: see `tuner.prediction.sketch`.
        training: Settings of training that differ from the defaults, encoders named.
        features: What was known before training.
        curves: By target.
    """

    name: str
    source: str
    licence: str
    origin: str
    study: str | None
    sketch: Mapping[str, tuple[int, ...]]
    training: Mapping[str, Any]
    features: Features
    curves: Mapping[str, Curve]

    @property
    def key(self) -> str:
        """What it is known by: records of one key are the same study, the later one counts."""
        return self.study or f"shipped {self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return what `read` takes, in JSON."""
        plain = {n: getattr(self, n) for n in ("name", "source", "licence", "origin", "study")}
        features = {
            part: {n: float(f"{value:.6g}") for n, value in numbers.items()}
            for part, numbers in self.features.as_dict().items()
        }
        return plain | {
            "sketch": {side: list(each) for side, each in self.sketch.items()},
            "training": dict(self.training),
            "features": features,
            "curves": {target: curve.as_dict() for target, curve in self.curves.items()},
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Record":
        """Read what `as_dict` wrote.

        Raises:
            ValueError: If something is missing, or not as it should be.
        """
        try:
            return cls(
                **{n: str(told[n]) for n in ("name", "source", "licence", "origin")},
                study=None if told["study"] is None else str(told["study"]),
                sketch={side: tuple(map(int, told["sketch"][side])) for side in SIDES},
                training=dict(told["training"]),
                features=Features.of(told["features"]),
                curves={target: Curve.read(told["curves"][target]) for target in TARGETS},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a record lacks {error}, or has another kind there") from None


def settings_of(training: TrainingConfig, asked: TrainingConfig) -> dict[str, Any]:
    """Settings that differ from the defaults, encoders named: curves of others are other curves.

    Args:
        training: How encoders are trained.
        asked: What was asked for. Its epochs count, not those that many rows leave of them: how
            many rows there are is a feature.
    """
    told = training.model_dump() | {"epochs": asked.epochs}
    return {
        n: value for n, value in told.items() if value != TrainingConfig.model_fields[n].default
    }
