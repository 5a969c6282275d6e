"""The λ-curve: how much alignment of each strength gains over none, and how sure that is.

The quantity is the gain f(λ) = E score(λ) − E score(0) of arXiv 2511.12121, which reads it off a
grid of λs. Here f is a Gaussian process (Rasmussen and Williams, *Gaussian Processes for Machine
Learning*, 2006, chapters 2 and 5), observed through the mean over replicates of
score(λ_j) − score(0). Three things make that harder than a textbook regression:

- The errors of the T − 1 differences are not independent: all share the baseline's error, and
  neighbours share more. Taking them as independent mistakes the shared part for signal. So the
  noise has a full covariance: seeds (estimated across replicates) and rows (resampled).
- f(0) = 0 is known, so the kernel is conditioned on it.
- A diverged training scores thousands of times worse than the others. Losses far beyond the noise
  are therefore compressed (a warped Gaussian process, Snelson, Rasmussen and Ghahramani 2004).

Where past studies say what to expect, families of curves join the mixture. They never have all of
its weight: a robust mixture prior (Schmidli et al., Biometrics 70 (2014) 1023), by which a study
that is like none of them loses log 2 of its fit at the most, where they weigh one half.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.analysis.curves.compression import Compression
from tuner.analysis.curves.families import FamilyProcesses, compressed, log_density, whitening
from tuner.analysis.curves.nodes import NodeGains
from tuner.analysis.curves.noise import row_covariance, seed_covariance
from tuner.analysis.curves.observations import Observations
from tuner.study.prior import CurveFamilies, Prior
from tuner.study.space import LambdaSpace
from tuner.typing import Floats, Indices

_LENGTHS = np.geomspace(0.12, 1.5, 6)  # in units of u, whose whole range is 1
_AMPLITUDES = 8
_NOISE_SCALES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
_RESOLUTION = 3e-3  # of a mean gain, in units of the largest
_WIDENED = (1.0, 4.0)  # times the covariance of a family


def gain_kernel(left: Floats, right: Floats, length: Floats, amplitude: Floats) -> Floats:
    """Prior covariance of the gains at two sets of u: a Matérn-5/2 kernel conditioned on f(0) = 0.

    k(u, u') − k(u, 0) k(0, u') / k(0, 0), Rasmussen and Williams, equations 2.19 and 4.17.

    Args:
        left: Shape (l,).
        right: Shape (r,).
        length: Length scale of each process, in units of u. Shape (K,).
        amplitude: Standard deviation of each process far from 0. Shape (K,).

    Returns:
        Shape (K, l, r).
    """
    shape = np.reshape(length, (-1, 1, 1))

    def matern(distance: Floats) -> Floats:
        d = np.sqrt(5) * np.abs(distance) / shape
        correlation: Floats = (1 + d + d**2 / 3) * np.exp(-d)
        return correlation

    free = matern(left[:, None] - right) - matern(left[:, None]) * matern(right[None, :])
    return np.reshape(amplitude, (-1, 1, 1)) ** 2 * free


@dataclass(frozen=True, kw_only=True, eq=False)
class GainProcesses:
    """K Gaussian processes with f(0) = 0, each conditioned on noisy gains at the same λs.

    Attributes:
        units: Where gains were seen, in (0, 1]. Shape (n,).
        lengths: Length scales. Shape (K,).
        amplitudes: Standard deviations far from 0. Shape (K,).
        whiteners: Inverse Cholesky factors of the covariance of the gains. Shape (K, n, n).
        whitened: The gains, whitened. Shape (K, n).
    """

    units: Floats
    lengths: Floats
    amplitudes: Floats
    whiteners: Floats
    whitened: Floats

    @classmethod
    def condition(
        cls, units: Floats, gains: Floats, noise: Floats, lengths: Floats, amplitudes: Floats
    ) -> Self:
        """Condition on gains (n,), or (K, n), whose errors have the covariances noise (K, n, n)."""
        covariance = gain_kernel(units, units, lengths, amplitudes) + noise
        whiteners = whitening(covariance)
        return cls(
            units=units,
            lengths=lengths,
            amplitudes=amplitudes,
            whiteners=whiteners,
            whitened=(whiteners @ gains[..., None])[..., 0],
        )

    def log_evidence(self) -> Floats:
        """Log marginal likelihood of the gains under each process. Shape (K,)."""
        return log_density(self.whiteners, self.whitened)

    def select(self, index: Indices) -> Self:
        """Keep some of the processes."""
        kept = (self.lengths, self.amplitudes, self.whiteners, self.whitened)
        lengths, amplitudes, whiteners, whitened = (part[index] for part in kept)
        return type(self)(
            units=self.units,
            lengths=lengths,
            amplitudes=amplitudes,
            whiteners=whiteners,
            whitened=whitened,
        )

    def posterior(self, units: Floats) -> tuple[Floats, Floats]:
        """Posterior means (K, m) and covariances (K, m, m) of f at units (m,)."""
        seen = gain_kernel(units, self.units, self.lengths, self.amplitudes)
        weights = seen @ self.whiteners.swapaxes(1, 2)
        prior = gain_kernel(units, units, self.lengths, self.amplitudes)
        means = np.einsum("kmn,kn->km", weights, self.whitened)
        return means, prior - weights @ weights.swapaxes(1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """What past studies lead one to expect of a curve.

    Attributes:
        families: Of curves.
        weight: Of them all; the rest is that of the vague processes.
    """

    families: CurveFamilies
    weight: float

    @classmethod
    def of(cls, prior: Prior | None, target: str) -> "Expectation | None":
        """What a prior expects of a target; None if there is none, or it has no weight."""
        families = None if prior is None else prior.targets.get(target)
        if prior is None or families is None or prior.weight == 0:
            return None
        return cls(families=families, weight=prior.weight)


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveModel:
    """Posterior of the paired gain f(λ) = E score(λ) − E score(0), with f(0) = 0 exactly.

    A mixture of Gaussian processes: length scale, amplitude and size of the seed noise are
    averaged over a grid by marginal likelihood instead of set to their best values, which would
    over-fit flat curves. So are the families that are expected, if there are any.

    Attributes:
        space: The λs searched.
        compression: How large losses were compressed.
        processes: The processes of the mixture, of the compressed gain in units of its knee.
        weights: Their posterior probabilities, then those of the families. Shape (K + J,).
        families: What is left of the families that were expected; None if none were.
        believed: Posterior probability of these all together.
        by_family: Of each of them. Shape (J,).
    """

    space: LambdaSpace
    compression: Compression
    processes: GainProcesses
    weights: Floats
    families: FamilyProcesses | None = None
    believed: float = 0.0
    by_family: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls, observations: Observations, space: LambdaSpace, expected: Expectation | None = None
    ) -> Self:
        """Fit to what was seen.

        Args:
            observations: What was seen.
            space: The λs searched.
            expected: What past studies lead one to expect; None for anything.

        Raises:
            ValueError: If a λ lies outside the space.
        """
        lambdas = observations.lambdas
        if lambdas[-1] > space.maximum * (1 + 1e-9):
            raise ValueError(f"λ = {lambdas[-1]} is above the space's {space.maximum}")
        tried = lambdas > 0
        units = np.minimum(space.to_unit(lambdas[tried]), 1.0)
        raw = observations.scores[tried] - observations.scores[~tried].mean(axis=0)
        rows = row_covariance(observations, tried)
        compression = Compression.suited_to(raw, np.diag(rows))
        slope = compression.slope(raw.mean(axis=1))
        noisy = _Noisy.of(units, compression.apply(raw), rows * slope[:, None] * slope)
        processes, log_prior = _candidates(noisy)
        log_weights = log_prior + noisy.offsets(log_prior.size) + processes.log_evidence()
        kept = _likely(log_weights)
        vague = cls(
            space=space,
            compression=compression,
            processes=processes.select(kept),
            weights=_normalised(log_weights[kept]),
        )
        if expected is None:
            return vague
        families, log_shares = _expected(noisy, space, expected, compression)
        log_shares += noisy.offsets(log_shares.size) + families.log_evidence()
        log_shares += np.log(expected.weight)
        log_weights += np.log1p(-expected.weight) - np.logaddexp.reduce(log_prior)
        # The vague processes are many, and each has little: so they are not pruned by families.
        of_families = _likely(log_shares)
        weights = _normalised(np.append(log_weights[kept], log_shares[of_families]))
        count = len(expected.families.shares)
        by_family = np.bincount(of_families % count, weights[kept.size :], minlength=count)
        return replace(
            vague,
            weights=weights,
            families=families.select(of_families),
            believed=float(weights[kept.size :].sum()),
            by_family=tuple(by_family.tolist()),
        )

    def mean(self, lambdas: Floats) -> Floats:
        """Posterior mean of the gain (taken before losses are decompressed). Shape (m,)."""
        means, _ = self._posterior(self._units(lambdas))
        return self.compression.undo(self.weights @ means)

    def interval(self, lambdas: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
        """Pointwise credible interval of the gain: two of shape (m,).

        From the mixture's first two moments, which is a little wide where its tails are heavy.
        """
        _, low, high = self.mean_and_interval(lambdas, level)
        return low, high

    def mean_and_interval(
        self, lambdas: Floats, level: float = 0.95
    ) -> tuple[Floats, Floats, Floats]:
        """`mean` and both ends of `interval`, of one posterior. Each of shape (m,)."""
        from scipy import special

        means, covariances = self._posterior(self._units(lambdas))
        center = self.weights @ means
        variances = np.diagonal(covariances, axis1=1, axis2=2)
        variance = self.weights @ (variances + (means - center) ** 2)
        reach = special.ndtri((1 + level) / 2) * np.sqrt(np.maximum(variance, 0))
        low, high = (self.compression.undo(center + side * reach) for side in (-1, 1))
        return self.compression.undo(center), low, high

    def draws(self, lambdas: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n whole curves from the posterior. Shape (n, m)."""
        units = self._units(lambdas)
        counts = rng.multinomial(n, self.weights)
        used = np.flatnonzero(counts)
        means, covariances = self._posterior(units, used)
        size = np.trace(covariances, axis1=1, axis2=2)[:, None, None] / units.size
        factors = np.linalg.cholesky(covariances + (1e-7 * size + 1e-300) * np.eye(units.size))
        curves = [
            mean + rng.standard_normal((count, units.size)) @ factor.T
            for mean, factor, count in zip(means, factors, counts[used], strict=True)
        ]
        gains = np.where(units > 0, np.concatenate(curves), 0.0)
        return self.compression.undo(gains)

    def _posterior(self, units: Floats, used: Indices | None = None) -> tuple[Floats, Floats]:
        """Means (K + J, m) and covariances (K + J, m, m) of all that is mixed, or of some."""
        count = self.processes.lengths.size
        used = np.arange(self.weights.size) if used is None else used
        means, covariances = self.processes.select(used[used < count]).posterior(units)
        if self.families is None:
            return means, covariances
        others = self.families.select(used[used >= count] - count).posterior(units)
        return np.concatenate([means, others[0]]), np.concatenate([covariances, others[1]])

    def _units(self, lambdas: Floats) -> Floats:
        return np.asarray(self.space.to_unit(np.asarray(lambdas, dtype=float)))


def _likely(log_weights: Floats) -> Indices:
    """Which parts of a mixture have any weight to speak of, beside the others."""
    return np.flatnonzero(np.exp(log_weights - log_weights.max()) > 0.01)


def _normalised(log_weights: Floats) -> Floats:
    weights = np.exp(log_weights - log_weights.max())
    normalised: Floats = weights / weights.sum()
    return normalised


@dataclass(frozen=True, kw_only=True, eq=False)
class _Noisy:
    """Mean gains and what is known of their errors, by the size of the seeds' noise.

    Attributes:
        nodes: The gains, with the covariance of their errors for each of Q sizes.
        error: Standard error of a mean gain.
        largest: The largest mean gain or loss.
    """

    nodes: NodeGains
    error: float
    largest: float

    @classmethod
    def of(cls, units: Floats, gains: Floats, rows: Floats) -> "_Noisy":
        """Tell them of compressed gains (n, S) and the covariance of their rows (n, n)."""
        from scipy import special

        replicates = gains.shape[1]
        freedom = (replicates - 1) * units.size
        means = gains.mean(axis=1)
        seeds = seed_covariance(units, gains) / replicates
        quantiles = 2 * special.gammaincinv(freedom / 2, _NOISE_SCALES)  # of chi-squared
        scales = freedom / quantiles
        # Scores may be the same at most λs, to the last row: a fall beyond is none the less one.
        largest = float(np.abs(means).max())
        floor = max(_RESOLUTION * largest, 1e-6)
        error = max(float(np.sqrt(np.median(np.diag(seeds + rows)))), floor)
        noise = scales[:, None, None] * seeds + rows + floor**2 * np.eye(units.size)
        return cls(nodes=NodeGains.of(units, means, noise), error=error, largest=largest)

    def offsets(self, count: int) -> Floats:
        """Log likelihood that the nodes leave out, of each of what goes through the sizes once."""
        each = self.nodes.log_likelihood
        return np.repeat(each, count // each.size)


def _candidates(noisy: _Noisy) -> tuple[GainProcesses, Floats]:
    """Every process of the grid conditioned on the mean gains, and its log weight but for that.

    Priors: length scale log-normal around .3; amplitude half-Cauchy, in units of the standard
    error of a mean gain; size of the seed noise scaled inverse χ².
    """
    nodes = noisy.nodes
    reach = max(32.0, 4 * noisy.largest / noisy.error)
    relative = np.geomspace(1.0, reach, _AMPLITUDES)
    log_length = -((np.log(_LENGTHS / 0.3) / 0.7) ** 2) / 2
    log_amplitude = np.log(relative) - np.log1p((relative / 16) ** 2)
    count = len(nodes.noise)
    index = np.repeat(np.arange(count), _LENGTHS.size * _AMPLITUDES)
    lengths = np.tile(np.repeat(_LENGTHS, _AMPLITUDES), count)
    sizes = np.tile(relative, count * _LENGTHS.size)
    processes = GainProcesses.condition(
        nodes.units, nodes.gains[index], nodes.noise[index], lengths, noisy.error * sizes
    )
    log_prior = log_length[:, None] + log_amplitude
    return processes, np.tile(log_prior.ravel(), count)


def _expected(
    noisy: _Noisy, space: LambdaSpace, expected: Expectation, compression: Compression
) -> tuple[FamilyProcesses, Floats]:
    """Every family, as it is and widened, conditioned on the mean gains, and its log weight."""
    nodes = noisy.nodes
    means, covariances = compressed(expected.families, compression)
    count, kinds = len(nodes.noise), len(_WIDENED)
    index = np.repeat(np.arange(count), kinds * len(means))
    widened = np.tile(np.repeat(_WIDENED, len(means)), count)
    number = np.tile(np.arange(len(means)), count * kinds)
    families = FamilyProcesses.condition(
        space,
        nodes.units,
        nodes.gains[index],
        nodes.noise[index],
        means[number],
        widened[:, None, None] * covariances[number],
    )
    with np.errstate(divide="ignore"):  # a family of no share has no weight
        log_share = np.log(np.array(expected.families.shares))[number]
    return families, log_share - np.log(count * kinds)
