"""Which λs are likely to satisfy the bounds that a study sets, by the models of the curves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tuner.analysis.curves.model import CurveModel
from tuner.analysis.curves.observations import observe
from tuner.analysis.decision import USEFUL, Admitted, Choice, Decision, grid
from tuner.analysis.gains.gain import measured_gain, signed
from tuner.models.outcome import TrainingOutcome
from tuner.study.answer import EVEN, BoundKept
from tuner.study.scoring.constraints import Constraint
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.typing import Array

_DRAWS = 4000
_DOUBT = 0.25
_LEAST = 1e-300  # of a standard deviation, so that it divides


def admitted(
    spec: SearchSpec, scorer: TargetScorer, outcomes: Sequence[TrainingOutcome]
) -> Admitted | None:
    """Say which λs are likely to violate no bound; None without bounds.

    A bound is about the mean over seeds and rows, as the model of its target's curve has it. Where
    more is to be had beyond a bound, a λ that keeps it with probability one half is confirmed to
    keep it in half of all studies: so λ* is chosen from those that keep each with .75.

    Args:
        spec: The study.
        scorer: Scores validation rows.
        outcomes: What the search trained, λ = 0 among it.
    """
    if not spec.constraints:
        return None
    units, lambdas = grid(spec.space)
    violated, ease = np.zeros(lambdas.size), np.full(lambdas.size, np.inf)
    for constraint in spec.constraints:
        seen = observe(scorer, outcomes, constraint.target)
        rng = np.random.default_rng(spec.seed)
        gains = CurveModel.fit(seen, spec.space).draws(lambdas, _DRAWS, rng)
        margins = constraint.margin(gains, scorer.sign(constraint.target))
        violated = np.maximum(violated, (margins < 0).mean(axis=0))
        ease = np.minimum(ease, margins.mean(axis=0) / np.maximum(margins.std(axis=0), _LEAST))
    tried = violated <= _DOUBT
    tried[0] = True  # which bounds are relative to
    if not tried[1:].any():
        tried[np.where(units >= USEFUL, ease, -np.inf).argmax()] = True
    return Admitted(tried=tried, is_any=bool((violated[1:][tried[1:]] <= EVEN).any()))


def bound_kept(
    constraint: Constraint,
    scorer: TargetScorer,
    treated: dict[str, Array],
    baseline: dict[str, Array],
    error: float,
) -> BoundKept:
    """Measure a bound with fresh seeds on test rows.

    Args:
        constraint: The bound.
        scorer: Scores test rows.
        treated: What trainings with alignment tell of them, by name, (replicates, rows).
        baseline: The same of λ = 0, by the same seeds.
        error: How often the interval misses.
    """
    from scipy import special

    target = constraint.target
    gain = measured_gain(scorer, treated, baseline, target, error=error)
    sign = scorer.sign(target)
    moved = sign * gain.value
    low, high = sorted((sign * gain.low, sign * gain.high))
    margin = constraint.margin(gain.value, sign)
    spread = 0.0 if gain.variance is None else float(np.sqrt(gain.variance.total))
    chance = float(special.ndtr(-margin / spread)) if spread > 0 else float(margin < 0)
    ends = None if gain.interval is None else (low, high)
    return BoundKept(bound=str(constraint), change=moved, interval=ends, violated=chance)


def within_bounds(decision: Decision, choice: Choice, bounds: Sequence[BoundKept]) -> Decision:
    """Return a decision that recommends no λ which is likelier than not to violate a bound.

    Args:
        decision: What is best for the target alone.
        choice: What the search chose.
        bounds: What was measured at the λ that was tested.
    """
    words = decision.evidence + "".join(map(_bound_words, bounds))
    if bounds and not choice.is_admitted:
        words += " By validation rows no λ above 0 is likely to keep all that it is subject to."
    is_violated = decision.verdict == "align" and not all(bound.is_kept for bound in bounds)
    if is_violated:
        words += f" So λ = {choice.candidate:.3g} is not recommended, whatever it gains."
    if is_violated or (bounds and decision.verdict == "undecided" and not choice.is_admitted):
        return replace(decision, verdict="do not align", reason="bound violated", evidence=words)
    return replace(decision, evidence=words)


def _bound_words(bound: BoundKept) -> str:
    kept = "is kept" if bound.is_kept else "is violated"
    ends = ""
    if bound.interval is not None:
        ends = f", 95 % interval {signed(bound.interval[0])} to {signed(bound.interval[1])}"
    return (
        f" Subject to {bound.bound}: it {kept}, with probability "
        f"{1 - bound.violated if bound.is_kept else bound.violated:.2f} (the score moves by "
        f"{signed(bound.change)}{ends})."
    )
