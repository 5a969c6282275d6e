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
from tuner.analysis.gains.gain import CrossedVariance, Gain
from tuner.analysis.gains.looks import level
from tuner.errors import SpecError
from tuner.study.answer import Answer, FoldNeeds, Needs, TargetAnswer
from tuner.study.result import StudyResult
from tuner.study.scoring.folds import AUTO_FOLDS
from tuner.study.scripts.result import ScriptResult

POWER = 0.8416  # the normal quantile of .8
_MOST = 10**6
_MANY = 20  # times as many seeds as there are: more are not asked for without being named


def needs(
    choice: Choice,
    gain: Gain,
    smallest: float,
    *,
    looks: Sequence[int],
    rows: int,
    divisible: int | None = None,
) -> Needs | None:
    """How much more is needed; None if test rows are of too few groups to tell.

    Args:
        choice: What the search says.
        gain: Of the candidate, on test rows.
        smallest: The smallest gain worth having.
        looks: Seeds at every look so far; the gain is of the last. Seeds alone can be added, which
            is one look more; more rows are another study, with a first look.
        rows: Labelled test rows, of groups as large as these are where rows come in groups.
        divisible: Labelled rows that `AUTO_FOLDS` folds of the same data would test; None if these
            cannot be divided, or are.
    """
    variance = gain.variance
    if variance is None or gain.interval is None:
        return None
    shows = gain.value >= smallest / 2
    distance = gain.value if shows else smallest - gain.value
    by_seeds, by_rows, both = enough(variance, distance, seeds=looks[-1], rows=rows, looks=looks)
    search = 1.0 if shows else choice.band.shrinkage(smallest, gain.value)
    return Needs(
        goal="show" if shows else "rule out",
        size=gain.value if shows else smallest,
        has=(looks[-1], rows),
        seeds=by_seeds,
        rows=by_rows,
        both=both,
        folds=None
        if divisible is None
        else _in_folds(variance, distance, looks[-1], rows, divisible),
        search=search,
    )


def enough(
    variance: CrossedVariance, distance: float, *, seeds: int, rows: int, looks: Sequence[int] = ()
) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """How many seeds alone, rows alone, and of both in proportion tell gains apart.

    Args:
        variance: Of a gain over so many seeds and rows.
        distance: Between the gains.
        seeds: See `variance`.
        rows: See `variance`.
        looks: Seeds at every look so far, to which seeds alone can be added.

    Returns:
        None in the place of each of which no number suffices.
    """

    def suffice(more_seeds: float, more_rows: float) -> bool:
        return decides(variance.scaled(seeds=more_seeds, rows=more_rows), distance)

    def added_suffice(total: int) -> bool:
        error = level((*looks, total))
        return decides(variance.scaled(seeds=total / seeds, rows=1, error=error), distance)

    by_seeds = _first(range(max((1, *looks)) + 1, _MOST), added_suffice)
    by_rows = _first(range(rows, rows * _MOST), lambda n: suffice(1, n / rows))
    by_both = _first(range(seeds, _MOST), lambda s: suffice(s / seeds, s / seeds))
    both = None if by_both is None else (by_both, int(np.ceil(rows * by_both / seeds)))
    return by_seeds, by_rows, both


def _in_folds(
    variance: CrossedVariance, distance: float, seeds: int, rows: int, divisible: int
) -> FoldNeeds | None:
    """How many seeds suffice if folds test all rows that they can; None if no number does."""
    divided = variance.in_folds(AUTO_FOLDS)

    def suffice(total: int) -> bool:
        return decides(divided.scaled(seeds=total / seeds, rows=divisible / rows), distance)

    fewest = _first(range(2 * AUTO_FOLDS, _MOST), suffice)
    return None if fewest is None else FoldNeeds(count=AUTO_FOLDS, seeds=fewest, rows=divisible)


def deciding_seeds(result: StudyResult | ScriptResult) -> int:
    """How many confirming seeds in all would decide an answer: the main one if it is undecided.

    Raises:
        SpecError: If it is decided, or no number would do that seeds alone can reach.
    """
    answers: list[Answer | TargetAnswer] = list(result.answers.values())
    undecided = [answer for answer in reversed(answers) if answer.verdict == "undecided"]
    if not undecided:
        raise SpecError(
            f"study {result.study} is decided; --seeds N adds seeds until there are N, for a "
            "narrower interval"
        )
    for answer in undecided:
        needed = answer.needs
        if needed is None or needed.seeds is None or needed.search > 1:
            continue
        if needed.seeds <= _MANY * needed.has[0]:
            return needed.seeds
    raise SpecError(
        f"study {result.study}: more confirming seeds alone would not decide it. "
        f"{result.headline or ''} --seeds N adds seeds all the same, until there are N"
    )


def decides(variance: CrossedVariance, distance: float) -> bool:
    """Whether gains that far apart are told apart with 80 % power."""
    return bool(variance.half_width + POWER * np.sqrt(variance.total) <= distance)


def _first(numbers: Sequence[int], suffices: Callable[[int], bool]) -> int | None:
    """The first number that suffices, of which all later ones do, too."""
    index = bisect_left(numbers, True, key=suffices)
    return numbers[index] if index < len(numbers) else None
