"""Tries a user's training before a study is paid for: does it do what a study takes for granted?"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from tuner.errors import ScriptError
from tuner.scripts.reported import Reported, check_alike
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.typing import Floats

TRAININGS = 7
SMALL, LARGE = 0.05, 4.0  # λ that hardly changes a training, and one that has to
NOTHING = 1e-30  # λ whose share of any gradient is lost in rounding
GAIN, RELATIVE_GAIN = 0.01, 0.02  # that one wants to see: of a rate, and of what is none
_REACH = 2 * (1.96 + 0.84) ** 2  # of two-sided tests at 5 % with a power of 80 %
_PAIRED = 0.2  # correlation from which on it is worth speaking of pairs

Status = Literal["good", "doubt", "fault", "unseen"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one check.

    Attributes:
        check: What was looked at.
        status: `good`; `doubt`: the study can do without; `fault`: it cannot; `unseen`: it cannot
            be told from outside.
        words: A sentence, with what to do if that is needed.
    """

    check: str
    status: Status
    words: str


class Train(Protocol):
    """Trains once."""

    def __call__(self, strength: float, seed: int, *, confirming: bool = False) -> Reported:
        """Train with λ = `strength`; raises `ScriptError` if it does not end well."""


class _FaultError(Exception):
    """A fault after which nothing more can be told."""


OnTraining = Callable[[int, float, int], None]


def check(
    script: Script,
    *,
    folder: Path,
    seed: int = 0,
    large: float = LARGE,
    timeout: float | None = None,
    on_training: OnTraining,
) -> Iterator[Finding]:
    """Train `TRAININGS` times at most, and yield what is found.

    Args:
        script: What is tried.
        folder: Of the trainings and their logs.
        seed: One seed; the next is the other.
        large: The largest λ of the study.
        timeout: Seconds for each training.
        on_training: Told the number of each training before it, from 1, its λ and its seed.
    """
    numbers = count(1)

    def train(strength: float, seed: int, *, confirming: bool = False) -> Reported:
        number = next(numbers)
        on_training(number, strength, seed)
        place = folder / str(number)
        shutil.rmtree(place, ignore_errors=True)  # an earlier check may have left checkpoints
        return run_training(
            script,
            strength=strength,
            seed=seed,
            confirming=confirming,
            folder=place,
            timeout=timeout,
        )

    return findings_of(train, seed=seed, large=large)


def findings_of(train: Train, *, seed: int = 0, large: float = LARGE) -> Iterator[Finding]:
    """Yield what is found about a training: see `check`."""
    try:
        baseline = train(0.0, seed)
        yield Finding(check="training", status="good", words=_training_words(baseline))
        yield from _checks(train, baseline, seed, large)
    except ScriptError as error:
        yield Finding(check="training", status="fault", words=f"{error}.")
    except _FaultError:
        return


def _checks(train: Train, baseline: Reported, seed: int, large: float) -> Iterator[Finding]:
    """Yield what is found about a script that has trained once.

    Raises:
        ScriptError: If it does not train once more.
        _FaultError: If the last finding is a fault after which no training is worth its time.
    """
    again = train(0.0, seed, confirming=True)
    check_alike(baseline, again)
    noise = _distance(baseline, again)
    yield _repeats(baseline, again, noise)
    other = train(0.0, seed + 1)
    check_alike(baseline, other)
    yield from _stopping(_seed_is_used(baseline, other, noise, seed))
    yield _same_rows(baseline, other)
    yield from _stopping(_at_large(train, baseline, noise, seed, large))
    if noise > 0:
        yield Finding(check="λ = 0", status="unseen", words=_OFF_UNSEEN)
    else:
        yield _off_at_zero(baseline, train(NOTHING, seed))
    close = train(SMALL, seed), train(SMALL, seed + 1)
    for reported in close:
        check_alike(baseline, reported)
    yield _pairing((baseline, other), close)


def _at_large(train: Train, baseline: Reported, noise: float, seed: int, large: float) -> Finding:
    try:
        strong = train(large, seed)
    except ScriptError as error:
        return Finding(check="λ", status="doubt", words=_strong_words(error, large))
    check_alike(baseline, strong)
    return _strength_is_used(baseline, strong, noise, large)


def _stopping(finding: Finding) -> Iterator[Finding]:
    yield finding
    if finding.status == "fault":
        raise _FaultError


def _training_words(reported: Reported) -> str:
    rows = reported.validation
    told = [f"{name} of {rows.rows(name):,} rows" for name in rows.scores]
    return (
        f"A training at λ = 0 takes {reported.seconds:.3g} s and reports {', '.join(told)}; "
        f"{TRAININGS - 1} more are tried."
    )


def _repeats(first: Reported, again: Reported, noise: float) -> Finding:
    if noise == 0:
        words = (
            "λ = 0 with one seed twice, once as a confirmation, gives the same scores bit by bit."
        )
        return Finding(check="repetition", status="good", words=words)
    words = (
        f"λ = 0 with one seed twice differs{_differences(first, again)}: noise from run to run, "
        "which more seeds average out. For less of it make the training deterministic "
        "(torch.use_deterministic_algorithms(True), seeds of data loaders' workers), and let "
        "`trial.confirming` change nothing but the report of test rows."
    )
    return Finding(check="repetition", status="doubt", words=words)


def _seed_is_used(first: Reported, other: Reported, noise: float, seed: int) -> Finding:
    distance = _distance(first, other)
    mend = "Draw initial weights and the order of batches from it: trial.seed, or {seed}."
    if distance == 0:
        unused = "the seed is not used, and replicates would be copies of each other"
        return _same_scores("seed", f"Seeds {seed} and {seed + 1}", unused, mend, first, other)
    if distance <= 1.2 * noise:
        words = (
            f"Another seed changes no more than a repetition does: the seed may not be used. {mend}"
        )
        return Finding(check="seed", status="doubt", words=words)
    words = f"Another seed gives other scores{_differences(first, other)}: the seed is used."
    return Finding(check="seed", status="good", words=words)


def _same_scores(
    check: str, trainings: str, unused: str, mend: str, first: Reported, other: Reported
) -> Finding:
    """Say what it means that trainings score the same which should not."""
    said = f"{trainings} give the same scores"
    if _have_other_curves(first, other):
        words = (
            f"{said} and other curves: they are other trainings, and scores do not tell. {_FINER}"
        )
        return Finding(check=check, status="doubt", words=words)
    if all(np.ptp(scores) == 0 for scores in first.scores.values()):
        words = f"{said}, one for all rows: either {unused}, or rows leave nothing to be told. "
        return Finding(check=check, status="doubt", words=f"{words}{mend} {_FINER}")
    return Finding(check=check, status="fault", words=f"{said}: {unused}. {mend}")


def _same_rows(first: Reported, other: Reported) -> Finding:
    """Look whether rows that are hard for one seed are hard for the other."""
    if first.row_ids is not None:
        words = "The same rows are reported each time, by their row_id."
        return Finding(check="rows", status="good", words=words)
    for name in _by_row(first):
        correlation = _correlation(first.scores[name], other.scores[name])
        if correlation is not None:
            return _row_order(name, correlation, len(first.scores[name]))
    words = "As many rows each time; whether they are the same ones cannot be told: report row_id."
    return Finding(check="rows", status="unseen", words=words)


def _row_order(name: str, correlation: float, rows: int) -> Finding:
    if correlation < 2 / np.sqrt(rows):
        words = (
            f"Rows that score low in {name} with one seed do not with the other (correlation "
            f"{correlation:.2f}): if rows come in another order in each training, report row_id, "
            "which tells which they are."
        )
        return Finding(check="rows", status="doubt", words=words)
    words = (
        f"As many rows each time, and as far as {name} tells in the same order (correlation "
        f"{correlation:.2f} between seeds)."
    )
    return Finding(check="rows", status="good", words=words)


def _strength_is_used(first: Reported, strong: Reported, noise: float, large: float) -> Finding:
    distance = _distance(first, strong)
    mend = "Multiply the alignment loss by it: trial.strength, or {strength}."
    if distance == 0:
        trainings = f"λ = 0 and λ = {large:g}"
        return _same_scores("λ", trainings, "λ is not used", mend, first, strong)
    if distance <= 1.2 * noise:
        words = f"λ = {large:g} changes no more than a repetition does: λ may not be used. {mend}"
        return Finding(check="λ", status="doubt", words=words)
    words = f"λ = {large:g} gives other scores than λ = 0{_differences(first, strong)}: λ is used."
    return Finding(check="λ", status="good", words=words)


def _strong_words(error: ScriptError, large: float) -> str:
    return (
        f"λ = {large:g}, the largest that a study would try, fails: {error}. If it is only too "
        "strong, search below it: --max-lambda 1."
    )


_FINER = "Report finer scores, as the loss of each row, or rows that are harder."
_OFF_UNSEEN = (
    "Whether λ = 0 switches the alignment off cannot be told, as trainings differ from run to run: "
    "look that λ multiplies all of the alignment loss."
)


def _off_at_zero(first: Reported, weightless: Reported) -> Finding:
    if _distance(first, weightless) == 0 and not _have_other_curves(first, weightless):
        words = (
            f"λ = 0 trains as a λ does that weighs nothing ({NOTHING:g}). An alignment that is not "
            "multiplied by λ cannot be seen from outside: look that λ multiplies all of it."
        )
        return Finding(check="λ = 0", status="good", words=words)
    words = (
        f"λ = 0 trains otherwise than a λ that weighs nothing ({NOTHING:g})"
        f"{_differences(first, weightless)}: the alignment part draws random numbers or changes "
        "what is normalised, and a gain over λ = 0 would be that of this, too. Give it a generator "
        "of its own, and let it change no statistics."
    )
    return Finding(check="λ = 0", status="doubt", words=words)


def _pairing(zero: tuple[Reported, Reported], close: tuple[Reported, Reported]) -> Finding:
    """Compare how rows change from seed to seed at two λ that are close to each other.

    Where they change alike, that cancels in a difference between λs: its variance is 1 − ρ of that
    of unrelated trainings, ρ being the correlation over rows.
    """
    found = {}
    for name in _by_row(zero[0]):
        changes = [one.scores[name] - two.scores[name] for one, two in (zero, close)]
        correlation = _correlation(changes[0], changes[1])
        if correlation is not None:
            found[name] = correlation
    if not found:
        words = "Whether shared seeds pair trainings cannot be told: that takes scores of rows."
        return Finding(check="pairing", status="unseen", words=words)
    name, correlation = min(found.items(), key=lambda item: item[1])
    alone, paired = _seeds(name, zero, close, 0.0), _seeds(name, zero, close, correlation)
    rows = len(zero[0].scores[name])
    seen = f"(correlation {correlation:.2f} of {name} from seed to seed, λ = 0 and λ = {SMALL:g})"
    gain = f"{_gain(zero[0].scores[name]):.2g}"
    if correlation > max(_PAIRED, 2 / np.sqrt(rows)):
        words = (
            f"Shared seeds pair trainings {seen}: a gain of {gain} takes about {paired:,} seeds, "
            f"where unrelated trainings take {alone:,}."
        )
        return Finding(check="pairing", status="good", words=words)
    half = _seeds(name, zero, close, 0.5)
    words = (
        f"Shared seeds hardly pair trainings {seen}: a gain of {gain} takes about {alone:,} "
        f"seeds, {alone - half:,} more than with half of the noise in common. Let one seed give "
        "the same initial weights and batches, whatever λ."
    )
    return Finding(check="pairing", status="doubt", words=words)


def _seeds(
    name: str,
    zero: tuple[Reported, Reported],
    close: tuple[Reported, Reported],
    correlation: float,
) -> int:
    """Return about how many seeds show a gain, by the noise of two seeds at two λ."""
    means = [[float(each.scores[name].mean()) for each in pair] for pair in (zero, close)]
    variance = sum((one - two) ** 2 / 2 for one, two in means) / 2
    gain = _gain(zero[0].scores[name])
    return max(2, int(np.ceil(_REACH * variance * (1 - max(0.0, correlation)) / gain**2)))


def _gain(scores: Floats) -> float:
    """Return the gain that one wants to see in the mean of scores."""
    is_rate = scores.min() >= 0 and scores.max() <= 1
    return GAIN if is_rate else RELATIVE_GAIN * abs(float(scores.mean())) or GAIN


def _by_row(reported: Reported) -> list[str]:
    return [name for name in reported.scores if name not in reported.counts]


def _distance(first: Reported, other: Reported) -> float:
    """Return the root of the mean squared difference of scores, of all targets in their units."""
    parts = [_relative(first.scores[name], other.scores[name]) for name in first.scores]
    return float(np.sqrt(np.mean(np.concatenate(parts))))


def _relative(one: Floats, two: Floats) -> Floats:
    scale = float(np.abs(one).max()) or 1.0
    return ((one - two) / scale) ** 2


def _have_other_curves(first: Reported, other: Reported) -> bool:
    """Whether what was told after epochs differs, which scores of few rows may not tell."""
    shared = first.curves.keys() & other.curves.keys()
    return any(not np.array_equal(first.curves[name], other.curves[name]) for name in shared)


def _differences(first: Reported, other: Reported) -> str:
    """Say how far two trainings are from each other: " (acc by 0.004, in 12 of 500 rows)"."""
    told = []
    for name, one in first.scores.items():
        two = other.scores[name]
        rows = "" if name in first.counts else f", in {(one != two).sum():,} of {len(one):,} rows"
        told.append(f"{name} by {abs(two.mean() - one.mean()):.3g}{rows}")
    return f" ({'; '.join(told)})"


def _correlation(one: Floats, two: Floats) -> float | None:
    """Return the correlation of two arrays; None where one of them does not vary."""
    if one.std() == 0 or two.std() == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])
