"""The λ-curve of a new data set, as past studies lead one to expect it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.analysis.curves.families import node_weights
from tuner.prediction.features import Features
from tuner.prediction.model.families import Families, Seen, fit_families
from tuner.prediction.model.gate import Gate, fit_gate
from tuner.prediction.model.trend import Trend, fit_trend, standardised
from tuner.prediction.record import Record
from tuner.study.scoring.scores import SIDES
from tuner.study.scoring.targets import Target
from tuner.typing import Floats

FAMILIES = 6
_KNOWN = 0.9  # weight of what past curves tell; the rest is for such as none was
_TOLD = [1, 4, 7]  # nodes at which the trend tells the gate of a curve
_WIDER = 4.0  # times the covariance of all curves together
UNITS = np.linspace(0, 1, 33)  # of u, at which curves are told
DRAWS = 4000
_BAND = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """What past curves of one kind of target were like.

    Attributes:
        names: Of the records, one for each curve; a record has one of each modality.
        features: Of the curves. Shape (N, p).
        families: Of the curves.
        gate: Tells these apart.
        trend: Of the curves with the features; what the gate goes by.
    """

    names: tuple[str, ...]
    features: Floats
    families: Families
    gate: Gate
    trend: Trend

    @classmethod
    def of(cls, records: Sequence[Record], target: Target, *, seed: int = 0) -> "Past":
        """Learn from records: of a modality, from those of A and of B alike."""
        sides = ("joint",) if target == "joint" else SIDES
        pairs = [(record, side) for record in records for side in sides]
        features = np.stack([record.features.vector(side) for record, side in pairs])
        curves = [record.curves[side].measured for record, side in pairs]
        families = fit_families(curves, FAMILIES, seed=seed)
        trend = fit_trend(features, curves)
        gate = fit_gate(trend.at(features)[:, _TOLD], families, Seen.of(curves))
        names = tuple(record.name for record, _ in pairs)
        return cls(names=names, features=features, families=families, gate=gate, trend=trend)

    def expected(self, features: Floats) -> Families:
        """The mixture that is expected of a curve with features (p,): see `Families`.

        The last of it is for any curve, in case it is like no past one.
        """
        shares = self.gate.probabilities(self.trend.at(features[None])[:, _TOLD])[0]
        by_family = Families(
            shares=shares, means=self.families.means, covariances=self.families.covariances
        )
        return by_family.joined(_any(self.families), _KNOWN)

    def draws(self, features: Floats, *, seed: int = 0) -> Floats:
        """Draw curves at `UNITS`, (draws, units)."""
        rng = np.random.default_rng([seed, 8])
        return self.expected(features).draws(DRAWS, rng) @ node_weights(UNITS).T

    def alike(self, features: Floats, count: int) -> list[str]:
        """Names of the records that are most alike, the nearest first."""
        center, scale = self.trend.center, self.trend.scale
        apart = standardised(self.features, center, scale) - standardised(features, center, scale)
        order = np.argsort((apart**2).sum(1), kind="stable")
        return list(dict.fromkeys(self.names[n] for n in order))[:count]


@dataclass(frozen=True, kw_only=True, eq=False)
class Expected:
    """What is expected of one target.

    Attributes:
        best: u to begin with: of the highest expected gain.
        interval: Of the best u, 80 %.
        helps: Probability that some λ gains as much as is worth having, or more.
        harms: That none does, and some λ costs as much.
        mean: Expected gain at `UNITS`.
        low: Lower end of the 80 % band.
        high: Its upper end.
    """

    best: float
    interval: tuple[float, float]
    helps: float
    harms: float
    mean: Floats
    low: Floats
    high: Floats

    @property
    def neither(self) -> float:
        """Probability that alignment is not worth it, and does no harm."""
        return max(0.0, 1 - self.helps - self.harms)

    @classmethod
    def of(cls, draws: Floats, smallest: float) -> "Expected":
        """Sum up draws of curves at `UNITS`, (draws, units), for a smallest gain worth having."""
        mean = draws.mean(0)
        low, high = np.quantile(draws, _BAND, axis=0)
        best = float(UNITS[mean.argmax()])
        ends = np.quantile(UNITS[draws.argmax(1)], _BAND)
        helps = draws.max(1) >= smallest
        harms = ~helps & (draws.min(1) <= -smallest)
        return cls(
            best=best,
            interval=(min(float(ends[0]), best), max(float(ends[1]), best)),
            helps=float(helps.mean()),
            harms=float(harms.mean()),
            mean=mean,
            low=low,
            high=high,
        )


def reach(records: Sequence[Record]) -> tuple[Features, Features]:
    """Least and greatest of each number that records have."""
    ends: list[dict[str, dict[str, float]]] = [{}, {}]
    told = [record.features.as_dict() for record in records]
    for part in ("common", *SIDES):
        for name in told[0][part]:
            # A and B are named by whoever paired them: what one reaches, the other may.
            sides = (part,) if part == "common" else SIDES
            seen = [each[side][name] for each in told for side in sides]
            for end, value in zip(ends, (min(seen), max(seen)), strict=True):
                end.setdefault(part, {})[name] = value
    return Features.of(ends[0]), Features.of(ends[1])


def _any(families: Families) -> Families:
    """One family of all curves, as far again from their mean as they are."""
    mean = families.shares @ families.means
    apart = families.means - mean
    covariance = np.einsum("k,kij->ij", families.shares, families.covariances)
    covariance = covariance + (families.shares[:, None] * apart).T @ apart
    return Families(shares=np.ones(1), means=mean[None], covariances=_WIDER * covariance[None])
