"""λ*, its interval, and the verdict of a study.

The search proposes, the confirmation disposes. On the search's own scores the best of many λs
looks good by luck; so one candidate is taken from the model of the curve, trained again with
fresh seeds and scored on test rows that no trial saw. An `align` rests on that single comparison;
that nothing is to be gained rests on both.
(arXiv 2511.12121 reads λ* off a grid; the choice and the verdicts are this program's own.)
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from tuner.analysis.curves.model import CurveModel, Expectation
from tuner.analysis.curves.observations import Observations
from tuner.analysis.gains.gain import Gain, signed
from tuner.study.answer import Reason, Verdict
from tuner.study.space import LambdaSpace
from tuner.typing import Floats, Indices, Mask

_GRID = 65
_DRAWS = 4000
_HELD = 0.95  # of them by the interval of λ*
USEFUL = 0.25  # in u; λ = .15 of 4
SUPPORT = 0.7
_NEAR = (
    0.4  # of the gain: beyond, at 3.3 standard errors, the gains that are seen are 5 % too large
)
_SURELY = 1.5
_WITH_POWER = 4 / 3  # of the reach of a simultaneous 95 % band: z.₈ standard errors more


@dataclass(frozen=True, kw_only=True)
class UpperBand:
    """The end that the gains at all λs together lie below, with 97.5 % probability.

    Attributes:
        lambdas: λs above 0, ascending.
        gains: The upper end at each; infinite if validation rows are of too few groups to tell, or
            λs were still learning.
        means: The mean gain at each.
    """

    lambdas: tuple[float, ...]
    gains: tuple[float, ...]
    means: tuple[float, ...]

    @classmethod
    def of(cls, lambdas: Floats, draws: Floats) -> Self:
        """Take the band from curves drawn from their posterior.

        As many standard deviations above the mean at every λ, just so many that 97.5 % of the
        curves lie below it everywhere.

        Args:
            lambdas: Shape (m,).
            draws: Shape (n, m).
        """
        center, spread = draws.mean(axis=0), draws.std(axis=0)
        away = np.divide(draws - center, spread, out=np.zeros_like(draws), where=spread > 0)
        gains = center + np.quantile(away.max(axis=1), 0.975) * spread
        ends = {"gains": tuple(gains.tolist()), "means": tuple(center.tolist())}
        return cls(lambdas=tuple(lambdas.tolist()), **ends)

    @property
    def highest(self) -> float:
        """What no λ gains more than."""
        return max(self.gains)

    def is_surely_below(self, smallest: float) -> bool:
        """Whether every gain is less, with 99.9 %: 1.5 times as far above the mean as the band."""
        far = np.array(self.means) + _SURELY * (np.array(self.gains) - np.array(self.means))
        return bool(np.all(far < smallest))

    def shrinkage(self, smallest: float, most: float) -> float:
        """By what the variance has to be divided so that a gain of that size is ruled out, ≥ 1.

        With 80 % power, where no λ truly gains more than was seen, nor more than `most`, which is
        less than `smallest`.
        """
        center = np.minimum(self.means, most)
        reach = _WITH_POWER * (np.array(self.gains) - np.array(self.means))
        return max(1.0, float(np.max(reach / (smallest - center))) ** 2)

    def loses_from(self, loss: float) -> float | None:
        """The least λ from which on every one loses that much or more; None if there is none."""
        found = None
        for strength, gain in zip(reversed(self.lambdas), reversed(self.gains), strict=True):
            if gain > -loss:
                break
            found = strength
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Admitted:
    """Which λs of the `grid` are likely to keep the bounds that a study sets.

    Attributes:
        tried: (λs of the grid,) λ = 0 and those to choose from: if none above 0 is likely to
            keep them, the useful one (u at least 1/4) that comes nearest.
        is_any: Whether one above 0 is as likely to keep them as not, or likelier.
    """

    tried: Mask
    is_any: bool


def grid(space: LambdaSpace) -> tuple[Floats, Floats]:
    """Return the λs to choose from, λ = 0 first: their u, evenly, and themselves."""
    units = np.linspace(0, 1, _GRID)
    return units, _readable(space.to_lambda(units), space.maximum)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the search says, before it is confirmed.

    Attributes:
        best: The λ in [0, λ_max] of the highest posterior mean gain; 0 if none is above 0.
        interval: The shortest 95 % interval of the λ of the highest gain, to 1/64 of u. It may
            include 0 and λ_max, and is the whole range if validation rows are of too few groups to
            tell.
        candidate: The λ > 0 to confirm against λ = 0: `best` if that is above 0, else the least
            harmful of the useful strengths (u at least 1/4); then what the targets agree on (see
            `tuner.analysis.candidates`).
        expected: Gain at its own candidate, on validation rows. Where `best` is above 0 it is the
            best of many, so an optimistic one.
        support: Posterior probability, on validation rows, that its own candidate gains at all.
        average: Gain averaged over the range searched, evenly in u, on validation rows; without
            an interval, and of no groups, if every λ was still learning.
        band: What the gains at all λs lie below, on validation rows; of those that are likely to
            keep the bounds of the study.
        means: The expected gain at each λ of the band, by past studies too if they are gone by.
        is_admitted: Whether a λ above 0 is likely to keep these.
    """

    best: float
    interval: tuple[float, float]
    candidate: float
    expected: Gain
    support: float
    average: Gain
    band: UpperBand
    means: tuple[float, ...]
    is_admitted: bool = True

    def recommended(self, verdict: Verdict) -> tuple[float, tuple[float, float]]:
        """λ* and the interval that it lies in: the search's, and 0 where no gain is confirmed.

        The search alone may be sure of a peak above 0 that fresh seeds and test rows do not
        confirm; then 0 may be the best as well.
        """
        strength = self.candidate if verdict == "align" else 0.0
        low, high = self.interval
        return strength, (min(low, strength), max(high, strength))


def choose(
    observations: Observations,
    space: LambdaSpace,
    *,
    seed: int,
    learning: Collection[float] = (),
    admitted: Admitted | None = None,
    expected: Expectation | None = None,
) -> Choice:
    """Choose λ* from the model of the curve, not from the raw best.

    Args:
        observations: What the search saw.
        space: The λs searched.
        seed: Of the draws from the posterior; the same seed gives the same choice.
        learning: λs that were still learning when their epochs ended. What is lost there and in
            between is no part of the average; that there is no gain at any λ is not known then.
        admitted: Which λs keep the bounds of the study; None if it has none. If there are none
            above 0, `best` is 0 and the candidate the one that is likeliest to.
        expected: What past studies lead one to expect; None for anything. It has a say in where
            the best λ lies, and none in whether it gains: the verdict rests on what this study saw.

    Raises:
        ValueError: If a λ lies outside the space.
    """
    units, lambdas = grid(space)
    curve, draws = _drawn(observations, space, lambdas, seed)
    where, places = curve, draws
    if expected is not None:
        where, places = _drawn(observations, space, lambdas, seed, expected)
    tried = np.ones(_GRID, dtype=bool) if admitted is None else admitted.tried
    mean = np.where(tried, where.mean(lambdas), -np.inf)
    is_admitted = admitted is None or admitted.is_any
    best = int(mean.argmax()) if is_admitted else 0
    candidate = best or _best_above_zero(mean, units, tried)
    shortest = _shortest(np.where(tried, places, -np.inf).argmax(axis=1))
    low, high = (0, _GRID - 1) if observations.too_few_groups else shortest
    of_band, known = tried[1:], not learning
    return Choice(
        best=float(lambdas[best]),
        # The two can part where the curve is flat: the interval is of the argmax, best of the mean.
        interval=(float(lambdas[min(low, best)]), float(lambdas[max(high, best)])),
        candidate=float(lambdas[candidate]),
        expected=_summary(draws[:, candidate], observations),
        support=float(np.mean(draws[:, candidate] > 0)),
        average=_average(draws, units, observations, space, learning),
        band=_band(lambdas[1:][of_band], draws[:, 1:][:, of_band], observations, known=known),
        means=tuple(places[:, 1:][:, of_band].mean(axis=0).tolist()),
        is_admitted=is_admitted,
    )


def _best_above_zero(mean: Floats, units: Floats, tried: Mask) -> int:
    """Place of the λ to confirm where λ = 0 is best: one that aligns at all, if any was tried."""
    useful = np.flatnonzero((units >= USEFUL) & tried)
    if not useful.size:
        useful = np.flatnonzero((units > 0) & tried)
    return int(useful[mean[useful].argmax()])


def _drawn(
    observations: Observations,
    space: LambdaSpace,
    lambdas: Floats,
    seed: int,
    expected: Expectation | None = None,
) -> tuple[CurveModel, Floats]:
    """The model of the curve, and curves drawn from it."""
    curve = CurveModel.fit(observations, space, expected)
    return curve, curve.draws(lambdas, _DRAWS, np.random.default_rng(seed))


def _shortest(winners: Indices) -> tuple[int, int]:
    """The shortest interval that holds 95 % of draws; of equally short ones the first."""
    ordered = np.sort(winners)
    held = math.ceil(_HELD * ordered.size)
    first = int((ordered[held - 1 :] - ordered[: ordered.size - held + 1]).argmin())
    return int(ordered[first]), int(ordered[first + held - 1])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
        verdict: What to do.
        reason: Why, for programs.
        evidence: Why, in sentences.
        harm_from: The λ from which on alignment surely loses the smallest gain or more; None if
            there is none.
    """

    verdict: Verdict
    reason: Reason
    evidence: str
    harm_from: float | None = None


def decide(
    choice: Choice,
    confirmed: Gain,
    smallest: float,
    learning: Collection[float] = (),
) -> Decision:
    """The verdict, and what it rests on.

    - `align`: fresh seeds on test rows gain at the candidate, and the search leaned that way too.
      The test alone would be wrong in 2.5 % of verdicts without any effect, which is more than 5 %
      of studies, as each has three; that the search agree costs hardly any power and makes it
      less than 1 % of verdicts.
    - `do not align`, because harm is shown: the search sees no gain at any λ, the average over its
      range is surely below 0, and the test at the least harmful useful strength is below 0 too.
      One harmful λ would not do: too strong an alignment harms wherever a weaker one helps. Nor
      can every λ be asked to be surely worse: the effect vanishes as λ goes to 0.
    - `do not align`, because there is no gain worth having: one of the smallest worthwhile size is
      ruled out at every λ by the search, and at the candidate by the test, each at 2.5 % (an
      equivalence test: Lakens, Social Psychological and Personality Science 8 (2017) 355).
    - `undecided` otherwise. So it is where λ = 0 was still learning when its epochs ended, and,
      but for a gain, where the candidate was.

    Args:
        choice: What the search says.
        confirmed: Gain at `choice.candidate`, with fresh seeds, on test rows.
        smallest: The smallest gain worth having, above 0, in units of the score.
        learning: λs that were still learning when their epochs ended: see `choose`.
    """
    reason, found = _reason(choice, confirmed, smallest, learning)
    verdict: Verdict = "do not align"
    if reason in ("gain confirmed", "needs more"):
        verdict = "align" if reason == "gain confirmed" else "undecided"
    tested = f"at λ = {choice.candidate:.3g}, with fresh seeds on test rows, {_words(confirmed)}"
    over = "λs that had learned out" if learning else "λs searched"
    searched = f"averaged over the {over}, on validation rows, {_words(choice.average)}"
    parts = [tested]
    if verdict != "align" and (choice.average.interval or choice.average.groups is not None):
        parts.append(searched)
    if np.isfinite(choice.band.highest):
        parts.append(f"on validation rows no λ gains more than {choice.band.highest:.3g} (97.5 %)")
    words = f"{found}: {'; '.join(parts)}."
    if verdict == "align" and confirmed.low < _NEAR * confirmed.value:
        words += " A gain so near to 0 is seen where luck adds to it: expect a smaller one."
    return Decision(
        verdict=verdict,
        reason=reason,
        evidence=f"{words} The smallest gain worth having is {smallest:.3g} (--smallest-gain).",
        harm_from=choice.band.loses_from(smallest),
    )


def _reason(
    choice: Choice, confirmed: Gain, smallest: float, learning: Collection[float]
) -> tuple[Reason, str]:
    """The reason of a verdict, and the beginning of its evidence."""
    if 0.0 in learning:
        return "needs more", "Nothing is decided, for λ = 0 was still learning"
    if choice.best > 0 and choice.support >= SUPPORT and confirmed.low > 0:
        small = ", by less than is worth having" if confirmed.high < smallest else ""
        return "gain confirmed", f"Alignment helps{small}"
    if choice.candidate in learning:
        return "needs more", f"No harm is shown, for λ = {choice.candidate:.3g} was still learning"
    if choice.best == 0 and choice.average.high < 0 and confirmed.value < 0:
        return "harm shown", "No λ was seen to help and alignment harms"
    if choice.band.highest < smallest and confirmed.high < smallest:
        return "no gain worth having", f"A gain of {smallest:.3g} is ruled out at every λ"
    if confirmed.low > 0:
        return (
            "needs more",
            "The search saw too little of a gain to believe the one that was tested",
        )
    if choice.average.high < 0:
        return "needs more", "No gain was confirmed, nor was every useful λ shown to harm"
    return "needs more", "No gain was confirmed, nor one worth having ruled out"


def _readable(lambdas: Floats, maximum: float) -> Floats:
    """Round to three digits, as people will read, type and compare them; keep the maximum."""
    rounded = np.array([float(f"{strength:.3g}") for strength in lambdas[:-1]])
    return np.append(np.minimum(rounded, maximum), maximum)


def _average(
    draws: Floats,
    units: Floats,
    observations: Observations,
    space: LambdaSpace,
    learning: Collection[float],
) -> Gain:
    """The gain averaged over the range, but where the nearest λ searched was still learning."""
    searched = np.asarray(space.to_unit(observations.lambdas))
    nearest = np.abs(units[:, None] - searched).argmin(axis=1)
    learned_out = ~np.isin(observations.lambdas, list(learning))
    if not learned_out[observations.lambdas > 0].any():
        return Gain(value=0.0, low=-np.inf, high=np.inf)
    return _summary(draws[:, learned_out[nearest]].mean(axis=1), observations)


def _band(lambdas: Floats, draws: Floats, observations: Observations, *, known: bool) -> UpperBand:
    if observations.too_few_groups or not known:
        unknown = (np.inf,) * lambdas.size
        means = tuple(draws.mean(axis=0).tolist())
        return UpperBand(lambdas=tuple(lambdas.tolist()), gains=unknown, means=means)
    return UpperBand.of(lambdas, draws)


def _summary(draws: Floats, observations: Observations) -> Gain:
    low, value, high = np.quantile(draws, [0.025, 0.5, 0.975])
    if observations.too_few_groups:
        low, high = -np.inf, np.inf
    groups = None if observations.grouping is None else observations.grouping.count
    return Gain(value=float(value), low=float(low), high=float(high), groups=groups)


def _words(gain: Gain) -> str:
    groups = "" if gain.groups is None else f"{gain.groups:,} group{'s' * (gain.groups != 1)}"
    if gain.interval is None:
        return f"the gain is {signed(gain.value)} (no interval: rows of {groups} are too few)"
    over = f" over {groups}" if groups else ""
    return (
        f"the gain is {signed(gain.value)} (95 % interval{over} {signed(gain.low)} to "
        f"{signed(gain.high)})"
    )
