"""What would decide a question that is undecided: so many seeds, so many labelled test rows.

If the gain seen is the true one, a study with as many shows it, or rules out the smallest gain
worth having, with 80 % power: half the width of the 95 % interval and z.₈ standard errors fit
between the gain and 0, or between the gain and the smallest (Lakens, Social Psychological and
Personality Science 8 (2017) 355). It is the farther of the two that is asked about.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

from tuner.analysis.decision import Choice
from tuner.analysis.gain import CrossedVariance, Gain
from tuner.study.result import Needs

_POWER = 0.8416  # the normal quantile of .8
_MOST = 10**6


def needs(choice: Choice, gain: Gain, smallest: float, *, seeds: int, rows: int) -> Needs | None:
    """How much more is needed; None if test rows are of too few groups to tell.

    Args:
        choice: What the search says.
        gain: Of the candidate, on test rows.
        smallest: The smallest gain worth having.
        seeds: That the gain is of.
        rows: Labelled test rows, of groups as large as these are where rows come in groups.
    """
    variance = gain.variance
    if variance is None or gain.interval is None:
        return None
    shows = gain.value >= smallest / 2
    distance = gain.value if shows else smallest - gain.value

    def suffices(more_seeds: float, more_rows: float) -> bool:
        return decides(variance.scaled(seeds=more_seeds, rows=more_rows), distance)

    by_seeds = _first(range(seeds, _MOST), lambda s: suffices(s / seeds, 1))
    by_rows = _first(range(rows, rows * _MOST), lambda n: suffices(1, n / rows))
    by_both = _first(range(seeds, _MOST), lambda s: suffices(s / seeds, s / seeds))
    both = None if by_both is None else (by_both, int(np.ceil(rows * by_both / seeds)))
    search = 1.0 if shows else choice.band.shrinkage(smallest, gain.value)
    return Needs(
        goal="show" if shows else "rule out",
        size=gain.value if shows else smallest,
        has=(seeds, rows),
        seeds=by_seeds,
        rows=by_rows,
        both=both,
        search=search,
    )


def decides(variance: CrossedVariance, distance: float) -> bool:
    """Whether gains that far apart are told apart with 80 % power."""
    return bool(variance.half_width + _POWER * np.sqrt(variance.total) <= distance)


def _first(numbers: Sequence[int], suffices: Callable[[int], bool]) -> int | None:
    """The first number that suffices, of which all later ones do, too."""
    index = bisect_left(numbers, True, key=suffices)
    return numbers[index] if index < len(numbers) else None
