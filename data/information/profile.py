"""The information profile: how two modalities share what they know of a label.

On real features the atoms are those of cross-fitted predictions (see
`tuner.data.information.predictions`): what a predictor that saw other rows can tell, in bits. More
cannot be promised, so each atom's sum with R is a lower bound of what the features hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuner.data.dataset import PairedDataset, Split
from tuner.data.information.atoms import NAMES
from tuner.data.information.discrete import least_by_projections, mutual_information
from tuner.data.information.gate import Gate, cross_covariance_gate, prediction_gate
from tuner.data.information.predictions import Symbols, components, predict_symbols
from tuner.data.information.sampling import group_weights, permutation
from tuner.data.typing import Floats, Ints

Regime = Literal["align", "interior", "do not align", "unknown"]
Objective = Literal["either", "align", "predict", "neither", "unknown"]

_RESAMPLES = 200
_PERMUTATIONS = 100
_SWEEPS = 100  # of every resample: enough for its spread
_ROWS = 10_000
_BINS = 4  # that a real-valued label is cut into
_FEWEST = 60
_FEWEST_GROUPS = 10
_FOLDED_GROUPS = 4  # or a half of a fold's groups might be none
_WIDE = 0.5  # of the label's entropy
_STILL_RISING = 0.03  # of the label's entropy
_Z = 1.96


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number of bits with its 95 % interval.

    Raises:
        ValueError: If the interval does not hold the value, or reaches below 0.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high:
            raise ValueError(f"need 0 ≤ low ≤ value ≤ high, not {self}")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A partial information decomposition that was estimated from rows.

    Attributes:
        R: Redundant, bits: either modality tells it.
        U_a: Unique to A.
        U_b: Unique to B.
        S: Synergistic: only both together tell it.
        entropy: Of the label (of its bin, where it is a real number), bits.
        rows: Labelled training and validation rows that were used.
        groups: How many groups these are of; None where rows are independent.
        reason: Why the numbers should not be relied on; None if they may be.
        gate: A second opinion on the same rows.
        b_from_a: The same of prediction of B from A in the place of alignment.
        a_from_b: The same of prediction of A from B.
    """

    R: Estimate
    U_a: Estimate
    U_b: Estimate
    S: Estimate
    entropy: float
    rows: int
    reason: str | None
    gate: Gate
    b_from_a: Gate
    a_from_b: Gate
    groups: int | None = None

    @property
    def reliable(self) -> bool:
        """Whether rows sufficed."""
        return self.reason is None

    @property
    def regime(self) -> Regime:
        """What the shares lead one to expect of alignment (arXiv 2511.12121).

        Synergy does not count: no encoder of one modality can use it. The paper's borders are
        not sharp; here redundancy dominates from 70 % of R + U_a + U_b on, and does not from
        30 % down. One of the three has to be three standard errors above 0: of three 95 %
        intervals, one lies above 0 by chance far too often.
        """
        known = any(each.low > each.value / 3 for each in (self.R, self.U_a, self.U_b))
        if not (self.reliable and known):
            return "unknown"
        share = self.R.value / (self.R.value + self.U_a.value + self.U_b.value)
        return "align" if share >= 0.7 else "do not align" if share <= 0.3 else "interior"

    @property
    def objective(self) -> Objective:
        """Which objective is expected to learn the label's components before nuisances.

        Four regimes (arXiv 2606.11190): contrastive alignment and prediction both do (`either`),
        one of them does, or `neither`. Prediction does if it does in one direction; where no gate
        applies it is `unknown`.
        """
        predicts = [gate.helps for gate in (self.b_from_a, self.a_from_b)]
        if self.gate.helps is None and predicts == [None, None]:
            return "unknown"
        if any(predicts):
            return "either" if self.gate.helps else "predict"
        return "align" if self.gate.helps else "neither"

    @property
    def focus(self) -> tuple[float, float] | None:
        """Where the best λ is expected on the warped unit interval; None for anywhere."""
        return {
            "align": (0.4, 1.0),
            "interior": (0.2, 0.75),
            "do not align": (0.0, 0.4),
            "unknown": None,
        }[self.regime]


def information_profile(dataset: PairedDataset, *, seed: int = 0) -> Profile:
    """Estimate the profile from labelled training and validation rows; test rows stay unseen.

    The mean of label permutations is subtracted from every atom; intervals come from bootstrap
    resamples of rows. Where rows come in groups, whole groups are folded, permuted and resampled:
    the numbers are of rows of new groups. The result is the same on any number of threads.

    Args:
        dataset: At most 10,000 of its rows are used, evenly spread.
        seed: Of folds, features, clusters and resamples.
    """
    from threadpoolctl import threadpool_limits

    rows = profiled_rows(dataset)
    y = _label_codes(dataset, rows)
    groups, group = _groups(dataset, rows)
    with threadpool_limits(1):
        a, b = (components(side, rows, seed) for side in (dataset.a, dataset.b))
        symbols = predict_symbols(a, b, y, group, seed=seed)
        halves = [predict_symbols(a, b, y, group, seed=seed, half=half) for half in (0, 1)]
        estimates = _estimates(symbols, halves, y, group, np.random.default_rng([seed, 2]))
        gate = cross_covariance_gate(a, b, y, group, seed=seed)
        # Components are halfway to unit variance: their own spread brings back their scale.
        b_from_a = prediction_gate(a, b * b.std(0), y, group, seed=seed)
        a_from_b = prediction_gate(b, a * a.std(0), y, group, seed=seed)
    entropy = _entropy(y)
    return Profile(
        **estimates,
        entropy=entropy,
        rows=len(rows),
        reason=_reason(estimates, symbols, halves, y, groups, entropy),
        gate=gate,
        b_from_a=b_from_a,
        a_from_b=a_from_b,
        groups=groups,
    )


def profiled_rows(dataset: PairedDataset) -> Ints:
    """Return which rows a profile is of: that of these alone is the same."""
    rows = np.flatnonzero(dataset.labelled & (dataset.split != Split.TEST))
    spread = np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).round().astype(np.int64)
    return rows[spread]


def _groups(dataset: PairedDataset, rows: Ints) -> tuple[int | None, Ints | None]:
    """How many groups rows are of, and which (rows,), unless they are too few to be folded."""
    if dataset.group is None:
        return None, None
    names, group = np.unique(dataset.group[rows], return_inverse=True)
    return len(names), group.astype(np.int64) if len(names) >= _FOLDED_GROUPS else None


def _label_codes(dataset: PairedDataset, rows: Ints) -> Ints:
    values = dataset.y[rows]
    if dataset.task == "regression":
        edges = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
        values = np.searchsorted(np.unique(edges), values, side="right")
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _estimates(
    symbols: Symbols,
    halves: Sequence[Symbols],
    y: Ints,
    group: Ints | None,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    rows = np.arange(len(y))
    resampled = _resampled(symbols, y, group, rng)
    shuffled = np.stack([y[permutation(len(y), group, rng)] for _ in range(_PERMUTATIONS)])
    found, *before = (_atoms(part, rows[None], y[None]) for part in (symbols, *halves))
    null = _atoms(symbols, np.broadcast_to(rows, shuffled.shape), shuffled, _SWEEPS)
    return {
        name: _estimate(
            float(found[name][0]),
            [float(part[name][0]) for part in before],
            float(null[name].mean()),
            _reach(resampled[name], null[name], group),
        )
        for name in NAMES
    }


def _resampled(
    symbols: Symbols, y: Ints, group: Ints | None, rng: np.random.Generator
) -> dict[str, Floats]:
    """Plug-in atoms of bootstrap resamples of rows, or of whole groups."""
    if group is None:
        drawn = rng.integers(0, len(y), (_RESAMPLES, len(y)))
        return _atoms(symbols, drawn, y[drawn], _SWEEPS)
    weights = group_weights(group, _RESAMPLES, rng)
    rows = np.broadcast_to(np.arange(len(y)), weights.shape)
    return _atoms(symbols, rows, y[rows], _SWEEPS, weights)


def _reach(resampled: Floats, null: Floats, group: Ints | None) -> float:
    """Half the width of an interval, by the larger spread.

    Of few groups the bootstrap's spread is too small by √((G − 1) / G), and Student's t takes the
    place of the normal, with G − 1 degrees of freedom (Cameron, Gelbach and Miller, Review of
    Economics and Statistics 90 (2008) 414).
    """
    spread, null_spread = float(resampled.std(ddof=1)), float(null.std(ddof=1))
    if group is None:
        return _Z * max(spread, null_spread)
    from scipy import special

    others = int(group.max())
    quantile = float(special.stdtrit(others, 0.975))
    return quantile * max(spread * float(np.sqrt(1 + 1 / others)), null_spread)


def _estimate(found: float, before: Sequence[float], by_chance: float, reach: float) -> Estimate:
    """Centre at what the labels add to their permutations.

    Predictors that saw half of the rows gave `before`, one value a half. If what they lack falls
    as slowly as 1 / √rows, 1 / (√2 - 1) times the gain since then is lacking still: so far the
    interval reaches, by the half that makes it the wider.
    """
    value, lacking = found - by_chance, (found - np.asarray(before)) / (np.sqrt(2) - 1)
    least, most = min(float(lacking.min()), 0.0), max(float(lacking.max()), 0.0)
    ends = (value - reach + least, value, value + reach + most)
    low, middle, high = (max(0.0, float(end)) for end in ends)
    return Estimate(value=middle, low=low, high=high)


def _atoms(
    symbols: Symbols, rows: Ints, y: Ints, sweeps: int = 400, weights: Floats | None = None
) -> dict[str, Floats]:
    """Plug-in atoms of many samples: (batch, n) rows of the symbols, with labels y and weights.

    S may be negative here: that is noise, which clipping would turn into bias.
    """
    with_a, with_b, both = (
        _tables(codes[rows], y, weights) for codes in (symbols.a, symbols.b, symbols.both)
    )
    of_a, of_b = mutual_information(with_a), mutual_information(with_b)
    least = np.clip(
        least_by_projections(with_a, with_b, sweeps=sweeps), np.maximum(of_a, of_b), of_a + of_b
    )
    return {
        "R": of_a + of_b - least,
        "U_a": least - of_b,
        "U_b": least - of_a,
        "S": mutual_information(both) - least,
    }


def _tables(codes: Ints, y: Ints, weights: Floats | None = None) -> Floats:
    """Joint distributions (batch, symbols, labels) of (batch, n) codes, labels and weights."""
    batch, count = codes.shape
    symbols, labels = int(codes.max()) + 1, int(y.max()) + 1
    cell = (np.arange(batch)[:, None] * symbols + codes) * labels + y
    held = None if weights is None else weights.ravel()
    counts = np.bincount(cell.ravel(), held, minlength=batch * symbols * labels)
    total = count if weights is None else weights.sum(1)[:, None, None]
    shares: Floats = counts.reshape(batch, symbols, labels) / total
    return shares


def _entropy(y: Ints) -> float:
    shares = np.bincount(y) / len(y)
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def _reason(
    estimates: dict[str, Estimate],
    symbols: Symbols,
    halves: Sequence[Symbols],
    y: Ints,
    groups: int | None,
    entropy: float,
) -> str | None:
    units = "rows" if groups is None else "groups"
    of_groups = "" if groups is None else f" of {groups} group{'s' * (groups != 1)}"
    few = f"{len(y)} labelled rows{of_groups} are too few: "
    if groups is not None and groups < _FEWEST_GROUPS:
        return f"{few}at least {_FEWEST_GROUPS} groups are needed to tell of others"
    if len(y) < _FEWEST:
        return f"{few}at least {_FEWEST} are needed"
    for name, estimate in estimates.items():
        if estimate.high - estimate.low > _WIDE * entropy:
            return (
                f"{few}the interval of {name} covers more than half of the label's "
                f"{entropy:.2f} bits"
            )
    for source, words in (("a", "A"), ("b", "B"), ("both", "A and B together")):
        now, *before = (_told(getattr(part, source), y) for part in (symbols, *halves))
        gained = now - float(np.mean(before))
        if gained > _STILL_RISING * entropy:
            return (
                f"{few}predictions from {words} still gain {gained:.2f} bits when {units} double, "
                "so there is more than these numbers say"
            )
    return None


def _told(codes: Ints, y: Ints) -> float:
    return float(mutual_information(_tables(codes[None], y[None]))[0])
