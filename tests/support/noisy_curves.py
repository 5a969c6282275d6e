"""λ-curves of known truth, observed through the noise that real studies have."""

from collections.abc import Callable

import numpy as np

from tuner.analysis.curves.observations import Observations
from tuner.analysis.decision import Choice, choose
from tuner.analysis.gains.gain import Gain, paired_gain
from tuner.study.space import LambdaSpace
from tuner.typing import Floats

Curve = Callable[[Floats], Floats]  # gain as a function of u
SPACE = LambdaSpace()
RESAMPLES = 200
OWN, DRIFT, ROWS = 0.007, 0.010, 0.005  # standard deviations, accuracy


def flat(u: Floats) -> Floats:
    return np.zeros_like(u)


def rise(height: float) -> Curve:
    return lambda u: height * u


def hump(height: float, strength: float) -> Curve:
    center = SPACE.to_unit(strength)

    def bell(u):
        return np.exp(-(((u - center) / 0.25) ** 2) / 2)

    return lambda u: height * (bell(u) - bell(np.zeros_like(u)))


def observe(
    rng: np.random.Generator, u: Floats, replicates: int, curve: Curve, size: float = 1.0
) -> tuple[Floats, Floats]:
    """Scores (T, S) and resampled means (B, T) at u (T,), with noise so many times as large.

    Seeds: an effect shared by all λs, one of its own at each λ (λ = 0 included), and a smooth
    drift that grows with u. Rows: shared by all seeds, differing more the farther λs are apart.
    """
    smooth = np.exp(-(((u[:, None] - u) / 0.35) ** 2) / 2) + 1e-8 * np.eye(u.size)
    rows = ROWS**2 * np.sqrt(u[:, None] * u) * np.exp(-2 * np.abs(u[:, None] - u))
    by_rows = np.linalg.cholesky(rows + (0.4 * ROWS) ** 2 * np.eye(u.size))
    seeds = 0.02 * rng.standard_normal((1, replicates))
    own = OWN * rng.standard_normal((u.size, replicates))
    drift = np.linalg.cholesky(smooth) @ rng.standard_normal((u.size, replicates))
    shared = by_rows @ rng.standard_normal(u.size)
    noise = seeds + own + DRIFT * u[:, None] * drift + shared[:, None]
    scores = 0.6 + curve(u)[:, None] + size * noise
    by_resample = rng.standard_normal((RESAMPLES, u.size)) @ by_rows.T
    resampled = scores.mean(axis=1) + size * by_resample
    return scores, resampled


def search(rng: np.random.Generator, trials: int, replicates: int, curve: Curve) -> Observations:
    """A search whose λs are half spread and half crowded, as an adaptive one's are."""
    u = np.append(0, rng.uniform(0, 1, trials - 1))
    crowd = (trials - 1) // 2
    u[-crowd:] = np.clip(rng.uniform(0.1, 1) + 0.06 * rng.standard_normal(crowd), 0.001, 1)
    u.sort()
    scores, resampled = observe(rng, u, replicates, curve)
    return Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)


def study(
    rng: np.random.Generator, trials: int, replicates: int, curve: Curve
) -> tuple[Choice, Gain, float]:
    """Search, choose, and confirm with fresh seeds and rows; also the candidate's true gain."""
    choice = choose(search(rng, trials, replicates, curve), SPACE, seed=0)
    u = np.array([0.0, SPACE.to_unit(choice.candidate)])
    (baseline, treated), resampled = observe(rng, u, replicates, curve)
    by_rows = resampled[:, [1]] - resampled[:, [0]]  # of all seeds alike
    confirmed = paired_gain(treated, baseline, np.tile(by_rows, replicates))
    return choice, confirmed, float(curve(u)[1])
