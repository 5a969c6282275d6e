"""A gain over λ = 0 with its interval, over seeds and rows."""

from dataclasses import dataclass

import numpy as np

from tuner.typing import Floats


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A gain over λ = 0, in units of the score, with its 95 % interval.

    Raises:
        ValueError: If the interval does not hold the value.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"need low ≤ value ≤ high, not {self.low}, {self.value}, {self.high}")


def paired_gain(treated: Floats, baseline: Floats, resampled: Floats | None) -> Gain:
    """Mean gain of the treated replicates, for other seeds and other rows than these.

    Seeds and rows are crossed random effects, so Var = Var_seeds / S + Var_rows. Each part has its
    own degrees of freedom; half the interval's width is √(t²_{S−1} Var_seeds / S + t²_{B−1}
    Var_rows) (after Howe 1974, Graybill and Wang 1980), which keeps at least its level for every
    mixture of the two. Satterthwaite's approximation does not: with two or three replicates it
    found false gains twice as often as it should. The variance over rows holds what the rows do to
    each replicate, which Var_seeds holds too: the interval is a little wide for it.

    Args:
        treated: Scores with alignment, higher is better. Shape (S,), S at least 2.
        baseline: Scores without, of the same seeds. Shape (S,).
        resampled: Mean gain over replicates under bootstrap resamples of the rows. Shape (B,), B
            at least 2. None takes the rows as given.

    Raises:
        ValueError: If a shape is not as said, or a number is not finite.
    """
    if treated.ndim != 1 or treated.size < 2 or treated.shape != baseline.shape:
        raise ValueError(f"need two alike (at least 2,), not {treated.shape}, {baseline.shape}")
    if resampled is not None and (resampled.ndim != 1 or resampled.size < 2):
        raise ValueError(f"resampled must be (at least 2,), not {resampled.shape}")
    gains = treated - baseline
    reach = np.square(_reach(gains)) / gains.size
    if resampled is not None:
        reach += np.square(_reach(resampled))
    value, half = float(gains.mean()), float(np.sqrt(reach))
    if not np.isfinite(half):
        raise ValueError("scores must be finite")
    return Gain(value=value, low=value - half, high=value + half)


def _reach(sample: Floats) -> float:
    """Half the width of the 95 % interval of one draw, by Student's t with n − 1 degrees."""
    from scipy import special

    return float(special.stdtrit(sample.size - 1, 0.975) * sample.std(ddof=1))
