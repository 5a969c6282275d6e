"""Families of λ-curves: their shapes, and how much curves of one family differ.

An empirical prior over curves (arXiv 2602.12082): mean and covariance of the curves of past
studies carry over to a new one. Every family is a Gaussian over the gains at `NODES`; between them,
and from f(0) = 0 to the first, a curve is taken to be straight. Families and what belongs to which
are found by expectation maximisation under the known noise of each study's gains, at whatever λs it
tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.analysis.curves.families import NODES, node_weights
from tuner.study.prior import CurveFamilies
from tuner.typing import Floats

_LENGTH = 0.4  # over which curves bend, as far as is known beforehand
_PRIOR = 3.0  # so many curves that is worth
_STEPS = 150
_SETTLED = 1e-5  # change of the mean log evidence of a curve
_JITTER = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The gains that one study saw of one target.

    Attributes:
        units: u of its λs, above 0. Shape (n,).
        gains: Mean score less that of λ = 0. Shape (n,).
        noise: Covariance of their errors. Shape (n, n).
    """

    units: Floats
    gains: Floats
    noise: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Families:
    """A mixture of Gaussians over curves.

    Attributes:
        shares: How many curves are of each family. Shape (K,).
        means: At the nodes. Shape (K, m).
        covariances: Shape (K, m, m).
    """

    shares: Floats
    means: Floats
    covariances: Floats

    def log_evidence(self, seen: "Seen") -> Floats:
        """Log density of what was seen under each family, (N, K)."""
        return np.stack(
            [
                _posterior(mean, covariance, seen)[2]
                for mean, covariance in zip(self.means, self.covariances, strict=True)
            ],
            axis=1,
        )

    def expected(self, seen: "Seen") -> Floats:
        """Curve at the nodes of each study, were it of each family, (K, N, m)."""
        return np.stack(
            [
                _posterior(mean, covariance, seen)[0]
                for mean, covariance in zip(self.means, self.covariances, strict=True)
            ]
        )

    def conditioned(self, measured: Measured) -> "Families":
        """Return what is left of this prior once gains are seen."""
        seen = Seen.of([measured])
        with np.errstate(divide="ignore"):  # a family of no weight has none afterwards
            log = np.log(self.shares) + self.log_evidence(seen)[0]
        parts = [
            _posterior(mean, covariance, seen)
            for mean, covariance in zip(self.means, self.covariances, strict=True)
        ]
        after = np.exp(log - log.max())
        return Families(
            shares=after / after.sum(),
            means=np.stack([mean[0] for mean, _, _ in parts]),
            covariances=np.stack([covariance[0] for _, covariance, _ in parts]),
        )

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw curves at the nodes, (count, m)."""
        counts = rng.multinomial(count, self.shares / self.shares.sum())
        return np.concatenate(
            [
                rng.multivariate_normal(mean, covariance, size=each, method="cholesky")
                for mean, covariance, each in zip(self.means, self.covariances, counts, strict=True)
            ]
        )

    def told(self, interval: tuple[float, float] | None) -> CurveFamilies:
        """Return them as a study's spec has them, rounded to what JSON need not be longer for.

        Args:
            interval: λs that the best is expected between; None to begin as without them.
        """
        return CurveFamilies(
            shares=tuple(self.shares.tolist()),
            means=tuple(map(_rounded, self.means)),
            covariances=tuple(tuple(map(_rounded, each)) for each in self.covariances),
            interval=interval,
        )

    def joined(self, other: "Families", weight: float) -> "Families":
        """Return the mixture of these, by `weight`, and of others by the rest."""
        return Families(
            shares=np.concatenate([weight * self.shares, (1 - weight) * other.shares]),
            means=np.concatenate([self.means, other.means]),
            covariances=np.concatenate([self.covariances, other.covariances]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Gains as they bear on the curve at the nodes: sufficient statistics of N studies.

    Attributes:
        precision: W'Σ⁻¹W. Shape (N, m, m).
        pull: W'Σ⁻¹y. Shape (N, m).
        constant: What of the log density depends on no curve. Shape (N,).
    """

    precision: Floats
    pull: Floats
    constant: Floats

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> "Seen":
        """Tell them of studies."""
        parts = [_statistics(each) for each in measured]
        precision, pull, constant = (np.stack(part) for part in zip(*parts, strict=True))
        return cls(precision=precision, pull=pull, constant=constant)


def fit_families(measured: Sequence[Measured], count: int, *, seed: int = 0) -> Families:
    """Find families by expectation maximisation; one family first, then as many as are wanted.

    A family of few curves leans on all of them together, by the weight of three curves.

    Args:
        measured: What each study saw.
        count: How many families, at most: what no curve is of is left out.
        seed: Of where it begins.
    """
    seen = Seen.of(measured)
    size = float(np.mean([np.mean(each.gains**2) for each in measured])) + 1e-8
    one = Families(
        shares=np.ones(1),
        means=np.zeros((1, NODES.size)),
        covariances=(size * _smooth())[None],
    )
    one = _maximised(one, seen, size * _smooth(), prior=1.0)
    if count == 1:
        return one
    start = _divided(one.expected(seen)[0], count, seed)
    begun = Families(
        shares=np.full(len(start), 1 / len(start)),
        means=start,
        covariances=np.repeat(one.covariances / 2, len(start), axis=0),
    )
    found = _maximised(begun, seen, one.covariances[0] / 4, prior=_PRIOR)
    kept = found.shares * len(measured) > 1
    return Families(
        shares=found.shares[kept] / found.shares[kept].sum(),
        means=found.means[kept],
        covariances=found.covariances[kept],
    )


def responsibilities(families: Families, seen: Seen) -> Floats:
    """Probability that each study's curve is of each family, (N, K)."""
    log = np.log(families.shares) + families.log_evidence(seen)
    share = np.exp(log - log.max(1, keepdims=True))
    normalised: Floats = share / share.sum(1, keepdims=True)
    return normalised


def vague(size: float) -> Families:
    """What is expected of any curve: any smooth one, as likely up as down.

    Args:
        size: Standard deviation of its gain at the largest λ.
    """
    return Families(
        shares=np.ones(1),
        means=np.zeros((1, NODES.size)),
        covariances=(size**2 * _smooth() / _smooth()[-1, -1])[None],
    )


def resembling(measured: Measured, least: float) -> Families:
    """The family of one past curve: of curves about it, half as far off as it is large.

    Half its size is what families of the corpus have for a covariance before they have curves: see
    `fit_families`.

    Args:
        measured: What was seen of it.
        least: What it is taken to be large at least, so that a flat one is not taken for sure.
    """
    size = max(float(np.sqrt(np.mean(measured.gains**2 + np.diag(measured.noise)))), least)
    curve = vague(size).conditioned(measured)
    return Families(
        shares=curve.shares,
        means=curve.means,
        covariances=curve.covariances + vague(size / 2).covariances,
    )


def _rounded(numbers: Floats) -> tuple[float, ...]:
    return tuple(float(f"{each:.6g}") for each in numbers)


def _smooth() -> Floats:
    """Covariance at the nodes of a smooth process that is 0 at u = 0; Gaussian of length .4."""
    at = np.concatenate([[0.0], NODES])
    kernel = np.exp(-(((at[:, None] - at) / _LENGTH) ** 2) / 2)
    paired = kernel - kernel[:1] - kernel[:, :1] + 1
    smooth: Floats = paired[1:, 1:] / 2 + 1e-3 * np.eye(NODES.size)
    return smooth


def _statistics(measured: Measured) -> tuple[Floats, Floats, Floats]:
    w = node_weights(measured.units)
    count = measured.gains.size
    noise = measured.noise + (_JITTER + 1e-6 * np.trace(measured.noise) / count) * np.eye(count)
    solved = np.linalg.solve(noise, np.column_stack([w, measured.gains]))
    _, log_determinant = np.linalg.slogdet(noise)
    fit = measured.gains @ solved[:, -1] + log_determinant + count * np.log(2 * np.pi)
    return w.T @ solved[:, :-1], w.T @ solved[:, -1], np.asarray(-fit / 2)


def _posterior(mean: Floats, covariance: Floats, seen: Seen) -> tuple[Floats, Floats, Floats]:
    """Of each study's curve, were it of one family: mean, covariance, and the log evidence."""
    eye = np.eye(mean.size)
    missed = seen.pull - seen.precision @ mean
    # (C⁻¹ + Λ)⁻¹ = C (I + ΛC)⁻¹, which needs no inverse of C.
    spread = np.linalg.solve(
        eye + covariance @ seen.precision, np.broadcast_to(covariance, seen.precision.shape)
    )
    spread = (spread + spread.swapaxes(1, 2)) / 2
    curves = mean + np.einsum("nij,nj->ni", spread, missed)
    _, log_determinant = np.linalg.slogdet(eye + covariance @ seen.precision)
    fit = np.einsum("ni,nij,nj->n", missed, spread, missed) - log_determinant
    at_mean = 2 * seen.pull @ mean - np.einsum("i,nij,j->n", mean, seen.precision, mean)
    return curves, spread, seen.constant + (fit + at_mean) / 2


def _maximised(families: Families, seen: Seen, before: Floats, *, prior: float) -> Families:
    """Improve families until the evidence settles.

    Args:
        families: Where to begin.
        seen: What the studies saw.
        before: The covariance that a family has of itself.
        prior: How many curves that is worth.
    """
    last = -np.inf
    for _ in range(_STEPS):
        parts = [
            _posterior(mean, covariance, seen)
            for mean, covariance in zip(families.means, families.covariances, strict=True)
        ]
        log = np.log(families.shares) + np.stack([part[2] for part in parts], axis=1)
        total = np.logaddexp.reduce(log, axis=1)
        share = np.exp(log - total[:, None])
        held = np.maximum(share.sum(0), 1e-6)
        means = np.stack(
            [r @ curves / n for r, n, (curves, _, _) in zip(share.T, held, parts, strict=True)]
        )
        covariances = np.stack(
            [
                (_scatter(r, curves - mean, spread) + prior * before) / (n + prior)
                for r, n, mean, (curves, spread, _) in zip(share.T, held, means, parts, strict=True)
            ]
        )
        families = Families(shares=held / held.sum(), means=means, covariances=covariances)
        if total.mean() - last < _SETTLED:
            break
        last = float(total.mean())
    return families


def _scatter(shares: Floats, deviations: Floats, spread: Floats) -> Floats:
    moved = (shares[:, None] * deviations).T @ deviations
    scattered: Floats = moved + np.einsum("n,nij->ij", shares, spread)
    return scattered


def _divided(curves: Floats, count: int, seed: int) -> Floats:
    """Means of groups of curves that are alike."""
    from sklearn.cluster import KMeans

    groups = min(count, len(curves) // 3) or 1
    return np.asarray(KMeans(groups, n_init=4, random_state=seed).fit(curves).cluster_centers_)
